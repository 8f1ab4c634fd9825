"""Sends the calls that every message needs, bypassing most of the SDK. After a problem, the SDK sends the call."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from botocore.exceptions import ReadTimeoutError
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies
from yarl import URL

from workers.aws.sdk.parsing import OK, plain_parser
from workers.aws.sdk.signing import sign
from workers.aws.sdk.tls import trusting_context

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.client import BaseClient
    from botocore.model import OperationModel

ACTIONS = {"ReceiveMessage", "DeleteMessageBatch", "BatchExecuteStatement"}
KEEPALIVE_S = 12  # The SDK's value. Every service keeps an idle connection for longer than that.


@dataclass(frozen=True, slots=True)
class _Answer:
    """The part of a response that the SDK reads even if it did not send the call."""

    status_code: int = OK


@dataclass(frozen=True, slots=True)
class DirectCalls:
    """
    A handler of the SDK's `before-call` event. If it returns a response, the SDK sends nothing.

    - Before this event, the SDK has resolved the endpoint and serialized the call. This handler skips the rest: two
      more objects for the same request, twenty hooks and three copies of its headers. That is a third of a message's
      CPU time.
    - After an error or a broken connection it returns None, and the SDK sends the call with its own retries and errors.
    - A call that times out is the exception: it is not sent again.
    """

    session: "AioSession"
    client: "BaseClient"
    http: ClientSession

    async def __call__(
        self, model: "OperationModel", params: Mapping[str, Any], context: Mapping[str, Any], **_: Any
    ) -> tuple[_Answer, dict[str, Any]] | None:
        if model.name not in ACTIONS:
            return None
        credentials = await self.session.get_credentials()
        if credentials is None:
            return None
        url, body = params["url"], params["body"]
        headers = {name.lower(): value for name, value in params["headers"].items()}
        scope = context.get("signing", {})
        region = scope.get("region", self.client.meta.region_name)
        service = scope.get("signing_name", self.client.meta.service_model.signing_name)
        frozen = await credentials.get_frozen_credentials()
        sign(headers, url, body, frozen, region=region, service=service, at_s=time.time())
        try:
            async with self.http.post(_parsed(url), data=body, headers=headers, allow_redirects=False) as response:
                if response.status != OK:
                    return None
                answer = {"status_code": OK, "headers": response.headers, "body": await response.read()}
            return _Answer(), await plain_parser().parse(answer, cast("Any", model.output_shape))
        except TimeoutError as error:
            raise await self._count_timeout(ReadTimeoutError(endpoint_url=url, error=error), model, context) from error
        except (ClientError, OSError, ResponseParserError):
            return None

    async def _count_timeout(self, error: ReadTimeoutError, model: "OperationModel", context: Any) -> ReadTimeoutError:
        """Emit the event that counts *error*: the SDK emits it only for calls that it has sent itself."""
        events: Any = self.client.meta.events  # Any: the stub types it as the synchronous SDK's.
        await events.emit(
            f"after-call-error.{self.client.meta.service_model.service_name}.{model.name}",
            exception=error,
            context=context,
        )
        return error


@asynccontextmanager
async def direct_calls(client: "BaseClient", session: "AioSession") -> AsyncIterator[None]:
    """Send *client*'s calls in `ACTIONS` directly, with its connection limit. If there is a proxy, change nothing."""
    meta, config = client.meta, cast("Any", client.meta.config)  # Any: the stub lacks most of its attributes.
    if get_environ_proxies(meta.endpoint_url) or config.proxies:
        yield
        return
    connector = TCPConnector(
        limit=config.max_pool_connections, keepalive_timeout=KEEPALIVE_S, ssl=trusting_context(session)
    )
    async with ClientSession(
        connector=connector,
        timeout=ClientTimeout(sock_connect=config.connect_timeout, sock_read=config.read_timeout),
        cookie_jar=DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        skip_auto_headers=("Accept",),
        auto_decompress=False,
    ) as http:
        calls: Any = DirectCalls(session, client, http)  # Any: the stub types handlers as returning None.
        meta.events.register("before-call", calls)
        yield


@lru_cache(maxsize=8)  # One for each service.
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)
