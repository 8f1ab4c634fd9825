"""Lets coroutines use the SDK's blocking clients: each call runs in a thread."""

import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import NoRegionError
from botocore.parsers import ResponseParserError

from workers.errors import FatalError
from workers.proxies import keep_metadata_direct, proxy_for
from workers.threads import in_thread

MAX_CONNECTIONS = 100  # The most connections that one command may use at once.
CONNECT_TIMEOUT_S, READ_TIMEOUT_S, MAX_ATTEMPTS = 5, 20, 4

_OK = 200
_JSON_SERVICES = ("dynamodb", "sqs", "sfn")


class AsyncClient:
    """
    A client of one service. The thread of the first call creates it, because that takes a tenth of a second.

    Cancelling a caller does not stop its request. A caller that must know the outcome shields the call and awaits it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    async def call(self, operation: str, **request: Any) -> Any:
        """Call *operation*, the name of a method of boto3, and return the response. Raises the SDK's errors."""
        return await in_thread(lambda: getattr(self._make(), operation)(**request))

    async def endpoint(self) -> str:
        """Return the URL that the calls go to."""
        return await in_thread(lambda: str(self._make().meta.endpoint_url))

    async def pages(self, operation: str, **request: Any) -> AsyncIterator[Any]:
        """Yield the pages of *operation*, each requested when it is needed."""
        pages = await in_thread(lambda: iter(self._make().get_paginator(operation).paginate(**request)))
        while (page := await in_thread(next, pages, None)) is not None:
            yield page


class BlockingSession:
    """Makes clients, one for each service. Nothing is read or made before the first call."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()  # Threads may share clients, but not the session.
        self._clients: dict[str, Any] = {}

    def client(self, service: str, **config: Any) -> AsyncClient:
        """
        Return the client of *service*; *config* overrides the usual timeouts and retries.

        Its calls raise `FatalError` if the configuration is unusable: for example, an endpoint or a proxy is not a URL.
        """
        return AsyncClient(lambda: self._client(service, config))

    async def region(self) -> str:
        """Return the AWS region that the clients use."""

        def region() -> str:
            with self._lock:
                return str(self._session.region_name)

        return await in_thread(region)

    def _client(self, service: str, config: Mapping[str, Any]) -> Any:
        settings: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "read_timeout": READ_TIMEOUT_S,
            "max_pool_connections": MAX_CONNECTIONS,
            "retries": {"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
        }
        with self._lock:
            if service not in self._clients:
                session: Any = self._session
                try:
                    client = session.client(service, config=Config(**settings | dict(config)))
                except ValueError as error:  # AWS_ENDPOINT_URL, or the profile's endpoint, is not a URL.
                    raise FatalError(f"the AWS SDK cannot make calls: {error}") from error
                proxy_for(client.meta.endpoint_url)  # Checks the variable that names it.
                self._clients[service] = client
            return self._clients[service]

    @cached_property
    def _session(self) -> boto3.session.Session:
        keep_metadata_direct()
        # AWS_REGION comes first, as in every other SDK. Python's SDK reads only AWS_DEFAULT_REGION.
        session = boto3.session.Session(region_name=self._environ.get("AWS_REGION") or None)
        if not session.region_name:
            raise NoRegionError
        for service in _JSON_SERVICES:
            session.events.register(f"before-parse.{service}", _check_json)
        return session


def _check_json(response_dict: Mapping[str, Any], **_: object) -> None:
    """
    Check a response before the SDK parses it.

    The SDK treats a body that is not JSON as an empty response, which may mean "this order does not exist".

    Raises:
        ResponseParserError: The body is not JSON.
    """
    if response_dict["status_code"] == _OK and response_dict["body"]:
        try:
            json.loads(response_dict["body"])
        except ValueError:
            raise ResponseParserError("a response that is not JSON") from None
