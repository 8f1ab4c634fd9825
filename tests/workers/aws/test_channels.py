import json
import uuid
from typing import TYPE_CHECKING, Any, cast

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ParamValidationError

from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from tests.workers.escalation.examples import case
from workers.aws.channels import SnsChannel, SqsChannel
from workers.errors import OutageError
from workers.escalation.notifications import Channel, ChannelError, Notification, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

CARD = "4929123412345678"
NOTIFICATION = Notification.of(case("pager"), "pager")
MISSING_TOPIC = "arn:aws:sns:us-east-1:000000000000:no-such-topic"


@pytest.fixture
async def sns(session: aioboto3.Session) -> "AsyncIterator[SNSClient]":
    async with session.client("sns") as client:
        yield client


@pytest.fixture
async def url(sqs: "SQSClient") -> str:
    """Return the URL of a new queue for this test."""
    return (await sqs.create_queue(QueueName=f"channel-{uuid.uuid4().hex}"))["QueueUrl"]


async def topic_of(sns: "SNSClient", sqs: "SQSClient", url: str, **attributes: str) -> str:
    """Return the ARN of a new topic with the queue as its subscriber."""
    topic_arn = (await sns.create_topic(Name=f"topic-{uuid.uuid4().hex}"))["TopicArn"]
    await subscribe(sns, sqs, topic_arn, url, **attributes)
    return topic_arn


async def subscribe(sns: "SNSClient", sqs: "SQSClient", topic_arn: str, url: str, **attributes: str) -> None:
    answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    await sns.subscribe(
        TopicArn=topic_arn, Protocol="sqs", Endpoint=answer["Attributes"]["QueueArn"], Attributes=attributes
    )


async def received(sqs: "SQSClient", url: str) -> list[dict[str, Any]]:
    answer = await sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
    )
    return [dict(message) for message in answer.get("Messages", [])]


async def test_a_notification_reaches_the_subscribers_of_a_topic(sns: "SNSClient", sqs: "SQSClient", url: str) -> None:
    await SnsChannel("pager", sns, await topic_of(sns, sqs, url)).send(NOTIFICATION)
    (message,) = await received(sqs, url)
    envelope = json.loads(message["Body"])
    assert envelope["Subject"] == "[warning] Order 001 escalated: INVALID_PRICE"
    assert json.loads(envelope["Message"]) == NOTIFICATION.fields()
    assert {
        name: (attribute["Type"], attribute["Value"]) for name, attribute in envelope["MessageAttributes"].items()
    } == {
        "NotificationId": ("String", "001#1#pager"),
        "Severity": ("String", "warning"),
        "Reasons": ("String.Array", '["INVALID_PRICE"]'),
    }


@pytest.mark.parametrize(
    ("policy", "delivered"),
    [
        ({"Severity": ["warning", "critical"]}, True),
        ({"Severity": ["critical"]}, False),
        ({"Reasons": ["INVALID_PRICE"]}, True),
        ({"Reasons": ["WORKFLOW_FAILED"]}, False),
    ],
)
async def test_subscriptions_can_filter_by_severity_and_reasons(
    sns: "SNSClient", sqs: "SQSClient", url: str, policy: dict[str, list[str]], delivered: bool
) -> None:
    topic_arn = await topic_of(sns, sqs, url, FilterPolicy=json.dumps(policy))
    await SnsChannel("pager", sns, topic_arn).send(NOTIFICATION)
    assert len(await received(sqs, url)) == (1 if delivered else 0)


@pytest.mark.parametrize("by_name", [True, False])
async def test_a_notification_is_sent_to_a_queue_by_name_or_url(sqs: "SQSClient", url: str, by_name: bool) -> None:
    await SqsChannel("pager", sqs, url.rpartition("/")[2] if by_name else url).send(NOTIFICATION)
    (message,) = await received(sqs, url)
    assert json.loads(message["Body"]) == NOTIFICATION.fields()
    assert {
        name: (attribute["DataType"], attribute["StringValue"])
        for name, attribute in message["MessageAttributes"].items()
    } == {
        "NotificationId": ("String", "001#1#pager"),
        "Severity": ("String", "warning"),
        "Reasons": ("String.Array", '["INVALID_PRICE"]'),
    }


async def test_a_card_number_in_any_field_is_masked(sns: "SNSClient", sqs: "SQSClient", url: str) -> None:
    held = case("pager", case_id=CARD, order_id=CARD)
    planted = Notification.of(held, f"x{CARD}")
    await SnsChannel("pager", sns, await topic_of(sns, sqs, url)).send(planted)
    await SqsChannel("pager", sqs, url).send(planted)
    messages = await received(sqs, url)
    assert len(messages) == 2
    assert CARD not in json.dumps(
        [{"body": message["Body"], **message.get("MessageAttributes", {})} for message in messages]
    )


async def test_a_subject_keeps_to_the_limits_of_sns(sns: "SNSClient", sqs: "SQSClient", url: str) -> None:
    held = case("pager", case_id="Zo\u00eb\u2028" + "x" * 100, order_id=None)
    await SnsChannel("pager", sns, await topic_of(sns, sqs, url)).send(Notification.of(held, "pager"))
    (message,) = await received(sqs, url)
    assert json.loads(message["Body"])["Subject"] == ("[warning] Case Zo??" + "x" * 100)[:99]


async def test_a_missing_topic_or_queue_concerns_only_its_channel(sns: "SNSClient", sqs: "SQSClient") -> None:
    channels: list[tuple[Channel, str]] = [
        (SnsChannel("pager", sns, MISSING_TOPIC), "Publish: NotFound"),
        (SqsChannel("pager", sqs, "no-such-queue"), "GetQueueUrl: the queue does not exist"),
    ]
    for channel, reason in channels:
        with pytest.raises(ChannelError) as raised:
            await channel.send(NOTIFICATION)
        assert (str(raised.value), raised.value.passing) == (reason, False)


async def test_an_unreachable_endpoint_is_an_outage(session: aioboto3.Session) -> None:
    down: dict[str, Any] = {
        "endpoint_url": "http://127.0.0.1:9",
        "config": AioConfig(retries={"total_max_attempts": 1}),
    }
    async with session.client("sns", **down) as sns, session.client("sqs", **down) as sqs:
        for channel in (SnsChannel("pager", sns, MISSING_TOPIC), SqsChannel("pager", sqs, "http://127.0.0.1:9/1/q")):
            with pytest.raises(OutageError):
                await channel.send(NOTIFICATION)


ATTRIBUTES = {
    "NotificationId": {"DataType": "String", "StringValue": "001#1#pager"},
    "Severity": {"DataType": "String", "StringValue": "warning"},
    "Reasons": {"DataType": "String.Array", "StringValue": '["INVALID_PRICE"]'},
}
BODY = json.dumps(NOTIFICATION.fields(), ensure_ascii=False)


async def test_a_topic_gets_a_subject_a_body_and_attributes_to_filter_by() -> None:
    sns: Any = FakeSdk(publish=[{}])
    await SnsChannel("pager", sns, MISSING_TOPIC).send(NOTIFICATION)
    assert sns.requests_of("publish") == [
        {
            "TopicArn": MISSING_TOPIC,
            "Subject": "[warning] Order 001 escalated: INVALID_PRICE",
            "Message": BODY,
            "MessageAttributes": ATTRIBUTES,
        }
    ]


async def test_a_subject_is_plain_text_of_99_characters_without_card_numbers() -> None:
    sns: Any = FakeSdk(publish=[{}, {}])
    for case_id in (CARD, "Zo\u00eb\n" + "x" * 100):
        await SnsChannel("pager", sns, MISSING_TOPIC).send(
            Notification.of(case("pager", case_id=case_id, order_id=None), "pager")
        )
    first, second = (request["Subject"] for request in sns.requests_of("publish"))
    assert CARD not in first
    assert second == ("[warning] Case Zo??" + "x" * 100)[:99]


@pytest.mark.parametrize(
    ("queue", "lookups"),
    [
        ("alarms", [{"QueueName": "alarms"}]),
        (
            "arn:aws:sqs:eu-west-1:111122223333:alarms",
            [{"QueueName": "alarms", "QueueOwnerAWSAccountId": "111122223333"}],
        ),
        ("https://sqs/1/alarms", []),
    ],
)
async def test_a_queues_url_is_looked_up_unless_it_is_given(queue: str, lookups: list[dict[str, str]]) -> None:
    sqs: Any = FakeSdk(get_queue_url=[{"QueueUrl": "https://sqs/1/alarms"}], send_message=[{}])
    await SqsChannel("pager", sqs, queue).send(NOTIFICATION)
    assert [operation for operation, _ in sqs.requests] == ["get_queue_url"] * len(lookups) + ["send_message"]
    assert sqs.requests[-1][1] == {
        "QueueUrl": "https://sqs/1/alarms",
        "MessageBody": BODY,
        "MessageAttributes": ATTRIBUTES,
    }
    assert sqs.requests_of("get_queue_url") == lookups


UNUSABLE = ["EndpointDisabled", "NotFound", "NotFoundException", "PlatformApplicationDisabled", "ResourceNotFound"]
REFUSALS = ["InvalidParameter", "ParameterValueInvalid", "InvalidMessageContents", "InvalidParameterValue"]


@pytest.mark.parametrize(
    ("code", "kind"), [*((code, ChannelError) for code in UNUSABLE), *((code, RefusedError) for code in REFUSALS)]
)
async def test_what_aws_refuses_will_not_pass_by_itself(code: str, kind: type[ChannelError]) -> None:
    for channel in (
        SnsChannel("pager", cast("Any", FakeSdk(publish=[refusal(code, "Publish")])), MISSING_TOPIC),
        SqsChannel("pager", cast("Any", FakeSdk(send_message=[refusal(code, "Publish")])), "https://sqs/1/alarms"),
    ):
        with pytest.raises(ChannelError) as raised:
            await channel.send(NOTIFICATION)
        assert (str(raised.value), raised.value.passing) == (f"Publish: {code}", False)
        assert type(raised.value) is kind
        assert kind is ChannelError or cast("RefusedError", raised.value).blames_content


async def test_a_notification_that_the_sdk_refuses_is_refused() -> None:
    sns: Any = FakeSdk(publish=[ParamValidationError(report="secret")])
    with pytest.raises(RefusedError) as raised:
        await SnsChannel("pager", sns, MISSING_TOPIC).send(NOTIFICATION)
    assert (str(raised.value), raised.value.blames_content) == ("the SDK refuses it", True)


async def test_a_missing_queue_ends_no_worker() -> None:
    sqs: Any = FakeSdk(get_queue_url=[refusal("QueueDoesNotExist", "GetQueueUrl")])
    with pytest.raises(ChannelError) as raised:
        await SqsChannel("pager", sqs, "alarms").send(NOTIFICATION)
    assert (str(raised.value), raised.value.passing) == ("GetQueueUrl: the queue does not exist", False)


@pytest.mark.parametrize("error", [refusal("ThrottlingException"), KeyError("x"), TimeoutError()])
async def test_any_other_error_of_a_channel_is_an_outage(error: Exception) -> None:
    for channel in (
        SnsChannel("pager", cast("Any", FakeSdk(publish=[error])), MISSING_TOPIC),
        SqsChannel("pager", cast("Any", FakeSdk(send_message=[error])), "https://sqs/1/alarms"),
    ):
        with pytest.raises(OutageError):
            await channel.send(NOTIFICATION)


async def test_text_in_any_script_is_sent_as_it_is() -> None:
    sns, sqs = FakeSdk(publish=[{}]), FakeSdk(send_message=[{}])
    notification = Notification.of(case("pager", case_id="Zo\u00eb", order_id=None), "pager")
    await SnsChannel("pager", cast("Any", sns), MISSING_TOPIC).send(notification)
    await SqsChannel("pager", cast("Any", sqs), "https://sqs/1/alarms").send(notification)
    assert '"CaseId": "Zo\u00eb"' in sns.requests[0][1]["Message"]
    assert '"CaseId": "Zo\u00eb"' in sqs.requests[0][1]["MessageBody"]
