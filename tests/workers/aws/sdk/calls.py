"""Clients with direct calls, the SDK's own clients, and the scripted server that both call."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.loaders import create_loader

from tests.workers.fulfillment.provider_server import Answer, ProviderServer, Request, provider_server, reply
from workers.aws.sdk.clients import open_session
from workers.aws.sdk.direct import direct
from workers.aws.sdk.parsing import plain_session
from workers.aws.sdk.tls import VerifyingSession
from workers.metrics import Metrics

HANDLES = [{"Id": "0", "ReceiptHandle": "r"}]
DELETED = {"Successful": [{"Id": "0"}], "Failed": []}
QUEUE = "http://queue/q"
PATIENT_S = 30.0  # Only a test about a timeout waits for one.
_LOADER = create_loader()  # Keeps the services' models, so that each is read only once.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_REGION": "eu-central-1",
}


def error(status: int, code: str, **more: object) -> Answer:
    return reply(status, {"__type": code, "message": "no", **more})


@dataclass
class Calls:
    """The clients of one service, and the server that they call."""

    server: ProviderServer
    direct: Any
    sdk: Any
    metrics: Metrics
    _learning: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def requests(self) -> list[Request]:
        return self.server.requests

    async def delete(self) -> Any:
        return await self.direct.delete_message_batch(QueueUrl=QUEUE, Entries=HANDLES)

    async def learn(self, method: str = "delete_message_batch", **request: Any) -> None:
        """Make the first call of an action, which the SDK sends, and forget it."""
        await getattr(self.direct, method)(**(request or {"QueueUrl": QUEUE, "Entries": HANDLES}))
        self.requests.clear()
        self._learning = self._counted()

    def count_by_result(self) -> dict[tuple[str, str], int]:
        return dict(self._counted() - self._learning)

    def _counted(self) -> Counter[tuple[str, str]]:
        samples = [sample for family in self.metrics.requests.collect() for sample in family.samples]
        return Counter(
            {
                (sample.labels["action"], sample.labels["result"]): int(sample.value)
                for sample in samples
                if sample.name.endswith("_total")
            }
        )


def sent_directly(request: Request) -> bool:
    """Tell by the body: the SDK's JSON has a space after each colon."""
    return b'": ' not in request.body


def fast(session: AioSession) -> AioSession:
    session.register_component("data_loader", _LOADER)
    return session


async def connected(
    server: ProviderServer,
    stack: AsyncExitStack,
    service: str = "sqs",
    *,
    attempts: int = 2,
    path: str = "",
    timeout_s: float = PATIENT_S,
) -> Calls:
    """Return the calls to *server*; *timeout_s* is for a connection, and for a response."""
    sdk, theirs = fast(plain_session()), fast(get_session())
    config: dict[str, Any] = {
        "http_session_cls": VerifyingSession,
        "read_timeout": timeout_s,
        "connect_timeout": timeout_s,
        "retries": {"mode": "standard", "total_max_attempts": attempts},
        "parameter_validation": False,
    }
    url = server.url.removesuffix("/orders") + path
    clients = [
        await stack.enter_async_context(
            open_session(session).client(service, endpoint_url=url, config=AioConfig(**config))
        )
        for session in (sdk, theirs)
    ]
    metrics = Metrics()
    return Calls(
        server, await stack.enter_async_context(direct(clients[0], sdk, metrics.requests)), clients[1], metrics
    )


@asynccontextmanager
async def calling(service: str = "sqs", *, attempts: int = 2, path: str = "") -> AsyncIterator[Calls]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server())
        server.otherwise = reply(200, DELETED)
        yield await connected(server, stack, service, attempts=attempts, path=path)
