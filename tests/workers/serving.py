"""Serves TCP connections on loopback for a test, and leaves none behind."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

HOST = "127.0.0.1"
# An event loop takes a few turns to accept a connection.
_ACCEPTING_TURNS = 10

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """
    Serve on a free port; yields the address.

    At the end all connections are closed, also those that were being accepted and those that *serve* had not begun.
    """
    tasks, writers = list[asyncio.Future[None]](), list[asyncio.StreamWriter]()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(connected, HOST, 0, ssl=tls)
    try:
        yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        for _ in range(_ACCEPTING_TURNS):  # First: asyncio forgets a connection that it accepts from a closed server.
            await asyncio.sleep(0)
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # Then they are closed.
