"""Queues and workers: how much waits, how fast it goes, and who does it."""

from typing import Any, Final

from aiohttp import web
from markupsafe import Markup

from workers import clock
from workers.console.console import Console, console_of
from workers.console.feeds import Reading
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.console.plots import plot
from workers.operations.status import QueueStatus, Status

routes: Final = web.RouteTableDef()


@routes.get("/queues")
async def queues(request: web.Request) -> web.Response:
    console = console_of(request)
    reading = await console.status.latest(wait_s=PATIENCE_S)
    return await page(request, "queues.html", live="/live/queues", **_values(console, reading))


@routes.get("/live/queues")
async def live(request: web.Request) -> web.StreamResponse:
    console = console_of(request)
    return await stream(request, console.status, "queues_live.html", lambda reading: _values(console, reading))


def _values(console: Console, reading: Reading[Status] | None) -> dict[str, Any]:
    status = None if reading is None else reading.value
    return {
        "reading": reading,
        "queue_names": list(console.stack.names.queues),  # As the commands and addresses call them.
        "queue_plots": [] if status is None else [_queue_plots(console, status, queue) for queue in status.queues],
        "worker_plots": {} if status is None else _worker_plots(console, status),
    }


def _queue_plots(console: Console, status: Status, queue: QueueStatus) -> list[Markup]:
    history, now_s = console.system.history, clock.parse(status.at).timestamp()
    return [
        plot(history.of_queue(queue.queue, lambda seen: seen.messages), now_s, f"messages in {queue.queue}"),
        plot(history.of_queue(queue.queue, lambda seen: seen.dead_letters), now_s, f"dead letters of {queue.queue}"),
    ]


def _worker_plots(console: Console, status: Status) -> dict[str, Markup]:
    history, now_s = console.system.history, clock.parse(status.at).timestamp()
    return {
        worker.worker: plot(
            history.of_worker(worker.worker, lambda seen: seen.messages_per_second),
            now_s,
            f"messages of the {worker.worker} worker",
            "/s",
            labels=False,
        )
        for worker in status.workers
    }
