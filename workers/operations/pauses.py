"""Pauses and resumes the workers of a queue, by tags on the queue that they read once a minute."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers import clock
from workers.aws.pauses import MAX_VALUE_CHARS, PAUSED_TAG, RESUMED_TAG, encode, pause_state
from workers.consumer.pause import Person
from workers.domain.resolutions import Request
from workers.operations.errors import OperationError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

_HINT = "name one of `orders queues`, or any other by its name, URL or ARN"


def described(person: Person) -> str:
    """Return who paused a queue, when and why. Anybody can set a tag, so parts may be missing or be any text."""
    since = "" if person.since is None else f"since {clock.shown(person.since)} "
    return f"{since}by {person.actor or 'an unknown person'}: {person.note or 'no reason given'}"


@dataclass(frozen=True, slots=True)
class PauseChange:
    """What was done to a queue. `paused` is the pause that holds now, or that was ended; None if there is none."""

    queue: str
    changed: bool
    paused: Person | None


async def read_pause(stack: "Stack", queue_url: str) -> Person | None:
    """Return who has paused a queue; None if it is not paused."""
    answer = await stack.sqs.call("list_queue_tags", QueueUrl=queue_url)
    return pause_state(answer.get("Tags")).paused


async def pause_warning(stack: "Stack", queue: str) -> str | None:
    """Return a line for a command that sends to a queue, if that is paused; None if not, or if that is unknown."""
    from workers.operations.sdk_errors import SDK_ERRORS  # noqa: PLC0415 - the SDK takes a while to import.

    try:
        address, url = await stack.find_queue(queue, _HINT)
        person = await read_pause(stack, url)
    except (*SDK_ERRORS, OperationError):  # Without access to the tags, too.
        return None
    if person is None:
        return None
    return f"{address} is paused {described(person)}. Messages wait there until `orders workers resume {address}`"


async def pause(stack: "Stack", queue: str, request: Request) -> PauseChange:
    """
    Pause a queue. If it is paused already, that stays as it is.

    Raises:
        OperationError: There is no such queue, or actor and note do not fit into a tag.
    """
    value, person = _value(stack, request)
    address, url = await stack.find_queue(queue, _HINT)
    before = await read_pause(stack, url)
    if before is None:
        await stack.sqs.call("tag_queue", QueueUrl=url, Tags={PAUSED_TAG: value})
    return PauseChange(address.name, before is None, before or person)


async def resume(stack: "Stack", queue: str, request: Request) -> PauseChange:
    """
    Resume a queue. If it is not paused, nothing changes.

    Raises:
        OperationError: There is no such queue, or actor and note do not fit into a tag.
    """
    value, _ = _value(stack, request)
    address, url = await stack.find_queue(queue, _HINT)
    before = await read_pause(stack, url)
    if before is not None:  # First who: the workers log it.
        await stack.sqs.call("tag_queue", QueueUrl=url, Tags={RESUMED_TAG: value})
        await stack.sqs.call("untag_queue", QueueUrl=url, TagKeys=[PAUSED_TAG])
    return PauseChange(address.name, before is not None, before)


def _value(stack: "Stack", request: Request) -> tuple[str, Person]:
    record = request.record(0, f"{stack.now():%Y-%m-%dT%H:%M:%SZ}")
    person = Person(record.actor, record.at, record.note)
    value = encode(person)
    if (excess := len(value) - MAX_VALUE_CHARS) > 0:
        raise OperationError(
            f"actor and note are {excess} characters too long for a tag of the queue, must take at most "
            f"{MAX_VALUE_CHARS - len(record.at) - 2}; all but letters, digits, spaces and . _ : + - @ take 3 or more"
        )
    return value, person
