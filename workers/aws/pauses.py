"""Pauses of queues on SQS: tags on the queue say who paused and resumed it, when and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from workers import clock
from workers.aws.errors import ask, readable
from workers.consumer.pause import PauseState, Person
from workers.domain.text import clean

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

PAUSED_TAG = "workers:paused"  # A queue that has it is paused.
RESUMED_TAG = "workers:resumed"  # Who resumed it last.
# AWS: the value of a tag has at most 256 characters, of letters, digits, spaces and _ . : / = + - @.
MAX_VALUE_CHARS = 256
_PLAIN = " .:_+-@"  # Besides letters and digits. The slash separates the parts, and the equals sign escapes.


def encode(person: Person) -> str:
    """
    Return the value of the tag: time, actor and note, as `2026-11-26T21:08:18Z/ada/new prices`.

    A character that a tag must not have is written as the bytes of its UTF-8, as in `=C3=A4`.
    """
    return "/".join(
        quote(part.strip(), safe=_PLAIN).replace("%", "=").replace("~", "=7E")
        for part in (person.since or "", person.actor or "", person.note or "")
    )


def decode(value: str) -> Person:
    """
    Return what a value says, whatever it is: a queue with the tag is paused, in whichever way it was set.

    A value that does not begin with a time was set by hand: all of it is the note.
    """
    since, actor, note = (
        clean(unquote(part.replace("%", "%25").replace("=", "%"))).strip() or None
        for part in (*value.split("/", 2), "", "")[:3]
    )
    if since is None or clock.rfc_3339(since) is None:
        return Person(note=clean(value).strip() or None)
    return Person(actor, since, note)


def pause_state(tags: object) -> PauseState:
    """Return what the tags of a queue, as in an answer of ListQueueTags, say."""
    found = tags if isinstance(tags, dict) else {}
    paused, resumed = (decode(str(found[name])) if name in found else None for name in (PAUSED_TAG, RESUMED_TAG))
    return PauseState(paused, resumed)


@dataclass(frozen=True, slots=True)
class SqsPauses:
    """The `Pauses` of one queue."""

    sqs: "SQSClient"
    url: str

    async def read(self) -> PauseState:
        answer = await ask(self.sqs.list_queue_tags, (), QueueUrl=self.url)
        with readable("ListQueueTags"):
            return pause_state(answer.get("Tags"))
