"""
The console on a scripted AWS, and a browser with a session: `async with Site.started() as site`.

    async with Site.started(dynamodb=FakeClient(query=...)) as site:
        page = await site.get("/orders?status=RECEIVED")
        assert page.tables[0][1] == ["001", "RECEIVED"]
        done = await site.post("/orders/001/cancel", actor="ada", note="asked for")
        async with site.stream("/live/orders") as events:
            assert "1 changed" in (await events.next()).text

A request names the console's own host, carries its session, and a POST the form's token, as from a page of the console.
`site.calls` has what was asked of AWS.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientResponse, ClientSession
from aiohttp.web import Application
from yarl import URL

from tests.workers.console.document import Element, Form, parse
from tests.workers.operations.fakes import FakeClient, refused
from tests.workers.operations.status_world import World
from workers.console.app import FORM_TYPE, application
from workers.console.case_lists import OPEN_EVERY_S, CasesNow
from workers.console.console import STATUS_EVERY_S, Console, Place
from workers.console.feeds import Feed
from workers.console.rendering import environment
from workers.console.security import CSRF_FIELD, Guard, allowed_hosts
from workers.console.server import serving
from workers.operations.cases import Selection
from workers.operations.status import Status

TOKEN = "launch-token-of-the-tests-000"
PORT = 8090
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"
LOCAL = Place("local AWS · 127.0.0.1:4566", is_local=True, can_write=True)
READ_ONLY = Place("000000000000 · us-east-1", is_local=False, can_write=False, why_not="it is for reading")

_TEMPLATES = environment()  # Compiled once for all tests.

Fields = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Page:
    """A response. What is on it is read by `parse`; see `Element`."""

    status: int
    headers: Mapping[str, str]
    html: str

    @functools.cached_property
    def root(self) -> Element:
        return parse(self.html)

    @functools.cached_property
    def main(self) -> Element:
        """The page without its header, or a fragment as a whole."""
        root = self.root
        return next(iter(root.all("main")), root)

    @property
    def text(self) -> str:
        return self.main.text

    @property
    def links(self) -> dict[str, str]:
        return self.main.links

    @property
    def forms(self) -> list[Form]:
        return self.main.forms

    @property
    def tables(self) -> list[list[list[str]]]:
        return self.main.tables


@dataclass(frozen=True)
class Events:
    """The server-sent events of a stream."""

    response: ClientResponse

    async def next(self) -> Page:
        """Return the next event as a page. Raises `EOFError` if the stream has ended."""
        lines = []
        async for raw in self.response.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("data:"):
                lines.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and lines:
                return Page(self.response.status, self.response.headers, "\n".join(lines))
        raise EOFError


@dataclass
class Site:
    """The console as its tests use it. `session` is the value of its cookie."""

    console: Console
    application: Application
    world: World
    clients: Mapping[str, FakeClient]
    address: tuple[str, int]
    _client: ClientSession = field(repr=False)
    session: str = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.console.guard.new_session()

    @classmethod
    @contextlib.asynccontextmanager
    async def started(
        cls,
        *,
        place: Place = LOCAL,
        world: World | None = None,
        status: Status | Exception | None = None,
        read_cases: Callable[[], Awaitable[CasesNow]] | None = None,
        hosts: Sequence[str] = (),
        **clients: FakeClient,
    ) -> AsyncIterator["Site"]:
        """
        Start the console on *clients*, by service; those that are not given are those of *world*.

        The status of the system is read from *world* too, if it is not given as *status*, and so are the open cases, if
        *read_cases* does not read them.
        """
        world = world or World()
        stepfunctions = FakeClient(get_execution_history=_no_execution)
        world.clients = {"stepfunctions": stepfunctions, "s3": FakeClient()} | world.clients | clients
        guard = Guard(TOKEN, PORT, allowed_hosts(PORT, hosts))
        console = Console(world.stack(), guard, place, "ada", templates=_TEMPLATES)

        async def read() -> Status:
            if isinstance(status, Exception):
                raise status
            return status or await world.reader().read()

        async def open_cases() -> CasesNow:
            found = await world.read_cases(console.stack, Selection())
            return CasesNow(found.selected, {}, found.unreadable, found.total)

        console.feeds.feed("status", read, STATUS_EVERY_S)  # The console finds them there.
        console.feeds.feed("open cases", read_cases or open_cases, OPEN_EVERY_S)
        served, listening = application(console), socket.create_server(("127.0.0.1", 0))
        address: tuple[str, int] = listening.getsockname()
        async with serving(served, listening), ClientSession(f"http://127.0.0.1:{address[1]}") as client:
            yield cls(console, served, world, world.clients, address, client)

    @property
    def calls(self) -> list[tuple[str, str]]:
        """The service and operation of each call to AWS so far."""
        return [(service, name) for service, client in self.clients.items() for name, _ in client.requests]

    def requests(self, service: str, operation: str) -> list[dict[str, Any]]:
        """Return what *operation* was called with so far."""
        return [request for name, request in self.clients[service].requests if name == operation]

    def script(self, key: Hashable, *values: object) -> Feed[Any]:
        """Return the feed *key*, which reads *values* one after the other. Errors are raised, events waited for."""
        given = iter(values)

        async def read() -> object:
            while isinstance(value := next(given, None), asyncio.Event):
                await value.wait()
            if value is None:
                await asyncio.Event().wait()
            if isinstance(value, Exception):
                raise value
            return value

        self.console.feeds._feeds.pop(key, None)
        return self.console.feeds.feed(key, read, 0.01)

    @contextlib.asynccontextmanager
    async def refreshing(self) -> AsyncIterator[None]:
        """Check that the block changes something, so that all that is watched is read again at once."""

        async def read() -> None:
            """Read nothing: only the number of the reading counts."""

        feed = self.console.feeds.feed(object(), read, 1e6)
        before = await feed.latest()
        yield
        after = await feed.latest()
        assert before
        assert after
        assert after.number > before.number, "nothing is read again"

    async def get(self, path: str) -> Page:
        return await self.send("GET", path)

    async def post(self, path: str, **fields: str | Sequence[str]) -> Page:
        """Send a form of the console. Its token comes with it."""
        csrf = self.console.guard.csrf_token(self.session)
        return await self.send("POST", path, {CSRF_FIELD: csrf, **fields}, Origin=ORIGIN)

    async def submit(self, form: Form, **fields: str | Sequence[str]) -> Page:
        """Send *form* as it stands on a page, with *fields* filled in or changed."""
        assert form.method == "post"
        return await self.send("POST", form.action, {**form.fields, **fields}, Origin=ORIGIN)

    async def send(
        self, method: str, path: str, fields: Fields | bytes | None = None, *, anonymous: bool = False, **headers: str
    ) -> Page:
        """
        Send a request and return its answer; redirects are not followed.

        Nothing is added but host and session, and no session if it is *anonymous*. The `_` in a header's name is `-`.
        """
        async with self._request(method, path, fields, anonymous=anonymous, headers=headers) as response:
            return Page(response.status, response.headers, await response.text())

    async def raw(self, request: bytes) -> str:
        """Send bytes that no browser sends, and return all that comes back until the console ends the connection."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(request)
            return (await reader.read()).decode()
        finally:
            writer.close()
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[Events]:
        """Open a live part, and close it at the end of the block."""
        async with self._request("GET", path) as response:
            assert response.status == 200, await response.text()
            yield Events(response)

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        fields: Fields | bytes | None = None,
        *,
        anonymous: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[ClientResponse]:
        session = {} if anonymous else {"Cookie": f"{self.console.guard.cookie_name}={self.session}"}
        given = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        data: Any = fields
        if isinstance(fields, Mapping):
            data = urlencode(fields, doseq=True).encode()
            given = {"Content-Type": FORM_TYPE} | given
        async with self._client.request(
            method,
            URL(path, encoded=True),
            data=None if data is None else BytesIO(data),
            headers={"Host": HOST, **session, **given},
            allow_redirects=False,
        ) as response:
            yield response


def _no_execution(**_: Any) -> Any:
    raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
