"""Pauses of queues on SQS: a tag on the queue says who paused it, when and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from workers.aws.errors import ask, readable
from workers.consumer.pause import Paused
from workers.domain.text import clean

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

TAG = "workers:paused"
# AWS: the value of a tag has at most 256 characters, of letters, digits, spaces and _ . : / = + - @.
MAX_VALUE_CHARS = 256
_PLAIN = " .:_+-@"  # Besides letters and digits. The slash separates the parts, and the equals sign escapes.


def encode(paused: Paused) -> str:
    """
    Return the value of the tag: time, actor and note, as `2026-11-26T21:08:18Z/ada/new prices`.

    A character that a tag must not have is written as the bytes of its UTF-8, as in `=C3=A4`.
    """
    return "/".join(
        quote(part.strip(), safe=_PLAIN).replace("%", "=").replace("~", "=7E")
        for part in (paused.since or "", paused.actor or "", paused.note or "")
    )


def decode(value: str) -> Paused:
    """Return what a value says, whatever it is: a queue with the tag is paused, whoever set it."""
    since, actor, note = (
        clean(unquote(part.replace("%", "%25").replace("=", "%"))).strip() or None
        for part in (*value.split("/", 2), "", "")[:3]
    )
    return Paused(actor, since, note)


def paused_by(tags: object) -> Paused | None:
    """Return what the tags of a queue, in an answer of ListQueueTags, say; None if it is not paused."""
    if not isinstance(tags, dict) or TAG not in tags:
        return None
    return decode(str(tags[TAG]))


@dataclass(frozen=True, slots=True)
class SqsPauses:
    """The `Pauses` of one queue."""

    sqs: "SQSClient"
    url: str

    async def paused(self) -> Paused | None:
        answer = await ask(self.sqs.list_queue_tags, (), QueueUrl=self.url)
        with readable("ListQueueTags"):
            return paused_by(answer.get("Tags"))
