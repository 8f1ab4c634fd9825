"""The overview: what needs a person now, how much of everything there is, and the newest escalations."""

from typing import Any, Final

from aiohttp import web

from workers.console.console import Console, console_of
from workers.console.feeds import Reading
from workers.console.links import page_for
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.domain.reasons import Severity
from workers.operations.status import SeverityCount, Status, WorkerState

routes: Final = web.RouteTableDef()


@routes.get("/")
async def overview(request: web.Request) -> web.Response:
    console = console_of(request)
    reading = await console.status.latest(wait_s=PATIENCE_S)
    return await page(request, "overview.html", live="/live/overview", **_values(console, reading))


@routes.get("/live/overview")
async def live(request: web.Request) -> web.StreamResponse:
    console = console_of(request)
    return await stream(request, console.status, "overview_live.html", lambda reading: _values(console, reading))


def _values(console: Console, reading: Reading[Status] | None) -> dict[str, Any]:
    status = None if reading is None else reading.value
    return {
        "reading": reading,
        "severities": [] if status is None else _by_severity(status),
        "cases": console.system.newest_cases,
        "alarms": console.system.alarms,
        "alarms_problem": console.system.alarms_problem,
        "needs": [] if status is None else [(need, page_for(need.command)) for need in status.needs],
        "workers": None if status is None else _workers(status),
        "knows_all": status is not None and _knows_all(status),
    }


def _knows_all(status: Status) -> bool:
    """Return whether everything is known that may need a person: otherwise nothing is not what there is."""
    counts = [count.orders for count in status.orders] + [queue.dead_letters for queue in status.queues]
    return status.open_cases is not None and None not in [*counts, _workers(status)[0]]


def _by_severity(status: Status) -> list[SeverityCount]:
    """Return the counts of open cases, the most severe first."""
    order = [str(severity) for severity in reversed(Severity)]
    return sorted(status.severities, key=lambda count: order.index(count.severity))


def _workers(status: Status) -> tuple[int | None, int]:
    """Return how many workers run, None if that is unknown, and how many there should be."""
    unknown = any(worker.state is WorkerState.UNKNOWN for worker in status.workers)
    running = sum(worker.state is WorkerState.RUNNING for worker in status.workers)
    return None if unknown else running, len(status.workers)
