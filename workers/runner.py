"""
The life of a worker's process: start, run until a signal, stop.

    start   read the rules, serve the monitoring endpoint, fetch credentials, open the clients, wait for AWS, assemble
            the consumer
    run     consume until SIGTERM or SIGINT
    stop    the consumer drains; connections close. If that takes too long, the process exits with code 1
"""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import TypeVar

import structlog
from structlog.contextvars import bind_contextvars

from workers.aws.sdk.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from workers.aws.sdk.parsing import plain_session
from workers.connections import fetch_credentials, open_clients
from workers.consumer.consumer import Consumer
from workers.consumer.output import OUTPUT_FULL
from workers.domain.cards import mask
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules
from workers.kinds import AnyWorker, Worker
from workers.log_output import LogOutput
from workers.loop_watch import loop_watch
from workers.metrics import Metrics
from workers.monitoring import monitoring
from workers.settings import Settings, ignored_variables
from workers.start import Start
from workers.task_protection import agent_uri, protecting
from workers.wiring import MakeHandler, assemble, make_handler

log = structlog.get_logger(__name__)

T = TypeVar("T")

GC_THRESHOLD = 10_000  # New objects before a collection. Python's 700 are too few: messages in flight are not garbage.
FORCED_EXIT_MARGIN_S = 10.0  # Beyond the drain time and the last poll: for the flush and for closing connections.


async def run(
    worker: AnyWorker, settings: Settings, *, make_handler: MakeHandler = make_handler, output: LogOutput | None = None
) -> None:
    """
    Run *worker* until SIGTERM or SIGINT, or until *output*, which writes its log lines, is closed.

    *make_handler* builds the handler of its messages.

    Raises:
        FatalError: The worker cannot start or cannot continue; the text is for the operator.
    """
    bind_contextvars(worker=str(worker), queue=settings.queue_of(worker).name)
    stop = asyncio.Event()
    stop_on_signals(stop, exit_after_s=longest_stop_s(settings), output=output)
    log.info("worker.starting", **settings.shown(worker))
    for variable, meant in ignored_variables(os.environ).items():
        log.warning("setting.ignored", variable=variable, **({} if meant is None else {"meant": meant}))
    rules = EscalationRules.read(settings.escalation_rules, os.environ) if worker is Worker.ESCALATION else None
    agent = agent_uri(settings, os.environ)
    metrics = Metrics(mask=mask)
    metrics.count_tasks(asyncio.get_running_loop())
    if output is not None:
        watch_output(output, metrics, stop, exit_after_s=longest_stop_s(settings))
    status = Status(output=output)
    metrics.describe(str(worker), settings.queue_of(worker).name, settings.release)
    sdk = plain_session()
    async with monitoring(
        settings.health_host,
        settings.health_port,
        health=status.health,
        readiness=status.readiness,
        registry=metrics.registry,
        note=status.note,
    ):
        await unless_stopped(stop, Start(metrics.outages).until_done(lambda: fetch_credentials(sdk)))
        if not stop.is_set():
            async with open_clients(worker, settings, rules, metrics, sdk, stop=stop) as clients:
                assembling = assemble(worker, settings, clients, metrics, make_handler=make_handler, lines=output)
                status.consumer = await unless_stopped(stop, assembling)
                if status.consumer is not None:
                    tune_garbage_collector()
                    log.info("worker.started")
                    async with protecting(agent, settings, status.consumer.handling_s, stop):
                        with loop_watch(metrics.loop_blocked_s.inc):
                            await _consume(status.consumer, stop)
    if output is not None and output.closed is not None:
        raise FatalError(f"standard output cannot be written ({output.closed})")
    log.info("worker.stopped")


def watch_output(output: LogOutput, metrics: Metrics, stop: asyncio.Event, *, exit_after_s: float) -> None:
    """
    Write the lines of *output* from this loop, count those it drops, and set *stop* when it is closed.

    If the process still runs *exit_after_s* seconds after it was closed, it exits with code 1.
    """
    loop, context = asyncio.get_running_loop(), copy_context()

    def stop_now() -> None:
        stop.set()
        loop.call_later(exit_after_s, os._exit, 1)

    def closed() -> None:
        with suppress(RuntimeError):  # The loop is closed: the process ends.
            loop.call_soon_threadsafe(stop_now)

    def has_room(dropped: int, full_s: float) -> None:
        log.warning("log_output.recovered", dropped=dropped, duration_ms=round(full_s * 1000))

    output.write_from(loop)
    output.watch(
        on_closed=closed,
        on_dropped=metrics.log_lines_dropped.inc,
        on_room=lambda dropped, full_s: context.run(has_room, dropped, full_s),  # So that the line names the worker.
    )


def longest_stop_s(settings: Settings) -> float:
    """Return how many seconds after a signal the process ends at the latest."""
    last_poll_s = settings.wait_s + CONNECT_TIMEOUT_S + READ_TIMEOUT_S  # A running long poll finishes first.
    return max(settings.drain_s, last_poll_s) + FORCED_EXIT_MARGIN_S


def stop_on_signals(stop: asyncio.Event, *, exit_after_s: float, output: LogOutput | None = None) -> None:
    """
    Set *stop* at the first SIGTERM or SIGINT. A second one ends the process at once.

    If the process still runs *exit_after_s* seconds after the first signal, because a handler ignores its cancellation,
    or what it has opened does not close, it exits with code 1.
    """
    loop = asyncio.get_running_loop()

    def exit_now() -> None:
        log.critical("worker.failed", reason="a handler, or what it has opened, does not end although it was cancelled")
        if output is not None:
            output.flush()
        os._exit(1)  # Its messages become visible again by themselves.

    def stop_then_default(received: signal.Signals) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        log.info("signal.received", signal=received.name)
        stop.set()
        loop.call_later(exit_after_s, exit_now)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_then_default, number)


@dataclass(slots=True)
class Status:
    """What the monitoring endpoint reports, even before there is a consumer. None means that all is well."""

    consumer: Consumer | None = None
    output: LogOutput | None = None

    def health(self) -> str | None:
        return None if self.consumer is None else self.consumer.health_problem()

    def note(self) -> str | None:
        if self.output is not None and self.output.is_full:
            return OUTPUT_FULL
        return None if self.consumer is None else self.consumer.pause.note()

    def readiness(self) -> str | None:
        return "waiting for AWS" if self.consumer is None else self.consumer.readiness_problem()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Return the result of *work*. If *stop* is set first, cancel it and return None."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))  # It may have to close what it was opening.
        return None
    return working.result()


def tune_garbage_collector() -> None:
    """
    Exclude every object that exists so far from garbage collection, and collect less often.

    After the start there are hundreds of thousands of objects that live as long as the process; most are the SDK's
    models. A full collection walks through all of them, and for 40 to 60 ms nothing else happens. Excluding them and
    collecting less often cuts the share of collections in an order's CPU time from 5 % to under 1 %.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


async def _consume(consumer: Consumer, stop: asyncio.Event) -> None:
    try:
        await consumer.run(stop)
    except ExceptionGroup as group:
        if fatal := group.subgroup(FatalError):
            raise first_error(fatal) from group
        raise


def first_error(group: ExceptionGroup[FatalError]) -> FatalError:
    """Return the first error of *group*, however deep its groups are nested."""
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, ExceptionGroup) else first
