"""The `http` provider: whoever answers a POST at `FULFILLMENT_URL` ships the order."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import structlog
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)
from pydantic_core import from_json
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from workers.backoff import Backoff
from workers.domain.cards import mask
from workers.domain.orders import Order, is_shipment_id
from workers.errors import OutageError, SuspectedOutageError, TransientError
from workers.fulfillment.providers import RejectedError
from workers.fulfillment.tokens import Token

log = structlog.get_logger(__name__)

MAX_TRIES = 3  # Within one call and its timeout, against a reset or a hiccup, while there is no outage to suspect.
RETRY_BACKOFF = Backoff(base_s=0.1, cap_s=1.0)
CONNECT_TIMEOUT_S = 3.0  # Name, connection and TLS. More means that nobody is there.
SUSPICIOUS_ORDERS = 3  # So many different orders in a row that fail: it is hardly the orders.
MAX_ANSWER_BYTES = 64 * 1024
MAX_EVIDENCE_CHARS = 500

_OK, _REDIRECT, _BAD_REQUEST, _SERVER_ERROR = 200, 300, 400, 500
_UNAUTHORIZED = 401
_REFUSES_US = {_UNAUTHORIZED, 403, 407}  # About the token or a proxy, never about an order.
_BUSY = {429, 503}  # The provider as a whole: too many requests, unavailable.
# Timeout and Too Early; and Conflict, which is how a provider says that the first request with this key is still under
# way (draft-ietf-httpapi-idempotency-key-header). Taken for a refusal, it would change the key, and ship twice.
_ONCE_MORE = {408, 409, 425}


@asynccontextmanager
async def http_session(connections: int) -> AsyncIterator[ClientSession]:
    """
    Open a session with as many connections as there can be calls at a time: none waits for another's.

    TLS is verified against the system's certificates, or those in `SSL_CERT_FILE`.
    """
    async with ClientSession(
        connector=TCPConnector(limit=connections),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,  # The bound on an answer's size is one on what it unpacks to, too.
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "order-fulfillment-workers",
        },
    ) as session:
        yield session


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    complete: bool
    retry_after_s: float

    @property
    def told(self) -> str:
        """The answer as evidence: on one line, with nothing in it that is not seen, masked, and only then cut."""
        seen = "".join(each if each.isprintable() else " " for each in self.body.decode(errors="replace"))
        text = mask(" ".join(seen.split()))
        cut = text[:MAX_EVIDENCE_CHARS] + ("..." if len(text) > MAX_EVIDENCE_CHARS or not self.complete else "")
        return f"HTTP {self.status}: {cut}" if cut else f"HTTP {self.status} without a body"


class HttpProvider:
    """
    Ships orders by POST. README.md has the contract that the other side keeps.

    Every request for an order carries the same idempotency key until the provider has definitely refused it, so it does
    not matter how often one is repeated, or whether its answer was lost. What an answer means:

    - shipped: 2xx with a shipment id;
    - this order is refused (`RejectedError`): 4xx, but for those below;
    - the provider is down for every order (`OutageError`; no attempt is counted): nothing could be sent to it (no
      connection, no TLS), it says so itself (429, 503), it does not accept us (401, 403, 407), or it redirects, which
      is a matter of `FULFILLMENT_URL`;
    - this attempt failed (`TransientError`): anything else, from a timeout over 500 to an answer without a shipment id.
      Nobody can tell whether the order was shipped. Once several different orders fail like that, with no success
      between them, it is an outage by all appearances (`SuspectedOutageError`).
    """

    def __init__(
        self,
        session: ClientSession,
        url: str,
        *,
        timeout_s: float,
        token: Token | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        retry_backoff: Backoff = RETRY_BACKOFF,
    ) -> None:
        self._session = session
        self._url = url
        self._timeout_s = timeout_s
        self._token = token
        self._retry_backoff = retry_backoff
        # The whole is bounded in `_ask`, whichever part of it takes long.
        self._client_timeout = ClientTimeout(total=None, connect=min(connect_timeout_s, timeout_s / 2))
        self._failing: set[str] = set()  # The orders that failed since the last answer that settled one.

    async def ship(self, order: Order) -> str:
        try:
            shipment = await self._ask(order)
        except RejectedError:
            self._failing.clear()
            raise
        except TransientError as error:
            if not self._is_suspicious():
                self._failing.add(order.order_id)
            if not self._is_suspicious():
                raise
            reason = f"{error}; so did other orders before, and none got through"
            raise SuspectedOutageError(reason, retry_after_s=error.retry_after_s) from None
        self._failing.clear()
        return shipment

    def _is_suspicious(self) -> bool:
        return len(self._failing) >= SUSPICIOUS_ORDERS

    async def _ask(self, order: Order) -> str:
        trying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, TransientError) and error.retry_after_s == 0),
            stop=lambda retry: retry.attempt_number >= MAX_TRIES or self._is_suspicious(),
            wait=lambda retry: self._retry_backoff.wait_s(retry.attempt_number),
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                return await trying(self._try, order)
        except TimeoutError:
            raise TransientError(f"no answer within {self._timeout_s:g} s") from None

    async def _try(self, order: Order) -> str:
        token = None if self._token is None else await self._token.current()
        answer = await self._post(order, token)
        if answer.status == _UNAUTHORIZED and self._token is not None and token is not None:
            newer = await self._token.instead_of(token)
            if newer is not None:
                answer = await self._post(order, newer)
        return _shipment(answer)

    async def _post(self, order: Order, token: str | None) -> _Answer:
        headers = {"Content-Type": "application/json", "Idempotency-Key": order.idempotency_key}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        try:
            async with self._session.post(
                self._url, data=_body(order), headers=headers, allow_redirects=False, timeout=self._client_timeout
            ) as response:
                return await _read(response)
        # Texts of our own throughout, and no causes: the client's quote the whole URL.
        except ConnectionTimeoutError:
            raise OutageError("the provider cannot be reached: no connection within the time for it") from None
        except ClientConnectorError as error:
            raise OutageError(f"the provider cannot be reached: {_unreachable(error)}") from None
        except (ClientError, ConnectionError) as error:
            raise TransientError(f"the call broke off ({type(error).__name__})") from None


def _body(order: Order) -> bytes:
    """Return the request's body. The card number is no part of it, not even masked."""
    fields = {"OrderId": order.order_id, "Name": order.name, "ItemName": order.item_name, "Price": order.price}
    texts = {name: mask(value) for name, value in fields.items() if value is not None}
    execution = {} if order.execution_arn is None else {"ExecutionArn": order.execution_arn}
    return json.dumps(texts | execution, ensure_ascii=False).encode()


async def _read(response: ClientResponse) -> _Answer:
    """Read an answer, but never more of it than anyone looks at."""
    body = bytearray()
    while len(body) <= MAX_ANSWER_BYTES:
        chunk = await response.content.read(MAX_ANSWER_BYTES + 1 - len(body))
        if not chunk:
            break
        body += chunk
    retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
    complete = len(body) <= MAX_ANSWER_BYTES
    return _Answer(response.status, bytes(body[:MAX_ANSWER_BYTES]), complete, retry_after_s)


def _shipment(answer: _Answer) -> str:
    """Return the shipment's id, or raise what *answer* means instead."""
    status, told, wait_s = answer.status, answer.told, answer.retry_after_s
    if _OK <= status < _REDIRECT:
        shipment = _shipment_id(answer)
        if shipment is None:
            # The provider has acted. Only the same key may be tried again, and in the end a person looks at it.
            raise TransientError(f"the provider answered without a usable ShipmentId, {told}", retry_after_s=wait_s)
        return shipment
    if status < _BAD_REQUEST:
        raise OutageError(f"the provider redirects, which is not followed; check FULFILLMENT_URL ({told})")
    if status in _REFUSES_US:
        raise OutageError(f"the provider does not accept us, check the token ({told})", retry_after_s=wait_s)
    if status in _BUSY:
        raise OutageError(f"the provider is down or busy ({told})", retry_after_s=wait_s)
    if status in _ONCE_MORE or status >= _SERVER_ERROR:
        raise TransientError(f"the provider failed, {told}", retry_after_s=wait_s)
    raise RejectedError(told)


def _shipment_id(answer: _Answer) -> str | None:
    """Return the answer's `ShipmentId`, None where there is none that may be kept."""
    if not answer.complete:
        return None
    try:
        document: Any = from_json(answer.body)
    except ValueError:
        return None
    value = document.get("ShipmentId") if isinstance(document, dict) else None
    return value if is_shipment_id(value) else None


def _retry_after_s(header: str | None) -> float:
    """Return the seconds that a `Retry-After` header, seconds or a date, asks for; 0 where it makes no sense."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _unreachable(error: ClientConnectorError) -> str:
    if isinstance(error, ClientConnectorCertificateError):
        return f"its certificate is not accepted, {getattr(error.certificate_error, 'verify_message', 'unverified')}"
    return error.os_error.strerror or type(error.os_error).__name__


def _log_retry(retry: RetryCallState) -> None:
    error = retry.outcome.exception() if retry.outcome else None
    log.info("provider.retried", reason=str(error), attempt=retry.attempt_number)
