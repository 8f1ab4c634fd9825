"""Messages: what a receive answers, long polls, message attributes, sizes and delays."""

import threading
from typing import Any

from tests.aws_facts.fact import RECORDED, facts_of
from tests.aws_facts.lab import Lab, error_of, stopwatch
from tests.aws_facts.queues import SQS_API, SQS_GUIDE, counts, hide, is_visible, receive, receive_one, send, text

fact = facts_of("sqs")

_RECEIVE = SQS_API + "API_ReceiveMessage.html"
_SEND = SQS_API + "API_SendMessage.html"
_POLLS = SQS_GUIDE + "sqs-short-and-long-polling.html"
_QUOTAS = SQS_GUIDE + "quotas-messages.html"
_LOCALSTACK = RECORDED + "sqs/test_sqs.py"
_MAX_BYTES = 1_048_576


@fact(
    "A receive that finds nothing has no `Messages` in its answer.",
    source=_LOCALSTACK + " (test_receive_empty_queue)",
    relied_on_by=("workers/aws/sqs.py::receive", "workers/operations/hold.py::_receive"),
    expected=False,
)
def an_empty_receive_has_no_messages(lab: Lab) -> object:
    return "Messages" in lab.sqs.receive_message(QueueUrl=lab.queue(), WaitTimeSeconds=0)


@fact(
    "A receive asks for at most ten messages.",
    source=_RECEIVE,
    relied_on_by=("workers/consumer/ports.py::MAX_BATCH",),
    expected=True,
)
def a_receive_asks_for_at_most_ten(lab: Lab) -> object:
    code = error_of(lab.sqs.receive_message, QueueUrl=lab.queue(), MaxNumberOfMessages=11)
    return code in {"InvalidParameterValue", "ReadCountOutOfRange"}


@fact(
    "A long poll of an empty queue takes as long as it was asked to wait.",
    source=_POLLS,
    relied_on_by=("workers/consumer/poller.py::max_wait_s",),
    expected=True,
)
def a_long_poll_waits(lab: Lab) -> object:
    url = lab.queue()
    with stopwatch() as elapsed_s:
        receive(lab, url, WaitTimeSeconds=2)
        return elapsed_s() > 1.8


@fact(
    "A long poll answers as soon as a message comes.",
    source=_POLLS,
    relied_on_by=("workers/consumer/poller.py::Poller",),
    expected=[1, "early"],
)
def a_long_poll_ends_when_a_message_comes(lab: Lab) -> object:
    url = lab.queue()
    sender = threading.Timer(1.0, send, (lab, url))
    sender.start()
    try:
        return _polled(lab, url)
    finally:
        sender.join()


@fact(
    "A long poll answers as soon as a message is visible again.",
    source=_POLLS,
    relied_on_by=("workers/consumer/poller.py::Poller",),
    expected=[1, "early"],
)
def a_long_poll_ends_when_a_message_is_visible_again(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    receive_one(lab, url, VisibilityTimeout=2)
    return _polled(lab, url)


def _polled(lab: Lab, url: str) -> list[object]:
    with stopwatch() as elapsed_s:
        messages = receive(lab, url, WaitTimeSeconds=15)
        return [len(messages), "early" if elapsed_s() < 10.0 else "late"]


@fact(
    "The wait and the visibility timeout of a receive count, not those of its queue.",
    source=_RECEIVE,
    relied_on_by=("workers/aws/sqs.py::visibility_timeout_s", "workers/wiring.py::MIN_VISIBILITY_TIMEOUT_S"),
    expected=["at once", True, False, True],
)
def a_receive_has_its_own_timeouts(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="600", ReceiveMessageWaitTimeSeconds="10")
    with stopwatch() as elapsed_s:
        receive(lab, url, WaitTimeSeconds=0)
        polled = "at once" if elapsed_s() < 5.0 else "late"
    send(lab, url)
    received = bool(receive(lab, url, VisibilityTimeout=8))
    hidden = is_visible(lab, url)
    return [polled, received, hidden, bool(receive(lab, url, WaitTimeSeconds=15))]


_TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"  # As W3C's: it does not begin with a time.
_TRACE_HEADER = f"Root=1-{_TRACE_ID[:8]}-{_TRACE_ID[8:]};Parent=00f067aa0ba902b7;Sampled=1"
_SYSTEM_ATTRIBUTES = {"AWSTraceHeader": text(_TRACE_HEADER)}


@fact(
    "A message keeps the trace header that its sender gave it as a system attribute.",
    source="https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html",
    relied_on_by=("workers/aws/sqs.py::TRACE_HEADER", "workers/tracing/sending.py::AWSTraceHeader"),
    expected=_TRACE_HEADER,
)
def a_message_keeps_its_trace_header(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url, MessageSystemAttributes=_SYSTEM_ATTRIBUTES)
    return receive_one(lab, url, MessageSystemAttributeNames=["AWSTraceHeader"])["Attributes"].get("AWSTraceHeader")


@fact(
    "A trace header counts neither among the ten attributes of a message nor toward its size.",
    source="https://docs.aws.amazon.com/xray/latest/devguide/xray-services-sqs.html",
    relied_on_by=("workers/tracing/sending.py::AWSTraceHeader",),
    expected=["ok", "ok"],
)
def a_trace_header_needs_no_room(lab: Lab) -> object:
    url, ten = lab.queue(), {f"a{n}": text("1") for n in range(10)}
    full = error_of(
        lab.sqs.send_message,
        QueueUrl=url,
        MessageBody="x",
        MessageAttributes=ten,
        MessageSystemAttributes=_SYSTEM_ATTRIBUTES,
    )
    largest = error_of(
        lab.sqs.send_message,
        QueueUrl=url,
        MessageBody="x" * _MAX_BYTES,
        MessageSystemAttributes=_SYSTEM_ATTRIBUTES,
    )
    return [full, largest]


@fact(
    "Receive counts and times come as texts, times in milliseconds; the time of the first receive stays the same.",
    source=_RECEIVE,
    relied_on_by=(
        "workers/aws/sqs.py::read_message",
        "workers/operations/dead_letters.py::SentTimestamp",
    ),
    expected=[["1", "2"], [13, 13], True],
)
def system_attributes_are_texts(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="0")
    send(lab, url)
    first = receive_one(lab, url)["Attributes"]
    second = receive_one(lab, url)["Attributes"]
    received = "ApproximateFirstReceiveTimestamp"
    return [
        [attributes["ApproximateReceiveCount"] for attributes in (first, second)],
        [len(first["SentTimestamp"]), len(first[received])],
        first[received] == second[received],
    ]


@fact(
    "A receive that asks for all message attributes gets text, binary and array attributes as they were sent.",
    source=_LOCALSTACK + " (test_send_message_with_binary_attributes)",
    relied_on_by=("workers/aws/sqs.py::_attributes", "workers/aws/channels.py::String.Array"),
    expected=[["String", "Zo\u00eb \U0001f6b2"], ["Binary", "00ff"], ["String.Array", '["X"]']],
)
def attributes_come_as_sent(lab: Lab) -> object:
    url = lab.queue()
    sent: dict[str, Any] = {
        "Text": text("Zo\u00eb \U0001f6b2"),
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        "Array": text('["X"]', "String.Array"),
    }
    send(lab, url, MessageAttributes=sent)
    found = receive_one(lab, url)["MessageAttributes"]
    return [
        [found["Text"]["DataType"], found["Text"]["StringValue"]],
        [found["Bytes"]["DataType"], found["Bytes"]["BinaryValue"].hex()],
        [found["Array"]["DataType"], found["Array"]["StringValue"]],
    ]


@fact(
    "A body with characters of four bytes and line separators comes as it was sent.",
    source=_SEND,
    relied_on_by=("workers/aws/sdk/parsing.py::json", "workers/contracts.py::body"),
    expected=True,
)
def a_body_comes_as_sent(lab: Lab) -> object:
    url, body = lab.queue(), "Zo\u00eb \u5f20\u4f1f \U0001f6b2\u2028\t\n"
    send(lab, url, body)
    return receive_one(lab, url)["Body"] == body


@fact(
    "A message has at most ten attributes.",
    source=_QUOTAS,
    relied_on_by=("workers/aws/senders.py::MAX_ATTRIBUTES", "workers/aws/errors.py::SEND_FAULTS"),
    expected="InvalidParameterValue",
)
def a_message_has_at_most_ten_attributes(lab: Lab) -> object:
    attributes = {f"A{n}": text("x") for n in range(11)}
    return error_of(lab.sqs.send_message, QueueUrl=lab.queue(), MessageBody="x", MessageAttributes=attributes)


@fact(
    "An attribute with an empty text is refused.",
    source=_LOCALSTACK + " (test_send_message_with_empty_string_attribute)",
    relied_on_by=("workers/aws/sqs.py::_attributes", "workers/aws/outgoing.py::string_attribute"),
    expected="InvalidParameterValue",
)
def an_empty_attribute_is_refused(lab: Lab) -> object:
    return error_of(lab.sqs.send_message, QueueUrl=lab.queue(), MessageBody="x", MessageAttributes={"Empty": text("")})


@fact(
    "Body and attributes together have at most 1 MiB.",
    source=_QUOTAS,
    relied_on_by=("workers/aws/senders.py::SqsDeadLetters", "workers/aws/errors.py::SEND_FAULTS"),
    expected=["InvalidParameterValue", "InvalidParameterValue"],
)
def attributes_count_toward_the_size(lab: Lab) -> object:
    url = lab.queue()
    attributes = {"Reason": text("x")}
    return [
        error_of(lab.sqs.send_message, QueueUrl=url, MessageBody="x" * (_MAX_BYTES + 1)),
        error_of(lab.sqs.send_message, QueueUrl=url, MessageBody="x" * _MAX_BYTES, MessageAttributes=attributes),
    ]


@fact(
    "A body with a control character that XML does not allow is refused with InvalidMessageContents.",
    source=_SEND,
    relied_on_by=("workers/aws/errors.py::InvalidMessageContents",),
    expected="InvalidMessageContents",
)
def a_control_character_is_refused(lab: Lab) -> object:
    return error_of(lab.sqs.send_message, QueueUrl=lab.queue(), MessageBody="a\x00b")


@fact(
    "U+FFFE, U+FFFF and other control characters are refused like it; their escapes in JSON are text like any other.",
    source=_SEND,
    relied_on_by=("workers/domain/characters.py::sendable", "workers/aws/outgoing.py::sqs_message"),
    expected=["InvalidMessageContents", "InvalidMessageContents", "InvalidMessageContents", "ok"],
)
def other_characters_outside_xml_are_refused(lab: Lab) -> object:
    url, bodies = lab.queue(), ("a\ufffeb", "a\uffffb", "a\x0bb", '"a\\u0000\\uffffb"')
    return [error_of(lab.sqs.send_message, QueueUrl=url, MessageBody=body) for body in bodies]


@fact(
    "An attribute takes the same characters as a body.",
    source=_LOCALSTACK + " (test_send_message_with_invalid_string_attributes)",
    relied_on_by=("workers/aws/outgoing.py::_sendable_attributes",),
    expected=[True, True, False],
)
def an_attribute_takes_the_characters_of_a_body(lab: Lab) -> object:
    url = lab.queue()
    return [
        error_of(lab.sqs.send_message, QueueUrl=url, MessageBody="x", MessageAttributes={"A": text(value)}) != "ok"
        for value in ("a\x00b", "a\uffffb", "a\ufffdb")
    ]


@fact(
    "A delayed message is counted as delayed, and comes after its delay.",
    source=SQS_GUIDE + "sqs-message-timers.html",
    relied_on_by=("workers/aws/senders.py::SqsReminders", "workers/operations/queues.py::Delayed"),
    expected=[["0", "0", "1"], False, True],
)
def a_delayed_message_comes_later(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url, DelaySeconds=40 if lab.is_patient else 6)
    counted = lab.eventually(lambda: counts(lab, url), ["0", "0", "1"])
    at_once = bool(receive(lab, url, WaitTimeSeconds=0))
    return [counted, at_once, lab.eventually(lambda: bool(receive(lab, url, WaitTimeSeconds=10)), wanted=True)]


@fact(
    "A message is delayed by at most 900 seconds.",
    source=_SEND,
    relied_on_by=("workers/ports.py::delay_s", "workers/escalation/handler.py::900 s"),
    expected="InvalidParameterValue",
)
def a_delay_is_at_most_900_seconds(lab: Lab) -> object:
    return error_of(lab.sqs.send_message, QueueUrl=lab.queue(), MessageBody="x", DelaySeconds=901)


@fact(
    "Numbers of messages are texts; a hidden message counts as invisible.",
    source=SQS_API + "API_GetQueueAttributes.html",
    relied_on_by=("workers/operations/queues.py::_number", "deploy/stacks/contents.py::_DEPTHS"),
    expected=[["1", "1", "0"], ["2", "0", "0"]],
)
def messages_are_counted_by_state(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    send(lab, url)
    handle = str(receive_one(lab, url, VisibilityTimeout=600)["ReceiptHandle"])
    hidden = lab.eventually(lambda: counts(lab, url), ["1", "1", "0"])
    hide(lab, url, handle, 0)
    return [hidden, lab.eventually(lambda: counts(lab, url), ["2", "0", "0"])]
