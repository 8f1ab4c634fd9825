"""A webhook as a channel, for chat tools and pagers."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from string import punctuation
from urllib.parse import quote

from aiohttp import ClientError, ClientHttpProxyError, ClientSession, DummyCookieJar, TraceConfig

from workers.errors import plain_name
from workers.escalation.notifications import ChannelError, Notification, RefusedError
from workers.proxies import Proxy, through
from workers.request_log import traces

_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
_BLAMING_CONTENT = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
}


@asynccontextmanager
async def webhook_session(spans: Sequence[TraceConfig] = ()) -> AsyncIterator[ClientSession]:
    """Open a session for webhooks. TLS is verified; cookies are not kept."""
    async with ClientSession(
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": "order-fulfillment-workers"},
        trace_configs=traces("webhook", spans),
    ) as session:
        yield session


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """
    An address that accepts the notification as a JSON POST. Any 2xx means that it was accepted.

    Address and authorization are secrets: chat tools put a secret into the path of the URL. `Idempotency-Key` is the
    notification's id, percent-encoded if it is not ASCII. The response body is never read, and redirects are not
    followed.
    """

    name: str
    session: ClientSession
    url: str = field(repr=False)
    authorization: str | None = field(default=None, repr=False)
    proxy: Proxy | None = None

    async def send(self, notification: Notification) -> None:
        fields = notification.fields()
        headers = {"Idempotency-Key": quote(fields["NotificationId"], safe=f" {punctuation}", errors="replace")}
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        try:
            proxy = None if self.proxy is None else self.proxy.url
            async with self.session.post(
                self.url, json=fields, headers=headers, allow_redirects=False, proxy=proxy
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except (ClientError, OSError, ValueError) as error:
            # The error's text quotes the address.
            kind = f"{plain_name(error)}{f', HTTP {error.status}' if isinstance(error, ClientHttpProxyError) else ''}"
            raise ChannelError(f"the call failed{through(self.proxy)} ({kind})") from None
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise _error(status, float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0)


def _error(status: int, retry_after_s: float) -> ChannelError:
    """
    Return the error for a *status* that is not 2xx.

    - 5xx, 408, 425, 429, and any status with a Retry-After pass by themselves.
    - A redirect (3xx) means that the address is wrong, and 407 the password of the proxy, for every notification.
    - The other 4xx are refusals.
    """
    passing = status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    later = passing or status == HTTPStatus.TOO_MANY_REQUESTS or retry_after_s > 0
    if later or status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return ChannelError(f"HTTP {status}", passing=passing, retry_after_s=retry_after_s)
    return RefusedError(f"HTTP {status}", blames_content=status in _BLAMING_CONTENT)
