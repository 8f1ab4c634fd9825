"""Dead letters that a person corrects: what the editor sees, what is sent, and what is recorded about it."""

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unicode_text
from tests.workers.operations.fakes import NOW, refused
from workers import clock
from workers.errors import OutageError
from workers.operations import letter_edits
from workers.operations.actions import FoundLetters, HeldQueue
from workers.operations.dead_letters import DeadLetter
from workers.operations.errors import OperationError
from workers.operations.letter_edits import Editing, changed_fields, edited, fault_of, replay_edited

CARD = "4929123412345678"
ARN = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"
BAD = DeadLetter(
    queue="DLQ",
    id="m-1",
    body='{"OrderId": 1}',
    attributes={"trace": {"DataType": "String", "StringValue": "t-1"}},
    reason="UNDECODABLE_MESSAGE: OrderId is a number",
    error="undecodable error",
    order_id=None,
    execution_arn=None,
    origin_message_id="o-1",
    first_received_at="2026-11-22T10:00:00.000000Z",
    sent_at=None,
)
FIXED = '{"OrderId": "001"}'


class Held:
    """A queue whose letters are held. `sent`: the messages; `extended`: how often the hold was extended."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.extended = 0
        self.source = cast(
            "HeldQueue",
            SimpleNamespace(
                stack=SimpleNamespace(now=lambda: NOW, sqs=self),
                queue=SimpleNamespace(url="http://sqs/Orders", worker="fulfillment"),
                hold=self,
                approximate_count=1,
            ),
        )

    async def extend(self) -> None:
        self.extended += 1

    async def call(self, operation: str, **request: Any) -> None:
        assert operation == "send_message"
        self.sent.append(request)

    def found(self, *letters: DeadLetter) -> FoundLetters:
        return FoundLetters(self.source, list(letters), len(letters))


def editing(*bodies: str | None, seen: list[str] | None = None) -> Editing:
    answers = iter(bodies)

    def editor(_letter: DeadLetter, body: str, _fault: Callable[[str], str | None]) -> str | None:
        if seen is not None:
            seen.append(body)
        return next(answers)

    return Editing("ada", "a typo", editor)


async def test_only_changed_letters_are_replayed_and_say_who_changed_them() -> None:
    held = Held()
    result = await edited(held.found(BAD, replace(BAD, id="m-2")), editing(FIXED, None))
    (letter,) = result.letters
    assert (letter.id, letter.body) == ("m-1", FIXED)
    assert {name: value["StringValue"] for name, value in letter.attributes.items()} == {
        "trace": "t-1",
        "EditedBy": "ada",
        "EditedAt": clock.written(NOW),
    }
    assert held.extended >= 2, "the letters stay held while a person edits"


async def test_an_edit_survives_aws_being_away(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()

    async def away() -> None:
        raise refused("ServiceUnavailable", "ChangeMessageVisibility")

    monkeypatch.setattr(held, "extend", away)
    assert [letter.body for letter in (await edited(held.found(BAD), editing(FIXED))).letters] == [FIXED]


async def test_the_editor_sees_no_card_number() -> None:
    seen: list[str] = []
    await edited(Held().found(replace(BAD, body=f"[{CARD}, \ud800]")), editing(None, seen=seen))
    assert seen == ["[****, \ufffd]"]


async def test_a_masked_part_of_a_message_of_another_kind_must_be_replaced() -> None:
    faults: list[str | None] = []

    def editor(_letter: DeadLetter, body: str, fault: Callable[[str], str | None]) -> str | None:
        faults.extend([fault(body), fault('{"stamp": 1}'), fault("anything ****")])
        return '{"stamp": 1}'

    held = Held()
    held.source.queue.worker = None  # type: ignore[misc]
    for body in (f'{{"stamp": {CARD}}}', "plain"):
        result = await edited(held.found(replace(BAD, body=body)), Editing("ada", "a typo", editor))
        assert [letter.body for letter in result.letters] == ['{"stamp": 1}']
    masked = "**** stands for digits that look like a card number: replace it"
    assert faults == [masked, None, masked, None, None, None]


async def test_attributes_that_sqs_has_no_room_for_are_left_out() -> None:
    many = {f"a{n}": {"DataType": "String", "StringValue": "x"} for n in range(9)}
    result = await edited(Held().found(replace(BAD, attributes=many)), editing(FIXED))
    assert result.letters[0].attributes == many
    del many["a8"]
    result = await edited(Held().found(replace(BAD, attributes=many)), editing(FIXED))
    assert result.letters[0].attributes.keys() == many.keys() | {"EditedBy", "EditedAt"}


@pytest.mark.parametrize(
    ("choice", "body", "fault"),
    [
        ("fulfillment", FIXED, None),
        ("fulfillment", "001", None),
        ("fulfillment", '{"OrderId": 1}', "OrderId is a number, must be "),
        ("fulfillment", "no id!", "neither a JSON object nor an OrderId"),
        ("escalation", "001", None),
        ("escalation", json.dumps({"OrderId": "001", "Reasons": ["INVALID_PRICE"]}), None),
        ("escalation", json.dumps({"OrderFinished": "001", "ExecutionArn": ARN}), None),
        ("escalation", json.dumps({"CaseId": "001", "Episode": 1}), None),
        ("escalation", FIXED, "Reasons is missing"),
        ("escalation", json.dumps({"CaseId": "001"}), "Episode is missing"),
    ],
)
def test_a_body_is_checked_as_its_workers_would(choice: str, body: str, fault: str | None) -> None:
    found = fault_of(choice, body)
    assert found is None if fault is None else str(found).startswith(fault)


@given(choice=st.sampled_from(["fulfillment", "escalation"]), body=unicode_text)
def test_any_body_is_right_or_has_a_fault(choice: str, body: str) -> None:
    assert isinstance(fault_of(choice, body), str | None)


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ('{"OrderId": 1, "x": 2}', '{"OrderId": "001", "x": 2}', "OrderId"),
        ('{"a": 1}', '{"b": 1, "c": 2}', "a, b, c"),
        ('{"a": 1}', '{ "a":1 }', "its form"),
        ("[1]", FIXED, "its whole body"),
    ],
)
def test_changes_are_named_by_their_fields(before: str, after: str, names: str) -> None:
    assert changed_fields(before, after) == names


class Closing:
    """Stands for `resolve_case`. `closed`: the case, action, actor and note of each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.closed: list[tuple[str, str, str, str]] = []
        self.error = error
        monkeypatch.setattr(letter_edits, "resolve_case", self._resolve)

    async def _resolve(self, _stack: Any, case_id: str, request: Any, order: Any) -> None:
        assert order is None
        if self.error is not None:
            raise self.error
        self.closed.append((case_id, request.action, request.actor, request.note))


async def replay(held: Held, letter: DeadLetter, warnings: list[str]) -> None:
    found = held.found(BAD)
    action = replay_edited(held.source, found, editing(), warnings.append)
    assert (action.verb, action.past) == ("replay", "edited and replayed")
    assert action.before_deletion is not None
    await action.before_deletion(letter)


async def test_an_edited_letter_is_sent_and_its_case_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    held, closing, warnings = Held(), Closing(monkeypatch), list[str]()
    await replay(held, replace(BAD, body=FIXED), warnings)
    ((sent),) = held.sent
    assert (sent["QueueUrl"], sent["MessageBody"]) == ("http://sqs/Orders", FIXED)
    assert sent["MessageAttributes"] == BAD.attributes
    note = "Replayed after an edit of OrderId: a typo"
    assert (closing.closed, warnings) == ([("message-o-1", "close", "ada", note)], [])


async def test_a_letter_without_a_case_is_only_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    held, closing = Held(), Closing(monkeypatch)
    await replay(held, replace(BAD, body=FIXED, reason="moved by SQS's own redrive"), [])
    assert (len(held.sent), closing.closed) == (1, [])


@pytest.mark.parametrize(
    ("error", "warning"),
    [
        (
            OperationError("it is already resolved by grace"),
            "case message-o-1 was not closed: it is already resolved by",
        ),
        *(
            (error, "case message-o-1 was not closed: use `orders escalations resolve message-o-1 close`")
            for error in (OutageError("down"), refused("AccessDenied", "UpdateItem"))
        ),
    ],
)
async def test_a_case_that_cannot_be_closed_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, error: Exception, warning: str
) -> None:
    held, warnings = Held(), list[str]()
    Closing(monkeypatch, error)
    await replay(held, replace(BAD, body=FIXED), warnings)
    assert len(held.sent) == 1
    assert warnings[0].startswith(warning)
