"""The HTTP endpoint for orchestrators and Prometheus: `/healthz`, `/readyz`, `/metrics`."""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from workers.errors import FatalError

Check = Callable[[], str | None]  # Returns the problem, None if there is no problem.

SHUTDOWN_S = 1.0  # For requests that are being answered when the worker stops.


@asynccontextmanager
async def monitoring(
    host: str,
    port: int | None,
    *,
    health: Check,
    readiness: Check,
    registry: CollectorRegistry,
    note: Check = lambda: None,
) -> AsyncIterator[None]:
    """
    Serve the endpoint on *host* and *port* for the length of the block; do nothing if *port* is None.

    If a check returns a problem, the response is 503 with that problem; otherwise it is 200 with `ok`. *note* returns
    what `/healthz` should say besides `ok`.

    Raises:
        FatalError: Host and port cannot be used.
    """
    if port is None:
        yield
        return
    application = web.Application()
    application.router.add_get("/healthz", _checking(health, note))
    application.router.add_get("/readyz", _checking(readiness))
    application.router.add_get("/metrics", _exposing(registry))
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise FatalError(_problem(host, port, error)) from error
        yield
    finally:
        await runner.cleanup()


def _problem(host: str, port: int, error: OSError) -> str:
    given = f"WORKER_HEALTH_PORT is {port} and WORKER_HEALTH_HOST is {host}, which cannot be used"
    if error.errno == errno.EADDRINUSE:
        return f"{given}: another process uses the port. Each worker on a machine needs a port of its own"
    return f"{given}: {error.strerror or error}"


def _checking(check: Check, note: Check = lambda: None) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        problem = check()
        noted = note()
        text = problem or (f"ok: {noted}" if noted else "ok")
        return web.Response(text=f"{text}\n", status=503 if problem else 200)

    return answer


def _exposing(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return expose
