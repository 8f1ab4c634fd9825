"""Configures the SDK's session and clients for workers: connections, timeouts, retries, signing and headers."""

import os
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig

from workers.aws.sdk.tls import VerifyingSession

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

# Connections beyond one for each handler: deletes, releases and extensions are sent while handlers make calls.
SPARE_CONNECTIONS = 20
CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 3, 10

_COMMON: dict[str, Any] = {
    "http_session_cls": VerifyingSession,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_keepalive": True,
    "user_agent": "order-fulfillment-workers",  # Fixed: the SDK would build its own twice for every request.
    "parameter_validation": False,  # The service validates too, and our requests have no optional shapes.
}


def open_session(sdk: "AioSession", region: str | None = None) -> aioboto3.Session:
    """Return a session in *region*; by default, in the environment's region."""
    # Python's SDK reads only AWS_DEFAULT_REGION. Every other SDK, and every AWS runtime, uses AWS_REGION.
    return aioboto3.Session(region_name=region or os.environ.get("AWS_REGION") or None, botocore_session=sdk)


def receiving_config(wait_s: int, max_polls: int) -> AioConfig:
    """Return the configuration of a client for up to *max_polls* long polls at a time, of *wait_s* seconds."""
    return AioConfig(
        **_COMMON,
        read_timeout=wait_s + READ_TIMEOUT_S,  # Longer than the wait, or every idle poll would look like an outage.
        max_pool_connections=max_polls,
        retries={"mode": "standard", "total_max_attempts": 1},  # The poller has its own backoff.
    )


def calling_config(concurrency: int, attempts: int = 3) -> AioConfig:
    """
    Return the configuration of a client for the other calls of *concurrency* handlers.

    Even with retries, a call takes much less than `CLAIM_S`. Connections are opened when they are needed.
    """
    return AioConfig(
        **_COMMON,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=concurrency + SPARE_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )


def channel_config(timeout_s: float) -> AioConfig:
    """Return the configuration of a channel's client. The router itself retries, and limits the time of a send."""
    return AioConfig(**_COMMON, read_timeout=timeout_s, retries={"total_max_attempts": 1})
