"""Notification channels on AWS: an SNS topic or an SQS queue."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.errors import SEND_FAULTS, error_code, translated
from workers.aws.outgoing import sns_message, sqs_message, string_attribute
from workers.domain.cards import mask
from workers.errors import FatalError
from workers.escalation.notifications import ChannelError, Notification
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

# A retry is unlikely to help with these errors: the topic is missing or disabled, or it refuses the notification.
_REFUSALS = SEND_FAULTS | {
    "EndpointDisabled",
    "InvalidParameter",
    "NotFound",
    "NotFoundException",
    "ParameterValueInvalid",
    "PlatformApplicationDisabled",
    "ResourceNotFound",
}


@dataclass(frozen=True, slots=True)
class SnsChannel:
    """An SNS topic. Its subscriptions can filter by the attributes `Severity` and `Reasons`."""

    name: str
    sns: "SNSClient"
    topic_arn: str

    async def send(self, notification: Notification) -> None:
        with _channel_errors():
            await self.sns.publish(
                **sns_message(
                    self.topic_arn, mask(notification.headline), _body(notification), _attributes(notification)
                )
            )


@dataclass(frozen=True, slots=True)
class SqsChannel:
    """An SQS queue, given by its name, its URL or its ARN."""

    name: str
    sqs: "SQSClient"
    queue: str

    async def send(self, notification: Notification) -> None:
        with _channel_errors():
            url = self.queue
            if "://" not in url:
                # Look up the URL for each send: escalations are few, and the queue may be recreated under another URL.
                url = (await self.sqs.get_queue_url(**QueueAddress.parse(self.queue).lookup()))["QueueUrl"]
            await self.sqs.send_message(**sqs_message(url, _body(notification), _attributes(notification)))


def _body(notification: Notification) -> str:
    return json.dumps(notification.fields(), ensure_ascii=False)


def _attributes(notification: Notification) -> dict[str, Any]:
    return {
        "NotificationId": string_attribute(mask(notification.id)),
        "Severity": string_attribute(notification.severity.value),
        # SNS filters match any element of a `String.Array`. SQS treats it as a string.
        "Reasons": {"DataType": "String.Array", "StringValue": json.dumps(notification.reasons)},
    }


@contextmanager
def _channel_errors() -> Iterator[None]:
    """
    Translate the SDK's errors into ours. A fatal error affects only this channel, so it does not end the worker.

    Raises:
        ChannelError: AWS refused the request itself, for example because the topic or queue does not exist.
        OutageError: Any other error.
    """
    try:
        with translated(_REFUSALS):
            yield
    except ClientError as error:
        raise ChannelError(f"{error.operation_name}: {error_code(error)}", passing=False) from error
    except FatalError as error:
        raise ChannelError(str(error), passing=False) from error
