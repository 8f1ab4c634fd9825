import json
import time
import uuid
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from botocore.exceptions import ClientError, ParamValidationError

from tests.support import DeployedStack
from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from workers.aws.sqs import QueueAttributes, SqsQueue, describe_queue, queue_url, read_message
from workers.consumer.message import Message, TracedMessage
from workers.consumer.ports import Refusal
from workers.errors import FatalError, OutageError, SuspectedOutageError
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient


async def arn(sqs: "SQSClient", url: str) -> str:
    return (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"]))["Attributes"]["QueueArn"]


async def test_a_queue_is_looked_up_by_its_name(stack: DeployedStack, sqs: "SQSClient") -> None:
    name = stack.outputs["OrderFulfillmentQueueName"]
    assert await describe_queue(sqs, QueueAddress.parse(name)) == QueueAttributes(
        url=stack.order_fulfillment_queue_url,
        visibility_timeout_s=60,
        dead_letter_queue=QueueAddress(await arn(sqs, stack.order_fulfillment_dlq_url), "test-OrderFulfillmentDLQ"),
        max_receive_count=100,
    )


async def test_a_queue_is_looked_up_by_its_url_or_arn(stack: DeployedStack, sqs: "SQSClient") -> None:
    """The host of a URL does not matter: the SDK sends every call to its own endpoint."""
    url, by_name = stack.order_fulfillment_queue_url, await described(sqs, stack.outputs["OrderFulfillmentQueueName"])
    account, name = url.split("/")[-2:]
    for given in (url, f"http://localhost:1/{account}/{name}", f"http://x/{name}", await arn(sqs, url)):
        assert await described(sqs, given) == by_name


async def described(sqs: "SQSClient", given: str) -> tuple[str, str, str]:
    attributes = await describe_queue(sqs, QueueAddress.parse(given))
    dead_letters = attributes.dead_letter_queue
    return attributes.url, dead_letters.name, await queue_url(sqs, dead_letters)


async def test_the_attributes_of_a_queue_are_read_from_its_redrive_policy_too() -> None:
    redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:111122223333:Dead", "maxReceiveCount": "20"})
    attributes = {"VisibilityTimeout": "45", "RedrivePolicy": redrive}
    sqs: Any = FakeSdk(
        get_queue_url=[{"QueueUrl": "https://sqs/Orders"}] * 3,
        get_queue_attributes=[{"Attributes": attributes}, {"Attributes": {"VisibilityTimeout": "45"}}, {}],
    )
    orders = QueueAddress.parse("Orders")
    assert await describe_queue(sqs, orders) == QueueAttributes(
        url="https://sqs/Orders",
        visibility_timeout_s=45,
        dead_letter_queue=QueueAddress("arn:aws:sqs:us-east-1:111122223333:Dead", "Dead"),
        max_receive_count=20,
    )
    asked = {"QueueUrl": "https://sqs/Orders", "AttributeNames": ["VisibilityTimeout", "RedrivePolicy"]}
    assert sqs.requests == [("get_queue_url", {"QueueName": "Orders"}), ("get_queue_attributes", asked)]
    for _ in range(2):
        with pytest.raises(FatalError, match=r"^queue Orders has no dead-letter queue \(RedrivePolicy\)$"):
            await describe_queue(sqs, orders)


@pytest.mark.parametrize(
    "policy", ["{", "5", "{}", '{"deadLetterTargetArn": "Dead"}', '{"deadLetterTargetArn": "D", "maxReceiveCount": {}}']
)
async def test_an_unreadable_redrive_policy_is_an_outage(policy: str) -> None:
    sqs: Any = FakeSdk(
        get_queue_url=[{"QueueUrl": "https://sqs/Orders"}],
        get_queue_attributes=[{"Attributes": {"VisibilityTimeout": "60", "RedrivePolicy": policy}}],
    )
    with pytest.raises(SuspectedOutageError, match=r"^GetQueueAttributes: an unreadable response$"):
        await describe_queue(sqs, QueueAddress.parse("Orders"))


async def test_a_lookup_without_a_readable_url_is_an_outage() -> None:
    sqs: Any = FakeSdk(get_queue_url=[{}])
    with pytest.raises(SuspectedOutageError, match=r"^GetQueueUrl: an unreadable response$"):
        await queue_url(sqs, QueueAddress.parse("Orders"))


async def test_a_queue_in_another_account_is_looked_up_there() -> None:
    sqs: Any = FakeSdk(get_queue_url=[{"QueueUrl": "https://sqs/Q"}, refusal("QueueDoesNotExist", "GetQueueUrl")])
    sqs.meta = SimpleNamespace(region_name="us-east-1")
    queue = QueueAddress.parse("arn:aws:sqs:us-east-1:111122223333:Q")
    assert await queue_url(sqs, queue) == "https://sqs/Q"
    assert sqs.requests_of("get_queue_url") == [{"QueueName": "Q", "QueueOwnerAWSAccountId": "111122223333"}]
    missing = "there is no queue Q in account 111122223333, or its policy denies access: deploy the stack, or correct "
    with pytest.raises(FatalError, match=f"^{missing}"):
        await queue_url(sqs, queue)


@pytest.mark.parametrize(
    "given",
    ["arn:aws:sqs:eu-west-1:111122223333:Orders", "https://sqs.eu-west-1.amazonaws.com/111122223333/Orders"],
)
async def test_a_queue_in_another_region_is_not_looked_up(given: str) -> None:
    sqs: Any = FakeSdk()
    sqs.meta = SimpleNamespace(region_name="us-east-1")
    with pytest.raises(FatalError) as raised:
        await describe_queue(sqs, QueueAddress.parse(given))
    assert str(raised.value) == (
        f"the queue {given} is in eu-west-1, must be in the region of the calls, us-east-1: "
        "correct AWS_REGION or the variable that names the queue"
    )
    assert sqs.requests == []


async def test_a_fifo_queue_for_dead_letters_is_refused() -> None:
    dead_letters = "arn:aws:sqs:us-east-1:111122223333:Dead.fifo"
    redrive = json.dumps({"deadLetterTargetArn": dead_letters, "maxReceiveCount": 20})
    sqs: Any = FakeSdk(
        get_queue_url=[{"QueueUrl": "https://sqs/Orders"}],
        get_queue_attributes=[{"Attributes": {"VisibilityTimeout": "60", "RedrivePolicy": redrive}}],
    )
    with pytest.raises(FatalError) as raised:
        await describe_queue(sqs, QueueAddress.parse("Orders"))
    assert str(raised.value) == f"queue Orders has the dead-letter queue {dead_letters}, must be a standard queue"


async def test_a_missing_queue_is_reported_by_name(sqs: "SQSClient") -> None:
    with pytest.raises(FatalError, match=r"^there is no queue NoSuchQueue: deploy the stack, or "):
        await queue_url(sqs, QueueAddress.parse("NoSuchQueue"))
    with pytest.raises(FatalError, match=r"^there is no queue NoSuchQueue: "):
        await describe_queue(sqs, QueueAddress.parse("NoSuchQueue"))


async def test_a_queue_needs_a_dead_letter_queue(sqs: "SQSClient", url: str) -> None:
    name = url.rpartition("/")[2]
    with pytest.raises(FatalError, match=rf"^queue {name} has no dead-letter queue \(RedrivePolicy\)$"):
        await describe_queue(sqs, QueueAddress.parse(name))


async def test_a_message_is_received_with_all_its_attributes(sqs: "SQSClient", queue: SqsQueue) -> None:
    before_s = time.time() - 1
    sent = await sqs.send_message(
        QueueUrl=queue.url,
        MessageBody="Zo\u00eb",
        MessageAttributes={
            "Text": {"DataType": "String", "StringValue": "x"},
            "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    (message,) = await queue.receive(10)
    assert (message.id, message.body, message.receive_count) == (sent["MessageId"], "Zo\u00eb", 1)
    assert message.attributes == {
        "Text": {"DataType": "String", "StringValue": "x"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    assert before_s < message.sent_at_s <= message.first_received_at_s < time.time() + 1
    await queue.change_visibility([(message.receipt_handle, 0)])
    (again,) = await queue.receive(10)
    assert (again.id, again.receive_count) == (message.id, 2)
    assert again.receipt_handle != message.receipt_handle


async def test_a_receive_asks_for_a_visibility_timeout_whatever_the_queues_own_is(
    sqs: "SQSClient", queue: SqsQueue
) -> None:
    await sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"VisibilityTimeout": "0"})
    await sqs.send_message(QueueUrl=queue.url, MessageBody="x")
    assert len(await queue.receive(10)) == 1
    assert list(await queue.receive(10)) == []  # Still invisible: by the queue's own timeout, it would be back.


async def test_a_queue_without_a_visibility_timeout_can_be_consumed(stack: DeployedStack, sqs: "SQSClient") -> None:
    dead_letters = await sqs.get_queue_attributes(QueueUrl=stack.escalation_dlq_url, AttributeNames=["QueueArn"])
    redrive = {"deadLetterTargetArn": dead_letters["Attributes"]["QueueArn"], "maxReceiveCount": 20}
    name = f"sqs-{uuid.uuid4().hex}"
    await sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(redrive)})
    assert (await describe_queue(sqs, QueueAddress.parse(name))).visibility_timeout_s == 0


async def test_a_receive_returns_at_most_its_limit(sqs: "SQSClient", queue: SqsQueue) -> None:
    for n in range(5):
        await sqs.send_message(QueueUrl=queue.url, MessageBody=str(n))
    assert len(await queue.receive(3)) == 3
    assert len(await queue.receive(10)) == 2
    assert list(await queue.receive(10)) == []


async def test_results_of_a_batch_are_in_the_order_of_its_entries(sqs: "SQSClient", queue: SqsQueue) -> None:
    for n in range(2):
        await sqs.send_message(QueueUrl=queue.url, MessageBody=str(n))
    first, second = (message.receipt_handle for message in await queue.receive(10))
    lost = Refusal("ReceiptHandleIsInvalid", receipt_lost=True)
    assert await queue.change_visibility([("no-such-receipt", 5), (first, 5)]) == [lost, None]
    assert await queue.delete([first, "no-such-receipt", second]) == [None, lost, None]
    assert list(await queue.receive(10)) == []


async def test_a_deleted_queue_is_fatal(sqs: "SQSClient", queue: SqsQueue) -> None:
    await sqs.delete_queue(QueueUrl=queue.url)
    with pytest.raises(FatalError, match=r"^ReceiveMessage: the queue does not exist$"):
        await queue.receive(10)


def queue_of(sqs: Any, *, wait_s: int = 20, traced: bool = False) -> SqsQueue:
    """Return a queue, whose three clients are the same."""
    return SqsQueue(
        name="q",
        url="https://sqs/q",
        visibility_timeout_s=30,
        wait_s=wait_s,
        receiving=sqs,
        sqs=sqs,
        visibility=sqs,
        traced=traced,
    )


@pytest.mark.parametrize("traced", [False, True])
async def test_a_receive_asks_for_all_that_a_message_has(*, traced: bool) -> None:
    received = {
        "MessageId": "1",
        "ReceiptHandle": "r",
        "Body": "x",
        "Attributes": {
            "ApproximateReceiveCount": "3",
            "SentTimestamp": "1500",
            "ApproximateFirstReceiveTimestamp": "2500",
        },
        "MessageAttributes": {
            "Text": {"DataType": "String", "StringValue": "x", "StringListValues": [], "BinaryValue": None},
            "Odd": 5,
        },
    }
    sqs = FakeSdk(receive_message=[{"Messages": [received]}, {"Messages": None}, {}])
    queue = queue_of(sqs, traced=traced)
    assert [list(await queue.receive(7)) for _ in range(3)] == [
        [
            Message(
                id="1",
                receipt_handle="r",
                body="x",
                receive_count=3,
                sent_at_s=1.5,
                first_received_at_s=2.5,
                attributes={"Text": {"DataType": "String", "StringValue": "x"}},
            )
        ],
        [],
        [],
    ]
    names = ["ApproximateReceiveCount", "SentTimestamp", "ApproximateFirstReceiveTimestamp"]
    assert sqs.requests_of("receive_message")[0] == {
        "QueueUrl": "https://sqs/q",
        "MaxNumberOfMessages": 7,
        "VisibilityTimeout": 30,
        "WaitTimeSeconds": 20,
        "MessageSystemAttributeNames": [*names, "AWSTraceHeader"] if traced else names,
        "MessageAttributeNames": ["All"],
    }


async def test_a_receive_without_a_readable_message_is_an_outage() -> None:
    sqs = FakeSdk(receive_message=[{"Messages": [{}, 5]}, {"Messages": 5}])
    for _ in range(2):
        with pytest.raises(OutageError, match=r"^ReceiveMessage: an unreadable response$"):
            await queue_of(sqs).receive(10)


async def test_a_batch_has_its_entries_by_position_and_an_answer_for_each() -> None:
    answer = {
        "Successful": [{"Id": "1"}],
        "Failed": [{"Id": "0", "Code": "InternalError"}, {"Id": "2", "Code": "MessageNotInflight"}, 5, {"Id": "3"}],
    }
    sqs = FakeSdk(
        delete_message_batch=[answer, {"Successful": 5}, ParamValidationError(report="odd")],
        change_message_visibility_batch=[answer, ParamValidationError(report="odd")],
    )
    queue = queue_of(sqs)
    refused, lost = Refusal("InternalError", receipt_lost=False), Refusal("MessageNotInflight", receipt_lost=True)
    assert await queue.delete(["a", "b", "a"]) == [refused, None, lost]
    assert await queue.change_visibility([("a", 0), ("b", 9), ("c", 30)]) == [refused, None, lost]
    assert sqs.requests == [
        (
            "delete_message_batch",
            {
                "QueueUrl": "https://sqs/q",
                "Entries": [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate("aba")],
            },
        ),
        (
            "change_message_visibility_batch",
            {
                "QueueUrl": "https://sqs/q",
                "Entries": [
                    {"Id": "0", "ReceiptHandle": "a", "VisibilityTimeout": 0},
                    {"Id": "1", "ReceiptHandle": "b", "VisibilityTimeout": 9},
                    {"Id": "2", "ReceiptHandle": "c", "VisibilityTimeout": 30},
                ],
            },
        ),
    ]
    assert await queue.delete(["a"]) == [Refusal("NoAnswer", receipt_lost=False)]
    with pytest.raises(OutageError, match=r"^the request is refused: ParamValidationError$"):
        await queue.delete(["a"])
    with pytest.raises(OutageError, match=r"^the request is refused: ParamValidationError$"):
        await queue.change_visibility([("a", 0)])


async def test_an_entry_whose_receipt_is_lost_is_no_reason_to_send_it_again() -> None:
    codes = ["AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue", "ReceiptHandleIsInvalid", "Other"]
    failed = [{"Id": str(n), "Code": code} for n, code in enumerate(codes)]
    sqs = FakeSdk(delete_message_batch=[{"Failed": failed}])
    assert await queue_of(sqs).delete([*"abcd"]) == [Refusal(code, receipt_lost=code != "Other") for code in codes]


async def test_a_refused_request_is_repeated_entry_by_entry_even_if_the_sdk_refuses_it() -> None:
    ok = {"Successful": [{"Id": "0"}]}
    sqs = FakeSdk(delete_message_batch=[ParamValidationError(report="odd"), ok, ParamValidationError(report="odd"), ok])
    answers = await queue_of(sqs).delete(["a", "b", "c"])
    assert sorted(map(str, answers)) == ["None", "None", str(Refusal("ParamValidationError", receipt_lost=False))]


class BatchesOnly:
    """A client whose deletes fail with `code` if an entry is bad. Records the sizes of the requests."""

    def __init__(self, *bad: str, code: str = "ValidationException") -> None:
        self.bad = set(bad)
        self.code = code
        self.sizes: list[int] = []
        self.waits_s: list[int] = []

    async def delete_message_batch(self, *, Entries: list[dict[str, str]], **_: Any) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
        self.sizes.append(len(Entries))
        if self.bad & {entry["ReceiptHandle"] for entry in Entries}:
            raise ClientError({"Error": {"Code": self.code}}, "DeleteMessageBatch")
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    async def receive_message(self, *, WaitTimeSeconds: int, **_: Any) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
        self.waits_s.append(WaitTimeSeconds)
        good = {"MessageId": "1", "ReceiptHandle": "r", "Body": "x"}
        attributes: dict[str, Any] = {
            "ApproximateReceiveCount": "many",
            "SentTimestamp": None,
            "ApproximateFirstReceiveTimestamp": [],
        }
        return {"Messages": [good | {"Attributes": attributes}, {"MessageId": "2", "ReceiptHandle": "s"}]}

    def queue(self, wait_s: int = 0) -> SqsQueue:
        return queue_of(self, wait_s=wait_s)


async def test_one_bad_entry_of_a_batch_holds_up_no_other() -> None:
    sqs = BatchesOnly("bad")
    refused = Refusal("ValidationException", receipt_lost=False)
    handles = [*"abcd", "bad", *"efghi"]
    answers = await sqs.queue().delete(handles)
    assert answers == [refused if handle == "bad" else None for handle in handles]
    assert sqs.sizes == [10, *[1] * 10]


async def test_answers_about_entries_that_were_not_sent_are_ignored() -> None:
    class Confused(BatchesOnly):
        async def delete_message_batch(self, *, Entries: list[dict[str, str]], **_: Any) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
            ids = [str(len(Entries)), "-1", "\N{SUPERSCRIPT TWO}", "", "0"]
            return {"Successful": [{"Id": one} for one in ids]}

    assert await Confused().queue().delete(["a", "b"]) == [None, Refusal("NoAnswer", receipt_lost=False)]


async def test_a_batch_that_is_refused_together_and_alone_is_an_outage() -> None:
    sqs = BatchesOnly(*"abcdefghij")
    with pytest.raises(OutageError, match=r"ValidationException$"):
        await sqs.queue().delete([*"abcdefghij"])
    assert sqs.sizes == [10, 1, 1], "no request for each entry"


async def test_a_code_that_blames_no_entry_is_not_tried_entry_by_entry() -> None:
    sqs = BatchesOnly("a", code="CodeOfTomorrow")
    with pytest.raises(OutageError, match=r"CodeOfTomorrow$"):
        await sqs.queue().delete(["a", "b"])
    assert sqs.sizes == [2]


async def test_unreadable_parts_of_a_receive_lose_no_other_message() -> None:
    with structlog.testing.capture_logs() as logs:
        (message,) = await BatchesOnly().queue().receive(10)
    assert (message.id, message.receive_count, message.sent_at_s, message.first_received_at_s) == ("1", 1, 0, 0)
    assert logs == [{"event": "message.not_read", "log_level": "error", "unreadable": 1, "received": 2}]


async def test_a_receive_waits_as_long_as_asked_but_no_longer_than_the_setting() -> None:
    sqs = BatchesOnly()
    for wait_s in (20, 0):
        for max_wait_s in (None, 1):
            await sqs.queue(wait_s).receive(10, max_wait_s)
    assert sqs.waits_s == [20, 1, 0, 0]


@pytest.mark.parametrize("header", ["Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", None, 7])
async def test_only_a_traced_queue_asks_for_the_trace_header_and_reads_it(header: object) -> None:
    asked = list[list[str]]()

    class Traced(BatchesOnly):
        async def receive_message(self, **request: Any) -> dict[str, Any]:
            asked.append(request["MessageSystemAttributeNames"])
            message = {"MessageId": "1", "ReceiptHandle": "r", "Body": "x", "Attributes": {"AWSTraceHeader": header}}
            return {"Messages": [message, {**message, "Attributes": None}]}

    queue = Traced().queue()
    headers = [
        [message.trace_header if isinstance(message, TracedMessage) else None for message in await each.receive(10)]
        for each in (queue, replace(queue, traced=True))
    ]
    assert headers == [[None, None], [header if isinstance(header, str) else None, None]]
    assert ["AWSTraceHeader" in names for names in asked] == [False, True]


@pytest.mark.parametrize("name", ["MessageId", "ReceiptHandle", "Body"])
@pytest.mark.parametrize("value", ["", None, 1])
def test_a_message_needs_an_id_and_a_receipt_and_a_body_of_any_length(name: str, value: Any) -> None:
    received = {"MessageId": "1", "ReceiptHandle": "r", "Body": "x"} | {name: value}
    assert (read_message(received) is None) == (value != "" or name != "Body")
    del received[name]
    assert read_message(received) is None
