"""The HTTP session of direct calls, and the SDK's error for each error of HTTP."""

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import (
    ClientConnectionError,
    ClientPayloadError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from botocore import exceptions as sdk

from workers.aws.sdk.tls import ca_bundle, trusting_context

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

KEEPALIVE_S = 12  # The SDK's value. Every service keeps an idle connection for longer than that.


def http_session(session: "AioSession", config: Any) -> ClientSession:
    """Return a session with the timeouts and the connection limit of a client's *config*."""
    return ClientSession(
        connector=TCPConnector(
            limit=config.max_pool_connections, keepalive_timeout=KEEPALIVE_S, ssl=trusting_context(ca_bundle(session))
        ),
        timeout=ClientTimeout(sock_connect=config.connect_timeout, sock_read=config.read_timeout),
        cookie_jar=DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


def sdk_error(error: Exception, url: str) -> Exception:
    """Return the error that the SDK's own HTTP session raises in place of *error*."""
    match error:
        case ClientSSLError():
            return sdk.SSLError(endpoint_url=url, error=error)
        case ServerDisconnectedError() | ClientPayloadError():
            return sdk.ConnectionClosedError(endpoint_url=url, error=error)
        case ConnectionTimeoutError():
            return sdk.ConnectTimeoutError(endpoint_url=url, error=error)
        case asyncio.TimeoutError():
            return sdk.ReadTimeoutError(endpoint_url=url, error=error)
        case ClientConnectionError():
            return sdk.EndpointConnectionError(endpoint_url=url, error=error)
        case _:
            return sdk.HTTPClientError(error=error)
