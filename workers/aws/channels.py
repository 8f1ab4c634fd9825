"""Notification channels on AWS: an SNS topic or an SQS queue."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import SEND_FAULTS, error_code, translated
from workers.aws.outgoing import sns_message, sqs_message, string_attribute
from workers.domain.cards import mask
from workers.errors import FatalError
from workers.escalation.notifications import ChannelError, Notification, RefusedError
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from types_aiobotocore_sns import SNSClient
    from types_aiobotocore_sqs import SQSClient

# AWS refuses the notification.
_REFUSALS = SEND_FAULTS | {"InvalidParameter", "ParameterValueInvalid"}
# The topic is missing or disabled, for every notification. A retry within seconds is unlikely to help.
_UNUSABLE = {"EndpointDisabled", "NotFound", "NotFoundException", "PlatformApplicationDisabled", "ResourceNotFound"}


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
        RefusedError: AWS, or already the SDK, refuses the notification.
        ChannelError: The topic or queue does not exist, or is disabled.
        OutageError: Any other error.
    """
    try:
        with translated(_REFUSALS | _UNUSABLE):
            yield
    except ClientError as error:
        code = error_code(error)
        if code in _UNUSABLE:
            raise ChannelError(f"{error.operation_name}: {code}", passing=False) from error
        raise RefusedError(f"{error.operation_name}: {code}", blames_content=True) from error
    except ParamValidationError as error:
        raise RefusedError("the SDK refuses it", blames_content=True) from error
    except FatalError as error:
        raise ChannelError(str(error), passing=False) from error
