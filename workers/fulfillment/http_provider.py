"""The `http` provider: ships orders by POST to `FULFILLMENT_URL`."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import structlog
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
)
from pydantic_core import from_json

from workers.backoff import Backoff
from workers.domain.cards import mask
from workers.domain.orders import Order, is_shipment_id
from workers.errors import OutageError, SuspectedOutageError, TransientError, plain_name
from workers.fulfillment.providers import RejectedError
from workers.fulfillment.tokens import Token
from workers.proxies import Proxy, through
from workers.request_log import traces

log = structlog.get_logger(__name__)

MAX_TRIES = 3  # Tries per call, within its timeout: for resets and short failures. In a suspected outage only 1.
RETRY_BACKOFF = Backoff(base_s=0.1, cap_s=1.0)
CONNECT_TIMEOUT_S = 3.0  # For the name lookup, the connection and TLS. If they take longer, the server is down.
SUSPICIOUS_ORDERS = 3  # If this many different orders fail in a row, the reason is probably not the orders.
MAX_RESPONSE_BYTES = 64 * 1024
MAX_EVIDENCE_CHARS = 500

_OK, _REDIRECT, _BAD_REQUEST, _SERVER_ERROR = 200, 300, 400, 500
_UNAUTHORIZED = 401
_REFUSES_US = {_UNAUTHORIZED, 403, 407}  # Because of the token or a proxy, never because of an order.
_BUSY = {429, 503}  # Too Many Requests, Service Unavailable: about the provider as a whole.
# Request Timeout, Conflict and Too Early. Conflict means that the first request with this key is still running
# (draft-ietf-httpapi-idempotency-key-header). If Conflict counted as a refusal, the key would change and the order
# could ship twice.
_TRY_AGAIN = {408, 409, 425}


@asynccontextmanager
async def http_session(connections: int, spans: Sequence[TraceConfig] = ()) -> AsyncIterator[ClientSession]:
    """
    Open a session with *connections* connections, one per concurrent call, so that no call waits for another.

    TLS certificates are verified against the system's certificate authorities, or those in `SSL_CERT_FILE`.
    """
    async with ClientSession(
        connector=TCPConnector(limit=connections),
        trace_configs=traces("provider", spans),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,  # Otherwise a small response could unpack to more than the size limit.
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "order-fulfillment-workers",
        },
    ) as session:
        yield session


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    complete: bool
    retry_after_s: float

    @property
    def evidence(self) -> str:
        """The response on one line, without invisible characters, masked, then cut."""
        visible = "".join(char if char.isprintable() else " " for char in self.body.decode(errors="replace"))
        text = mask(" ".join(visible.split()))
        cut = text[:MAX_EVIDENCE_CHARS] + ("..." if len(text) > MAX_EVIDENCE_CHARS or not self.complete else "")
        return f"HTTP {self.status}: {cut}" if cut else f"HTTP {self.status} without a body"


class HttpProvider:
    """
    Ships orders by POST. docs/providers.md describes the contract for the server.

    Every request for an order has the same idempotency key until the provider definitely refuses the order. So it is
    safe to repeat a request, even after a lost response. The responses mean:

    - The order is shipped: 2xx with a shipment id.
    - This order is refused (`RejectedError`): 4xx, except the ones below.
    - The provider is down for every order (`OutageError`; no attempt is counted): nothing could be sent (no connection,
      no TLS, a proxy that refuses), it says so (429, 503), it does not accept us (401, 403, 407), or it redirects
      (`FULFILLMENT_URL` is wrong).
    - This attempt failed (`TransientError`): anything else, such as a timeout, 500, or a response without shipment id.
      The order may or may not be shipped. If several different orders fail like this with no success in between, it is
      probably an outage (`SuspectedOutageError`).
    """

    def __init__(
        self,
        session: ClientSession,
        url: str,
        *,
        timeout_s: float,
        token: Token | None = None,
        proxy: Proxy | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        retry_backoff: Backoff = RETRY_BACKOFF,
    ) -> None:
        self._session = session
        self._url = url
        self._timeout_s = timeout_s
        self._token = token
        self._proxy = proxy
        self._retry_backoff = retry_backoff
        # `_call` limits the time of the whole call.
        self._client_timeout = ClientTimeout(total=None, connect=min(connect_timeout_s, timeout_s / 2))
        self._failing: set[str] = set()  # The orders that failed since an order was last shipped or refused.

    async def ship(self, order: Order) -> str:
        try:
            shipment = await self._call(order)
        except RejectedError:
            self._failing.clear()
            raise
        except TransientError as error:
            if not self._suspects_outage():
                self._failing.add(order.order_id)
            if not self._suspects_outage():
                raise
            reason = f"{error}; other orders failed before, and none succeeded since"
            raise SuspectedOutageError(reason, retry_after_s=error.retry_after_s) from None
        self._failing.clear()
        return shipment

    def _suspects_outage(self) -> bool:
        return len(self._failing) >= SUSPICIOUS_ORDERS

    async def _call(self, order: Order) -> str:
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                return await self._try_repeatedly(order, deadline)
        except TimeoutError:
            raise TransientError(f"no answer within {self._timeout_s:g} s") from None

    async def _try_repeatedly(self, order: Order, deadline: asyncio.Timeout) -> str:
        """Post *order*; again after a short failure. In a loop, because tenacity takes 45 us, a quarter of a call."""
        tries = 0
        while True:
            tries += 1
            try:
                return await self._try(order, deadline)
            except TransientError as error:
                if error.retry_after_s > 0 or tries >= MAX_TRIES or self._suspects_outage():
                    raise
                log.info("provider.retried", reason=str(error), attempt=tries)
            await asyncio.sleep(self._retry_backoff.wait_s(tries))

    async def _try(self, order: Order, deadline: asyncio.Timeout) -> str:
        token = None
        if self._token is not None:
            with _paused(deadline):
                token = await self._token.current()
        response = await self._post(order, token)
        if response.status == _UNAUTHORIZED and self._token is not None and token is not None:
            with _paused(deadline):
                newer = await self._token.instead_of(token)
            if newer is not None:
                response = await self._post(order, newer)
        return _shipment(response)

    async def _post(self, order: Order, token: str | None) -> _Response:
        headers = {"Content-Type": "application/json", "Idempotency-Key": order.idempotency_key}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.post(
                self._url,
                data=_body(order),
                headers=headers,
                allow_redirects=False,
                timeout=self._client_timeout,
                proxy=None if self._proxy is None else self._proxy.url,
            ) as response:
                return await _read(response)
        # These errors have only our own texts and no cause, because the HTTP client's messages quote the whole URL.
        except (ConnectionTimeoutError, ClientHttpProxyError, ClientConnectorError) as error:
            reason = self._unreachable(error)
            raise OutageError(f"the provider cannot be reached{through(self._proxy)}: {reason}") from None
        except (ClientError, ConnectionError) as error:
            raise TransientError(f"the call failed ({plain_name(error)})") from None

    def _unreachable(self, error: ClientError | ConnectionTimeoutError) -> str:
        """Return why nothing could be sent."""
        match error:
            case ClientHttpProxyError():
                return f"it answers HTTP {error.status}"
            case ClientConnectorCertificateError():
                why = getattr(error.certificate_error, "verify_message", "unverified")
                return f"its certificate is not accepted, {why}"
            case ClientConnectorError():
                return error.os_error.strerror or plain_name(error.os_error)
            case _:
                return f"no connection within {self._client_timeout.connect:g} s"


@contextmanager
def _paused(deadline: asyncio.Timeout) -> Iterator[None]:
    """Pause *deadline* in the block: a token that cannot be read is an outage, not a failed attempt of this order."""
    loop, ends_at_s = asyncio.get_running_loop(), deadline.when()
    paused_at_s = loop.time()
    deadline.reschedule(None)
    try:
        yield
    finally:
        if ends_at_s is not None:
            deadline.reschedule(ends_at_s + loop.time() - paused_at_s)


def _body(order: Order) -> bytes:
    """Return the request's body, which does not contain the card number, not even masked."""
    fields = {"OrderId": order.order_id, "Name": order.name, "ItemName": order.item_name, "Price": order.price}
    texts = {name: mask(value) for name, value in fields.items() if value is not None}
    execution = {} if order.execution_arn is None else {"ExecutionArn": order.execution_arn}
    return json.dumps(texts | execution, ensure_ascii=False).encode()


async def _read(response: ClientResponse) -> _Response:
    """Read a response, up to the size limit."""
    body = bytearray()
    while len(body) <= MAX_RESPONSE_BYTES:
        chunk = await response.content.read(MAX_RESPONSE_BYTES + 1 - len(body))
        if not chunk:
            break
        body += chunk
    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    complete = len(body) <= MAX_RESPONSE_BYTES
    return _Response(response.status, bytes(body[:MAX_RESPONSE_BYTES]), complete, retry_after_s)


def _shipment(response: _Response) -> str:
    """Return the shipment id in *response*, or raise the error that the response means."""
    status, wait_s = response.status, response.retry_after_s
    shipped = _OK <= status < _REDIRECT
    if shipped and (shipment := _shipment_id(response)) is not None:
        return shipment
    evidence = response.evidence
    if shipped:
        # The provider may have shipped the order, so try again with the same key. After the last attempt, a person
        # decides.
        raise TransientError(f"the provider answered without a usable ShipmentId, {evidence}", retry_after_s=wait_s)
    if status < _BAD_REQUEST:
        raise OutageError(f"the provider redirects, and redirects are not followed; check FULFILLMENT_URL ({evidence})")
    if status in _REFUSES_US:
        raise OutageError(f"the provider does not accept us, check the token ({evidence})", retry_after_s=wait_s)
    if status in _BUSY:
        raise OutageError(f"the provider is down or busy ({evidence})", retry_after_s=wait_s)
    if status in _TRY_AGAIN or status >= _SERVER_ERROR:
        raise TransientError(f"the provider failed, {evidence}", retry_after_s=wait_s)
    raise RejectedError(evidence)


def _shipment_id(response: _Response) -> str | None:
    """Return the response's `ShipmentId`; None if it has no usable one."""
    if not response.complete:
        return None
    try:
        document: Any = from_json(response.body)
    except ValueError:
        return None
    value = document.get("ShipmentId") if isinstance(document, dict) else None
    return value if is_shipment_id(value) else None


def _retry_after_s(header: str | None) -> float:
    """Return the seconds that a `Retry-After` header asks for (seconds or a date); 0 or less for nothing."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
