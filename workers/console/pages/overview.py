"""The overview: what needs a person now, and how much of everything there is."""

from typing import Any, Final

from aiohttp import web

from workers.console.console import console_of
from workers.console.feeds import Reading
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.operations.status import Status

routes: Final = web.RouteTableDef()


@routes.get("/")
async def overview(request: web.Request) -> web.Response:
    reading = await console_of(request).status.latest(wait_s=PATIENCE_S)
    return await page(request, "overview.html", live="/live/overview", **_values(reading))


@routes.get("/live/overview")
async def live(request: web.Request) -> web.StreamResponse:
    return await stream(request, console_of(request).status, "overview_live.html", _values)


def _values(reading: Reading[Status] | None) -> dict[str, Any]:
    return {"reading": reading}
