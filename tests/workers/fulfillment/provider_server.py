"""A provider on loopback that gives scripted responses, also broken ones."""

import asyncio
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.virtual_time import LoopClock
from tests.workers.serving import serving


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def key(self) -> str:
        return self.headers["idempotency-key"]


Answer = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def reply(status: int, body: str | bytes | object = b"", **headers: str) -> Answer:
    """Answer with *body*, as JSON unless it is text or bytes."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(raw))} | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + raw)


def shipped(shipment_id: object = "S-1") -> Answer:
    return reply(200, {"ShipmentId": shipment_id})


def write(raw: bytes, *, then_close: bool = False) -> Answer:
    async def answer(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if then_close:
            writer.close()

    return answer


async def reset(_request: Request, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang(_request: Request, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def after(seconds: int, clock: LoopClock, answer: Answer) -> Answer:
    """Return *answer*, from a server that needs *seconds* for it."""

    async def answering(request: Request, writer: asyncio.StreamWriter) -> None:
        await clock.skip(seconds)
        await answer(request, writer)

    return answering


async def drip(_request: Request, writer: asyncio.StreamWriter) -> None:
    """Send an endless body, one byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(_request: Request, writer: asyncio.StreamWriter) -> None:
    """Send an endless body as fast as possible."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


@dataclass
class ProviderServer:
    """Gives the answers of its script, one for each request; then always `otherwise`."""

    url: str = ""
    script: deque[Answer] = field(default_factory=deque)
    otherwise: Answer = field(default_factory=shipped)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def answers(self, *answers: Answer) -> None:
        self.script.extend(answers)

    @property
    def keys(self) -> list[str]:
        return [request.key for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                request = await _read(reader)
                self.requests.append(request)
                answer = self.script.popleft() if self.script else self.otherwise
                await answer(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (header.partition(": ") for header in lines)}
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


@asynccontextmanager
async def provider_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[ProviderServer]:
    """Serve on a free port."""
    provider = ProviderServer()
    async with serving(provider.serve, tls) as address:
        provider.url = f"http{'s' if tls else ''}://{address}/orders"
        yield provider
