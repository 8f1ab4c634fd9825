"""A worker's process: signals, start, stop."""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from workers.aws.sdk.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from workers.connections import open_clients
from workers.consumer.consumer import Consumer
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules
from workers.metrics import Metrics
from workers.monitoring import monitoring
from workers.settings import Settings, Worker
from workers.wiring import assembled

log = structlog.get_logger(__name__)

T = TypeVar("T")

GC_THRESHOLD = 10_000  # New containers per collection, instead of 700: those in flight at once are not garbage.
FORCED_EXIT_MARGIN_S = 10.0  # What a stop may take beyond drain time and last poll: the flush, and closing connections.


async def run(worker: Worker, settings: Settings) -> None:
    """
    Run *worker* until SIGTERM or SIGINT.

    Raises:
        FatalError: The worker cannot start, or cannot go on; the text is for the operator.
    """
    bind_contextvars(worker=worker.value, queue=settings.queue_of(worker))
    stop = asyncio.Event()
    last_poll_s = settings.wait_s + CONNECT_TIMEOUT_S + READ_TIMEOUT_S  # One under way is let finish.
    _stop_on_signals(stop, max(settings.drain_s, last_poll_s) + FORCED_EXIT_MARGIN_S)
    log.info("worker.starting", **settings.model_dump(exclude_none=True))
    rules = EscalationRules.read(settings.escalation_rules, os.environ) if worker is Worker.ESCALATION else None
    metrics = Metrics()
    state = _State()
    async with (
        monitoring(settings.health_port, health=state.health, readiness=state.readiness, registry=metrics.registry),
        open_clients(worker, settings, rules, metrics) as clients,
    ):
        state.consumer = await _unless(stop, assembled(worker, settings, clients, metrics))
        if state.consumer is not None:
            _spare_the_collector()
            log.info("worker.started")
            await _consume(state.consumer, stop)
    log.info("worker.stopped")


@dataclass(slots=True)
class _State:
    """What the monitoring endpoint tells, also while there is no consumer yet."""

    consumer: Consumer | None = None

    def health(self) -> str | None:
        return None if self.consumer is None else self.consumer.health_problem()

    def readiness(self) -> str | None:
        return "waiting for AWS" if self.consumer is None else self.consumer.readiness_problem()


async def _consume(consumer: Consumer, stop: asyncio.Event) -> None:
    try:
        await consumer.run(stop)
    except ExceptionGroup as group:
        if fatal := group.subgroup(FatalError):
            raise _first(fatal) from group
        raise


def _spare_the_collector() -> None:
    """
    Have the garbage collector look only at what comes from now on.

    What is there by now, the SDK's models above all, is hundreds of thousands of objects that live as long as the
    process does: a full collection walks them all, 40 to 60 ms in which nothing else happens. With this and the
    threshold, orders spend under 1 % of their CPU time on collections instead of 5.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Await *work*, but only until *stop* is set; None where it was."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return None
    return working.result()


def _first(group: ExceptionGroup[FatalError]) -> FatalError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _stop_on_signals(stop: asyncio.Event, at_most_s: float) -> None:
    """
    Set *stop* at the first SIGTERM or SIGINT; the second one ends the process at once.

    So does a handler that keeps it alive in spite of being cancelled, after *at_most_s* seconds.
    """
    loop = asyncio.get_running_loop()

    def end() -> None:
        log.critical("worker.failed", reason="a handler does not end although it was cancelled")
        os._exit(1)  # What it has in flight becomes visible again by itself.

    def stop_then_default(received: signal.Signals) -> None:
        log.info("signal.received", signal=received.name)
        stop.set()
        loop.call_later(at_most_s, end)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop_then_default, each)
