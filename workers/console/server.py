"""Serves the application on a socket, so that also what never reaches it is answered as the console answers."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from aiohttp import web

from workers.console.console import report
from workers.console.security import HEADERS

SHUTDOWN_S: Final = 2.0
_NO_LOG: Final = logging.Logger("console.requests", logging.CRITICAL)  # noqa: LOG001 - nobody else may find it.


class _Connection(web.RequestHandler):
    """
    Answers malformed requests and errors outside of the application.

    aiohttp's own answer repeats the request, logs it too, and has none of our headers. The request may hold the token.
    """

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats the request.
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(exc, Exception):
            report(exc)
        if request.writer.output_size > 0:
            raise ConnectionError  # aiohttp ends the connection.
        response = web.Response(
            text=f"{HTTPStatus(status).phrase}\n", status=status, headers={**HEADERS, "Server": "console"}
        )
        response.force_close()
        return response


@contextlib.asynccontextmanager
async def serving(application: web.Application, listening: socket.socket) -> AsyncIterator[None]:
    """Serve *application* on *listening* for the length of the block; end its streams, and what takes too long."""
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    manager = runner.server
    assert manager is not None  # noqa: S101 - for the type checker; `setup` has made it.
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _Connection(manager, loop=loop, access_log=_NO_LOG), sock=listening)
        try:
            yield
        finally:
            server.close()
    finally:
        await runner.cleanup()
