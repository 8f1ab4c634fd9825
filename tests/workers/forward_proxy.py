"""A forward proxy on loopback: it tunnels (CONNECT) and forwards, and reports what it was asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.workers.serving import HOST, serving

_HOP_BY_HOP = {"connection", "proxy-authorization", "proxy-connection"}


@dataclass
class ForwardProxy:
    """
    Takes this machine for every host. `asked` are the methods and targets of its requests, with what the `refuses`.

    Use `url` in variables; `address` is what errors say.
    """

    address: str = ""
    refuses: int | None = None  # The status of its answer, instead of a connection.
    asked: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def url_with(self, user: str) -> str:
        return f"http://{user}@{self.address}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        method, target, version = line.split()
        fields = {name.lower(): value for name, _, value in (header.partition(": ") for header in headers)}
        self.asked.append((method, target))
        self.authorizations.append(fields.get("proxy-authorization"))
        if self.refuses is not None:
            writer.write(f"HTTP/1.1 {self.refuses} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there, to_there = await asyncio.open_connection(HOST, parts.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            kept = [header for header in headers if header.partition(":")[0].lower() not in _HOP_BY_HOP]
            path = target.removeprefix(f"{parts.scheme}://{parts.netloc}") or "/"
            head = [f"{method} {path} {version}", *kept, "Connection: close"]
            to_there.write("\r\n".join([*head, "", ""]).encode())
        await asyncio.gather(copy(reader, to_there), copy(there, writer), return_exceptions=True)


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Write all that *reader* has to *writer*."""
    try:
        while content := await reader.read(2**16):
            writer.write(content)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def forward_proxy() -> AsyncIterator[ForwardProxy]:
    """Serve on a free port."""
    proxy = ForwardProxy()
    async with serving(proxy.serve) as proxy.address:
        yield proxy
