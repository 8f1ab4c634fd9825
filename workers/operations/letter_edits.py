"""A dead letter whose body a person corrects before it is replayed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workers import clock
from workers.aws.outgoing import sqs_message
from workers.bodies import object_of
from workers.consumer.message import Message
from workers.contracts import decode_escalation, decode_fulfillment, decode_order_finished, decode_reminder
from workers.domain.cards import MASK, mask
from workers.domain.characters import sendable
from workers.domain.resolutions import Action as Resolve
from workers.domain.resolutions import Request
from workers.errors import UndecodableError, WorkerError
from workers.operations.actions import Action, FoundLetters, HeldQueue
from workers.operations.dead_letters import DeadLetter
from workers.operations.errors import OperationError
from workers.operations.progress import Warn
from workers.operations.resolve import resolve_case
from workers.operations.sdk_errors import SDK_ERRORS
from workers.threads import in_thread

if TYPE_CHECKING:
    from workers.operations.stack import Stack

EXTEND_S = 10.0
MAX_ATTRIBUTES = 10  # SQS's limit.
# Attributes that say who has edited a message, and when.
EDITED_BY, EDITED_AT = "EditedBy", "EditedAt"

Fault = Callable[[str], str | None]
# Shows a person a body, with a function that says what is wrong with an edited one; returns the new body, or None.
Editor = Callable[[DeadLetter, str, Fault], str | None]


@dataclass(frozen=True, slots=True)
class Editing:
    """Who edits letters, why, and with what."""

    actor: str
    note: str
    editor: Editor


def fault_of(worker: str | None, body: str) -> str | None:
    """
    Return why the workers of a queue (`fulfillment` or `escalation`) cannot decode *body*; None if they can.

    For another queue (None), only its own worker knows.
    """
    if worker is None:
        return None
    message = Message(id="edited", receipt_handle="", body=body, receive_count=1)
    try:
        if worker == "fulfillment":
            decode_fulfillment(message)
        elif decode_reminder(message) is None and decode_order_finished(message) is None:
            decode_escalation(message)
    except UndecodableError as error:
        return str(error)
    return None


async def edited(found: FoundLetters, editing: Editing) -> FoundLetters:
    """
    Have each letter edited; return those whose body was changed. All stay held meanwhile.

    Digits that look like a card number are masked before the editor sees them: it writes to a file. In a message of
    another kind than ours they may be something else, so there a masked part must be replaced before it is sent.
    """
    changed, worker = list[DeadLetter](), found.source.queue.worker
    for letter in found.letters:
        original = sendable(letter.body)
        shown = mask(original)
        masked = worker is None and shown != original

        def fault(text: str, *, masked: bool = masked) -> str | None:
            if masked and MASK in text:
                return f"{MASK} stands for digits that look like a card number: replace it"
            return fault_of(worker, text)

        body = await _holding(found.source, in_thread(editing.editor, letter, shown, fault))
        if body is not None:
            attributes = dict(letter.attributes)
            if len(attributes) <= MAX_ATTRIBUTES - 2:
                marks = {EDITED_BY: editing.actor, EDITED_AT: clock.written(found.source.stack.now())}
                attributes |= {name: {"DataType": "String", "StringValue": mask(text)} for name, text in marks.items()}
            changed.append(replace(letter, body=body, attributes=attributes))
    return replace(found, letters=changed)


async def _holding(source: HeldQueue, work: Coroutine[object, object, str | None]) -> str | None:
    """Return the result of *work*, and keep the letters of *source* held until then."""
    running = asyncio.ensure_future(work)
    while not running.done():
        await asyncio.wait([running], timeout=EXTEND_S)
        with suppress(*SDK_ERRORS):  # AWS may be back before the person is done. Otherwise, replaying fails with it.
            await source.hold.extend()
    return running.result()


def changed_fields(before: str, after: str) -> str:
    """Return the names of the fields that differ, for people, without their values."""
    old, new = object_of(before), object_of(after)
    if old is None or new is None:
        return "its whole body"
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(names) or "its form"


def replay_edited(source: HeldQueue, originals: FoundLetters, editing: Editing, warn: Warn) -> Action:
    """Return the action that sends edited letters back, and closes the case that a worker opened for each."""
    bodies = {letter.id: letter.body for letter in originals.letters}

    async def send(letter: DeadLetter) -> None:
        message = sqs_message(source.queue.url, letter.body, letter.attributes, trace_header=letter.trace_header)
        await source.stack.sqs.call("send_message", **message)
        if letter.case_id is not None:
            fields = changed_fields(bodies[letter.id], letter.body)
            note = f"Replayed after an edit of {fields}: {editing.note}"
            await _close(
                source.stack, letter.case_id, Request(action=Resolve.CLOSE, actor=editing.actor, note=note), warn
            )

    return Action("replay", "edited and replayed", send)


async def _close(stack: "Stack", case_id: str, request: Request, warn: Warn) -> None:
    """Close a case; only warn if that is not possible: the message was sent."""
    try:
        await resolve_case(stack, case_id, request, None)
    except OperationError as error:
        warn(f"case {case_id} was not closed: {error}")
    except (*SDK_ERRORS, WorkerError):
        warn(f"case {case_id} was not closed: use `orders escalations resolve {case_id} close`")
