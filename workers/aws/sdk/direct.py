"""Sends the calls that every message costs without the SDK's detours; leaves to the SDK what does not go well."""

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
from workers.aws.sdk.tls import trusted

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.client import BaseClient
    from botocore.model import OperationModel

ACTIONS = {"ReceiveMessage", "DeleteMessageBatch", "BatchExecuteStatement"}
KEEPALIVE_S = 12  # As long as the SDK's own: less than any service keeps an idle connection.


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the SDK asks of an answer that it did not get itself."""

    status_code: int = OK


@dataclass(frozen=True, slots=True)
class DirectCalls:
    """
    A `before-call` handler of the SDK's: what it returns is the call's answer, and the SDK sends nothing.

    By then the SDK has routed and serialized the call. What is left out is two more objects for the same request,
    twenty hooks and three copies of its headers: a third of the CPU time of a message. What is not a good answer, be it
    an error or a broken connection, counts for nothing here: the SDK then sends the call, with its own retries and
    errors. Only a call that hangs is not made again.
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
            raise await self._hung(ReadTimeoutError(endpoint_url=url, error=error), model, context) from error
        except (ClientError, OSError, ResponseParserError):
            return None

    async def _hung(self, error: ReadTimeoutError, model: "OperationModel", context: Any) -> ReadTimeoutError:
        """Have *error* counted: the SDK tells of errors only where it has made the call."""
        events: Any = self.client.meta.events  # The stub takes it for the SDK's that does not wait.
        await events.emit(
            f"after-call-error.{self.client.meta.service_model.service_name}.{model.name}",
            exception=error,
            context=context,
        )
        return error


@asynccontextmanager
async def direct_calls(client: "BaseClient", session: "AioSession") -> AsyncIterator[None]:
    """Have *client* send its busiest calls directly, on as many connections as it may have; not through a proxy."""
    meta, config = client.meta, cast("Any", client.meta.config)  # The stub knows next to nothing of it.
    if get_environ_proxies(meta.endpoint_url) or config.proxies:
        yield
        return
    connector = TCPConnector(limit=config.max_pool_connections, keepalive_timeout=KEEPALIVE_S, ssl=trusted(session))
    async with ClientSession(
        connector=connector,
        timeout=ClientTimeout(sock_connect=config.connect_timeout, sock_read=config.read_timeout),
        cookie_jar=DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        skip_auto_headers=("Accept",),
        auto_decompress=False,
    ) as http:
        calls: Any = DirectCalls(session, client, http)  # The stub knows no answers of handlers.
        meta.events.register("before-call", calls)
        yield


@lru_cache(maxsize=8)  # One for each service.
def _parsed(url: str) -> URL:
    return URL(url, encoded=True)
