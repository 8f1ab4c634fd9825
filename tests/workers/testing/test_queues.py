"""The queues of a test: what is asked of SQS, and what is refused before that."""

import itertools
import json
import re
from typing import Any

import pytest

from tests.workers.testing.fakes import QUEUES, STACK, FakeClient, use
from workers.testing.queues import Queues, Received

NAMES = ["OrderFulfillmentQueue", "EscalationQueue", "OrderFulfillmentDLQ", "EscalationDLQ"]


class Sqs(FakeClient):
    """Has queues, and the messages of one of them."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        super().__init__(
            create_queue=lambda QueueName, **_: {"QueueUrl": f"{QUEUES}{QueueName}"},  # noqa: N803 - as SQS has it.
            get_queue_attributes=lambda QueueUrl, **_: {"Attributes": {"QueueArn": f"arn of {QueueUrl}"}},  # noqa: N803
            send_message=lambda **_: {"MessageId": "m1"},
            receive_message=self.receive,
        )
        self.messages = [message | {"ReceiptHandle": f"r{number}"} for number, message in enumerate(messages)]

    def receive(self, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:  # noqa: N803
        """Return two messages at once at most: SQS may return fewer than there are."""
        taken = self.messages[: min(MaxNumberOfMessages, 2)]
        del self.messages[: len(taken)]
        return {"Messages": taken} if taken else {}

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.requests if name == operation]


@pytest.fixture
def sqs() -> Sqs:
    attributes = {"Reason": {"DataType": "String", "StringValue": "WHY"}, "Raw": {"DataType": "Binary"}}
    first = {"MessageId": "m1", "Body": '{"a": 1}', "MessageAttributes": attributes}
    return Sqs(first, *({"MessageId": f"m{number}", "Body": "b"} for number in range(2, 15)))


@pytest.fixture
def queues(sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> Queues:
    use(monkeypatch, "queues", sqs=sqs)
    return Queues(STACK, numbers=itertools.count(7))


def test_a_queue_is_created_with_its_dead_letter_queue(queues: Queues, sqs: Sqs) -> None:
    assert "Returns" not in queues
    assert queues.create("Returns", visibility_timeout_s=40, max_receive_count=3) == "t-Returns-7"
    redrive = {"deadLetterTargetArn": f"arn of {QUEUES}t-Returns-7DLQ", "maxReceiveCount": 3}
    kept = {"MessageRetentionPeriod": "1209600"}
    assert sqs.requests == [
        ("create_queue", {"QueueName": "t-Returns-7DLQ", "Attributes": kept}),
        ("get_queue_attributes", {"QueueUrl": f"{QUEUES}t-Returns-7DLQ", "AttributeNames": ["QueueArn"]}),
        (
            "create_queue",
            {
                "QueueName": "t-Returns-7",
                "Attributes": kept | {"VisibilityTimeout": "40", "RedrivePolicy": json.dumps(redrive)},
            },
        ),
    ]
    assert "Returns" in queues
    assert (queues.url("Returns"), queues.name("ReturnsDLQ")) == (f"{QUEUES}t-Returns-7", "t-Returns-7DLQ")
    assert queues.create("Others") == "t-Others-8"


def test_a_queue_may_be_left_to_the_defaults(queues: Queues, sqs: Sqs) -> None:
    queues.create("Returns")
    attributes = sqs.of("create_queue")[1]["Attributes"]
    assert (attributes["VisibilityTimeout"], json.loads(attributes["RedrivePolicy"])["maxReceiveCount"]) == ("30", 100)


def test_numbers_begin_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "queues", sqs=Sqs())
    assert Queues(STACK).create("Returns") == "t-Returns-1"


def test_a_name_is_as_long_as_sqs_allows_for_its_dead_letter_queue(queues: Queues, sqs: Sqs) -> None:
    queues.create("n" * 73)
    assert max(len(request["QueueName"]) for request in sqs.of("create_queue")) == 80


@pytest.mark.parametrize("name", ["", "a.fifo", "a b", "n" * 74])
def test_a_wrong_name_is_refused_with_what_is_allowed(queues: Queues, sqs: Sqs, name: str) -> None:
    line = f"queues.create({name!r}): must be 1 to 73 letters, digits, - or _; FIFO queues are not supported"
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        queues.create(name)
    assert sqs.requests == []


@pytest.mark.parametrize("name", ["Returns", "ReturnsDLQ", *NAMES])
def test_a_name_is_used_once(queues: Queues, name: str) -> None:
    queues.create("Returns")
    line = f"queues.create({name!r}): there is a queue of this name already"
    with pytest.raises(ValueError, match=re.escape(line)):
        queues.create(name)


def test_the_queues_of_the_stack_have_their_short_names(queues: Queues) -> None:
    assert [queues.url(name) for name in NAMES] == [f"{QUEUES}t-{name}" for name in NAMES]


def test_a_queue_that_there_is_not_is_refused_with_those_that_there_are(queues: Queues) -> None:
    line = f"there is no queue X: queues.create('X') makes one. There are: {', '.join(NAMES)}"
    for use_queue in (queues.url, queues.name, lambda name: queues.send(name, ""), queues.receive):
        with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
            use_queue("X")


def test_a_message_is_sent_with_its_attributes(queues: Queues, sqs: Sqs) -> None:
    assert queues.send("EscalationQueue", {"OrderId": "001"}, delay_s=3, Reason="WHY") == "m1"
    queues.send("EscalationQueue", "001")
    url = f"{QUEUES}t-EscalationQueue"
    attributes = {"Reason": {"DataType": "String", "StringValue": "WHY"}}
    first, second = sqs.of("send_message")
    assert json.loads(first.pop("MessageBody")) == {"OrderId": "001"}
    assert first == {"QueueUrl": url, "DelaySeconds": 3, "MessageAttributes": attributes}
    assert second == {"QueueUrl": url, "MessageBody": "001", "DelaySeconds": 0, "MessageAttributes": {}}


def test_messages_are_taken_until_there_are_enough(queues: Queues, sqs: Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.testing.worker.time.sleep", lambda _: None)
    url = f"{QUEUES}t-EscalationDLQ"
    first, *others = queues.receive("EscalationDLQ", 13)
    assert first == Received("m1", '{"a": 1}', {"Reason": "WHY", "Raw": ""})
    assert first.json() == {"a": 1}
    assert others == [Received(f"m{number}", "b") for number in range(2, 14)]
    assert [request["MaxNumberOfMessages"] for request in sqs.of("receive_message")] == [10, 10, 9, 7, 5, 3, 1]
    assert sqs.of("receive_message")[0] == {
        "QueueUrl": url,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 1,
        "MessageAttributeNames": ["All"],
    }
    assert sqs.of("delete_message") == [{"QueueUrl": url, "ReceiptHandle": f"r{number}"} for number in range(13)]


def test_messages_that_do_not_come_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "queues", sqs=Sqs({"MessageId": "m1", "Body": "b"}))
    with pytest.raises(AssertionError, match=r"^EscalationDLQ had 1 of 2 messages within 0 s$"):
        Queues(STACK).receive("EscalationDLQ", 2, timeout_s=0)


def test_one_message_is_taken_if_no_count_is_given(queues: Queues) -> None:
    assert [message.id for message in queues.receive("EscalationDLQ")] == ["m1"]


def test_at_the_end_created_queues_are_deleted_and_the_stacks_emptied(queues: Queues, sqs: Sqs) -> None:
    def gone(**_: Any) -> None:
        raise sqs.exceptions.QueueDoesNotExist({"Error": {}}, "DeleteQueue")

    def busy(**_: Any) -> None:
        raise sqs.exceptions.PurgeQueueInProgress({"Error": {}}, "PurgeQueue")

    queues.create("Returns")
    sqs.requests.clear()
    sqs.answers |= {"delete_queue": gone, "purge_queue": busy}
    queues.delete()
    assert sqs.requests == [
        ("delete_queue", {"QueueUrl": f"{QUEUES}t-Returns-7DLQ"}),
        ("delete_queue", {"QueueUrl": f"{QUEUES}t-Returns-7"}),
        *(("purge_queue", {"QueueUrl": f"{QUEUES}t-{name}"}) for name in NAMES),
    ]
