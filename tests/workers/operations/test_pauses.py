"""Pausing and resuming, against an SQS that keeps the tags of its queues."""

from typing import Any

import pytest

from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers.aws.pauses import PAUSED_TAG, RESUMED_TAG
from workers.consumer.pause import Person
from workers.domain.resolutions import Action, Request
from workers.operations.errors import OperationError
from workers.operations.pauses import PauseChange, described, pause, pause_warning, read_pause, resume

BY_ADA = Person("ada", "2026-11-22T12:00:00Z", "new prices")


class Tags(FakeClient):
    """Queues by URL, with their tags."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {"http://sqs/Returns": {"team": "shop"}}
        super().__init__(
            get_queue_url=self._get_queue_url,
            list_queue_tags=lambda QueueUrl: {"Tags": self.tags[QueueUrl]},  # noqa: N803 - the SDK's name.
            tag_queue=lambda QueueUrl, Tags: self.tags[QueueUrl].update(Tags),  # noqa: N803
            untag_queue=lambda QueueUrl, TagKeys: [self.tags[QueueUrl].pop(key) for key in TagKeys],  # noqa: N803
        )

    def _get_queue_url(self, QueueName: str) -> Any:  # noqa: N803
        if (url := f"http://sqs/{QueueName}") not in self.tags:
            raise refused("QueueDoesNotExist", "GetQueueUrl")
        return {"QueueUrl": url}

    @property
    def calls(self) -> list[str]:
        return [operation for operation, _ in self.requests]


def request(actor: str = "ada", note: str = "new prices") -> Request:
    return Request(action=Action.CLOSE, actor=actor, note=note)


async def test_a_pause_is_a_tag_and_a_resumption_another() -> None:
    sqs = Tags()
    stack = fake_stack(sqs=sqs)
    assert await pause(stack, "Returns", request()) == PauseChange("Returns", True, BY_ADA)
    assert sqs.tags["http://sqs/Returns"] == {"team": "shop", PAUSED_TAG: "2026-11-22T12:00:00Z/ada/new prices"}
    assert await read_pause(stack, "http://sqs/Returns") == BY_ADA
    assert await resume(stack, "Returns", request("bob", "done")) == PauseChange("Returns", True, BY_ADA)
    assert sqs.tags["http://sqs/Returns"] == {"team": "shop", RESUMED_TAG: "2026-11-22T12:00:00Z/bob/done"}
    assert sqs.calls[-2:] == ["tag_queue", "untag_queue"]  # If it is killed between the two, it can be repeated.


async def test_a_second_pause_keeps_the_first_and_a_second_resumption_does_nothing() -> None:
    sqs = Tags()
    stack = fake_stack(sqs=sqs)
    await pause(stack, "Returns", request())
    assert await pause(stack, "Returns", request("bob", "mine")) == PauseChange("Returns", False, BY_ADA)
    await resume(stack, "Returns", request())
    assert await resume(stack, "Returns", request()) == PauseChange("Returns", False, None)
    assert sqs.calls.count("untag_queue") == 1


async def test_an_unknown_queue_is_one_line() -> None:
    for change in (pause, resume):
        with pytest.raises(OperationError, match=r"^there is no queue Nowhere: name one of `orders queues`, or any"):
            await change(fake_stack(sqs=Tags()), "Nowhere", request())


async def test_what_does_not_fit_into_a_tag_is_refused_before_anything_is_done() -> None:
    sqs = Tags()
    fits = "x" * (256 - 20 - 2 - 3)
    assert (await pause(fake_stack(sqs=sqs), "Returns", request(note=fits))).changed
    for note, excess in ((fits + "x", 1), ("\N{PILE OF POO}" * 20, 9)):
        problem = f"are {excess} characters too long for a tag of the queue, must take at most 234; all but letters"
        with pytest.raises(OperationError, match=problem):
            await resume(fake_stack(sqs=sqs), "Returns", request(note=note))
    assert "untag_queue" not in sqs.calls


async def test_no_card_number_gets_into_a_tag() -> None:
    sqs = Tags()
    await pause(fake_stack(sqs=sqs), "Returns", request("4111111111111111", "of 4111 1111 1111 1111"))
    assert sqs.tags["http://sqs/Returns"][PAUSED_TAG] == "2026-11-22T12:00:00Z/=2A=2A=2A=2A/of =2A=2A=2A=2A"


@pytest.mark.parametrize(
    ("person", "text"),
    [
        (BY_ADA, "since 2026-11-22 12:00:00 by ada: new prices"),
        (Person(None, "yes", None), "since yes by an unknown person: no reason given"),
        (Person(), "by an unknown person: no reason given"),
    ],
)
def test_a_pause_is_described_whatever_its_tag_says(person: Person, text: str) -> None:
    assert described(person) == text


async def test_a_command_that_sends_to_a_paused_queue_warns() -> None:
    stack = fake_stack(sqs=Tags())
    assert await pause_warning(stack, "Returns") is None
    await pause(stack, "Returns", request())
    assert await pause_warning(stack, "Returns") == (
        "Returns is paused since 2026-11-22 12:00:00 by ada: new prices."
        " Messages wait there until `orders workers resume Returns`"
    )
    assert await pause_warning(stack, "Nowhere") is None

    def denied(**_: Any) -> Any:
        raise refused("AccessDenied", "ListQueueTags")

    sqs = Tags()
    sqs.operations["list_queue_tags"] = denied
    assert await pause_warning(fake_stack(sqs=sqs), "Returns") is None
