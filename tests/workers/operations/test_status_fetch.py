"""What comes of a request to an address where something else than a worker answers."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.workers.serving import serving
from workers.operations.status_reader import fetch

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


@asynccontextmanager
async def answering(answer: bytes, *, endless: bool = False) -> AsyncIterator[str]:
    """Serve *answer*, again and again if it is *endless*; yield the URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            while endless:
                writer.write(b"x" * 65536)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async with serving(serve) as address:
        yield f"http://{address}/metrics"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (HEAD + b"\r\nup 1", (200, "up 1")),
        (HEAD + b"Content-Type: text/plain; charset=hex\r\n\r\nup 1", (200, "up 1")),
        (HEAD + b"Content-Type: text/plain; charset=none\r\n\r\n\xff", (200, "\ufffd")),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", (302, "")),
    ],
)
async def test_any_answer_is_text(answer: bytes, found: tuple[int, str]) -> None:
    async with answering(answer) as url:
        assert await fetch(url) == found


async def test_an_answer_of_a_mebibyte_is_read() -> None:
    async with answering(HEAD + b"\r\n" + b"x" * 2**20) as url:
        assert await fetch(url) == (200, "x" * 2**20)


async def test_an_endless_answer_is_not_kept() -> None:
    async with answering(HEAD + b"\r\n", endless=True) as url:
        with pytest.raises(OSError, match="it answers with more than a worker does"):
            await fetch(url)


async def test_what_is_not_http_is_said_in_words() -> None:
    async with answering(bytes(range(256))) as url:
        with pytest.raises(OSError, match="client response error"):
            await fetch(url)


async def test_the_error_of_a_connection_is_the_systems() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # It does not listen, so connections are refused.
        with pytest.raises(ConnectionRefusedError):
            await fetch(f"http://127.0.0.1:{bound.getsockname()[1]}/")
