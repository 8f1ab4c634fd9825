"""The SDK's session and clients as the workers need them: sized, lean, counted."""

import os
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from botocore.handlers import add_recursion_detection_header, add_retry_headers

from workers.aws.sdk.metering import meter
from workers.aws.sdk.signing import sign_json
from workers.aws.sdk.tls import VerifyingSession

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.client import BaseClient
    from prometheus_client import Counter

MAX_POLLS = 4  # Long polls side by side under backlog: four keep up with the fastest handler on one core.
MAX_CONNECTIONS = 50  # For everything but receives: more in flight at once gains nothing on one core.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 10

_COMMON: dict[str, Any] = {
    "http_session_cls": VerifyingSession,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_keepalive": True,
    "user_agent": "order-fulfillment-workers",  # Fixed: the SDK puts its own together twice for every request.
    "parameter_validation": False,  # The service validates as well, and our requests have no optional shapes.
}


def open_session(sdk: "AioSession", region: str | None = None) -> aioboto3.Session:
    """Return a session in *region*, or else the environment's."""
    # Python's SDK reads AWS_DEFAULT_REGION only; every other SDK, and every AWS runtime, speaks of AWS_REGION.
    return aioboto3.Session(region_name=region or os.environ.get("AWS_REGION") or None, botocore_session=sdk)


def receiving_config(wait_s: int) -> AioConfig:
    """Return what a client for long polls of *wait_s* seconds is made with."""
    return AioConfig(
        **_COMMON,
        read_timeout=wait_s + READ_TIMEOUT_S,  # Above the wait, or every idle poll would look like an outage.
        max_pool_connections=MAX_POLLS,
        retries={"mode": "standard", "total_max_attempts": 1},  # The poller has its own backoff.
    )


def calling_config() -> AioConfig:
    """Return what a client for everything else is made with. With its tries a call takes well below `CLAIM_S`."""
    return AioConfig(
        **_COMMON,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=MAX_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 3},
    )


def channel_config(timeout_s: float) -> AioConfig:
    """Return what a client of a channel is made with: who sends tries again, and bounds every try."""
    return AioConfig(**_COMMON, read_timeout=timeout_s, retries={"total_max_attempts": 1})


def prepare(client: "BaseClient", requests: "Counter") -> None:
    """Have *client*, of SQS or DynamoDB, sign leanly, do without what nobody reads, and count its calls."""
    meter(client, requests)
    sign_json(client)
    # Which Lambda function calls, and which try this is: for AWS's own statistics. 4 % of a call's CPU time.
    client.meta.events.unregister("before-call", add_recursion_detection_header)
    client.meta.events.unregister("request-created", add_retry_headers)
