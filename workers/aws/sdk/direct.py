"""Sends the calls that carry the load without most of the SDK. What does not go well is handed over to the SDK."""

import io
import time
import uuid
from binascii import crc32
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiohttp import ClientSession, ConnectionTimeoutError
from botocore.handlers import add_recursion_detection_header, add_retry_headers
from yarl import URL

from workers.aws.sdk.handover import Handover, Received
from workers.aws.sdk.http import http_session, sdk_error
from workers.aws.sdk.metering import Meter
from workers.aws.sdk.parsing import OK, parse
from workers.aws.sdk.request_log import log_requests
from workers.aws.sdk.serializing import serializer
from workers.aws.sdk.signing import RequestSigner
from workers.proxies import proxy_for
from workers.request_log import is_on, log_request

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.client import BaseClient
    from botocore.model import OperationModel
    from prometheus_client import Counter

Client = TypeVar("Client", bound="BaseClient")

ACTIONS = {
    "batch_execute_statement": "BatchExecuteStatement",
    "batch_get_item": "BatchGetItem",
    "change_message_visibility_batch": "ChangeMessageVisibilityBatch",
    "delete_message_batch": "DeleteMessageBatch",
    "get_item": "GetItem",
    "query": "Query",
    "receive_message": "ReceiveMessage",
    "send_message": "SendMessage",
    "transact_write_items": "TransactWriteItems",
    "update_item": "UpdateItem",
}
LARGE_BODY_BYTES = 2**20  # aiohttp warns about a larger body, unless it is a file.


@dataclass(frozen=True, slots=True)
class _Route:
    """Where the SDK sends the calls of one action, and how it signs them."""

    model: "OperationModel"
    tokens: tuple[str, ...]  # Members that the SDK fills with a random token if the caller does not.
    serialize: Callable[[Mapping[str, Any]], bytes | None]
    url: URL
    signer: RequestSigner


class DirectClient:
    """
    A client of the SDK whose calls in `ACTIONS` take a shorter way: one serialization, one signature, one request.

    - Where to send an action's calls is learned from its first call, which the SDK sends: from its event `before-call`.
    - A request that the SDK would serialize differently is left to the SDK.
    - If the response is an error or unreadable, or if the connection fails, the SDK takes over as if it had sent the
      request itself (`Handover`). So retries, waits before them and errors are the SDK's.
    - A call that times out is not sent again.
    """

    def __init__(self, client: "BaseClient", session: "AioSession", http: ClientSession, meter: Meter) -> None:
        self._client: Any = client
        self._session = session
        self._http = http
        self._meter = meter
        self._handover = Handover(client)
        self._logs_requests = is_on()
        # By action and account: the SDK may send the calls of each account to an endpoint of its own.
        self._routes: dict[tuple[str, str | None], _Route] = {}
        client.meta.events.register_last("before-call", self._learn)  # type: ignore[arg-type] # The stub knows no async handlers.
        for method, action in ACTIONS.items():
            if hasattr(client, method):
                setattr(self, method, partial(self._call, action, getattr(client, method)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def _call(self, action: str, operation: Callable[..., Awaitable[Any]], /, **request: Any) -> Any:
        try:
            credentials = await self._credentials()
        except Exception as error:
            self._meter.count(action, type(error).__name__)
            raise
        route = self._routes.get((action, credentials.account_id)) if credentials else None
        if route is None:
            return await operation(**request)
        for name in route.tokens:
            if name not in request:
                request[name] = str(uuid.uuid4())  # The same for every attempt, so that the request is applied once.
        body = route.serialize(request)
        if body is None:
            return await operation(**request)
        url, started_at_s = str(route.url), time.perf_counter()
        try:
            received = await self._post(route, body, credentials)
        except Exception as error:
            failure = sdk_error(error, url)
            self._log(action, started_at_s, reason=type(failure).__name__)
            if isinstance(error, TimeoutError) and not isinstance(error, ConnectionTimeoutError):
                self._meter.count(action, type(failure).__name__)
                raise failure from error
            return await self._handover.call(operation, request, failure)
        self._log(action, started_at_s, status=received.status_code)
        answer = await _answer(received, route.model)
        if answer is None:
            return await self._handover.call(operation, request, received.response(url))
        await self._count(route.model, answer)
        return answer

    async def _post(self, route: _Route, body: bytes, credentials: Any) -> Received:
        headers = route.signer.signed(body, credentials, time.time())
        data = body if len(body) <= LARGE_BODY_BYTES else io.BytesIO(body)
        async with self._http.post(route.url, data=data, headers=headers, allow_redirects=False) as response:
            return Received(response.status, response.headers, await response.read())

    def _log(self, action: str, started_at_s: float, **outcome: Any) -> None:
        if self._logs_requests:
            log_request(action, started_at_s, attempt=1, **outcome)

    async def _count(self, model: "OperationModel", answer: Mapping[str, Any]) -> None:
        """Count a successful call. As long as the SDK's quota for retries is not full, let the SDK know of it too."""
        if not self._handover.used_quota:
            self._meter.count(model.name, "ok")
            return
        self._handover.used_quota -= 1
        service = model.service_model.service_id.hyphenize()
        await self._client.meta.events.emit(  # This event also counts the call.
            f"after-call.{service}.{model.name}",
            http_response=Received(OK, {}, b""),
            parsed=answer,
            model=model,
            context={},
        )

    async def _learn(self, model: "OperationModel", params: Any, context: Mapping[str, Any], **_: Any) -> None:
        credentials = await self._credentials()
        if model.name not in ACTIONS.values() or credentials is None:
            return
        meta, scope = self._client.meta, context.get("signing", {})
        signature_version = context.get("auth_type") or meta.config.signature_version
        if (params["method"], signature_version) != ("POST", "v4") or "?" in params["url"]:
            self._routes.pop((model.name, credentials.account_id), None)
            return
        self._routes[model.name, credentials.account_id] = _Route(
            model,
            tuple(model.idempotent_members),
            serializer(meta.service_model.service_name, model.name),
            URL(params["url"], encoded=True),
            RequestSigner(
                params["url"],
                params["headers"],
                region=scope.get("region", meta.region_name),
                service=scope.get("signing_name", meta.service_model.signing_name),
            ),
        )

    async def _credentials(self) -> Any:
        """Return the current credentials; None if there are none. The SDK fetches new ones before the old ones end."""
        credentials = await self._session.get_credentials()
        return None if credentials is None else await credentials.get_frozen_credentials()


async def _answer(received: Received, model: "OperationModel") -> Any:
    """Return a response as the SDK returns it; None if the SDK has to read it, because it is not a good one."""
    checksum = received.headers.get("x-amz-crc32")  # DynamoDB's. The SDK checks no other checksum of these calls.
    if received.status_code != OK or (checksum is not None and str(crc32(received.body)) != checksum):
        return None
    try:
        answer = await parse(received.headers, received.body, model.output_shape)
    except Exception:  # noqa: BLE001 - the SDK raises it again.
        return None
    answer["ResponseMetadata"]["RetryAttempts"] = 0
    return answer


@asynccontextmanager
async def direct(client: Client, session: "AioSession", requests: "Counter") -> AsyncIterator[Client]:
    """
    Yield *client* (SQS or DynamoDB) with direct calls, which share its connection limit and timeouts.

    All its calls are counted in *requests*. If there is a proxy, the SDK sends every call.

    Raises:
        FatalError: The variable for the proxy holds no URL of a proxy.
    """
    meter = Meter(client, requests)
    log_requests(client)
    # These headers name the calling Lambda function and count the attempts, for AWS's own statistics.
    client.meta.events.unregister("before-call", add_recursion_detection_header)
    client.meta.events.unregister("request-created", add_retry_headers)
    config = cast("Any", client.meta.config)  # Any: the stub lacks most of its attributes.
    if proxy_for(client.meta.endpoint_url) or config.proxies:
        yield client
        return
    async with http_session(session, config) as http:
        yield cast("Client", DirectClient(client, session, http, meter))
