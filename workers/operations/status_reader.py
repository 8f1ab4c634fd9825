"""Reads the state of the whole system: every source at the same time, and none for longer than its limit."""

import asyncio
import errno
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from workers import clock
from workers.errors import plain_name
from workers.operations.cases import OpenCases, Selection, read_open_cases
from workers.operations.errors import OperationError
from workers.operations.queues import PAUSE_FIELDS, Depth, queue_depth, read_pause_fields
from workers.operations.sdk_errors import explained
from workers.operations.status import QueueStatus, Status, Unknowns
from workers.operations.status_counts import count_cases, count_open_cases, count_orders, unknown_orders
from workers.operations.status_ecs import QUEUE, WORKERS, Outages, Service, Services, prefix_of, read_outages
from workers.operations.status_endpoints import ANSWER_S, Endpoint, Fetch, Sample, sample
from workers.operations.status_metrics import Metrics, read_metrics
from workers.operations.status_needs import needs
from workers.operations.status_workers import own_workers_on_ecs, services_on_ecs, workers_at, workers_on_ecs
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from workers.operations.stack import Stack

LIMIT_S = 4.0  # How long a source may take.
LEAST_S = 1.0  # How long CloudWatch may take, however long SQS took before.
BETWEEN_SAMPLES_S = 1.0  # Of the workers' endpoints, to see how fast they are.
_METRICS_KEPT = timedelta(seconds=30)  # CloudWatch has new ones every minute, and each request costs.
_DEPTHS_KEPT = timedelta(minutes=2)
_MAX_ANSWER_BYTES = 2**20  # Of a worker's endpoint. Its metrics take some ten thousand.

Result = TypeVar("Result")


async def fetch(url: str) -> tuple[int, str]:
    """Request *url*, without a proxy; return the status and the text of the response. Raises `OSError`."""
    import aiohttp  # noqa: PLC0415 - takes a while to import.

    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        try:
            async with session.get(url, allow_redirects=False) as answer:
                body = bytearray()
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > _MAX_ANSWER_BYTES:
                        raise OSError(errno.EMSGSIZE, "it answers with more than a worker does")
                return answer.status, body.decode(errors="replace")
        except aiohttp.ClientConnectorError as error:
            raise error.os_error from error
        except aiohttp.ClientError as error:
            raise OSError(errno.EPROTO, plain_name(error)) from error


@dataclass(slots=True)
class _Queues:
    """What is known about both queues, the fulfillment one first."""

    names: Sequence[str]
    depths: Sequence[Depth | None]
    metrics: Metrics | None


@dataclass(slots=True)
class StatusReader:
    """
    Reads the status again and again. Rates come from what it read before.

    *endpoints* are those of the workers. Without any, they are looked for on ECS, as deploy/workers.yaml runs them.
    With *rates_at_once*, the first reading takes a second longer, and already knows how fast the workers are.
    """

    stack: "Stack"
    endpoints: Sequence[Endpoint] = ()
    fetch: Fetch = fetch
    read_cases: Callable[["Stack", Selection], Awaitable[OpenCases]] = read_open_cases
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    limit_s: float = LIMIT_S
    rates_at_once: bool = True
    _samples: dict[Endpoint, Sample] = field(default_factory=dict)
    _depths: dict[str, deque[tuple[float, int]]] = field(default_factory=dict)
    _services: Services | None = None
    _metrics: Metrics | None = None

    async def read(self) -> Status:
        """
        Read everything that can be read within some seconds.

        Raises:
            OperationError: The names of the stack's resources are wrong.
        """
        names, unknowns = self.stack.names, Unknowns()
        addresses = [QueueAddress.parse(name) for name in (names.order_fulfillment_queue, names.escalation_queue)]
        prefix = prefix_of(addresses[0].name)
        now = self.stack.now()
        counting = self._bounded(unknowns, "the orders", partial(count_orders, self.stack))
        cases = self._cases(unknowns)
        if self.endpoints:
            queues, (samples, before), orders, (found, open_cases) = await asyncio.gather(
                self._queues(addresses, None, unknowns), self._ask_workers(), counting, cases
            )
            workers, services = workers_at(samples, before, unknowns)
        else:
            queues, on_ecs, outages, orders, (found, open_cases) = await asyncio.gather(
                self._queues(addresses, prefix, unknowns),
                self._on_ecs(prefix, unknowns),
                self._outages(prefix, unknowns),
                counting,
                cases,
            )
            workers = workers_on_ecs(now, on_ecs, outages, queues.metrics, queues.names)
            workers += own_workers_on_ecs(on_ecs or {}, unknowns)
            services = services_on_ecs(now, outages, queues.metrics, unknowns)
        now = self.stack.now()  # Ages are those of the end.
        severities, by_reason = count_cases([] if found is None else found.selected)
        statuses = [
            self._queue(*each, queues.metrics, unknowns) for each in zip(queues.names, queues.depths, strict=True)
        ]
        if found is not None and found.unreadable:
            unknowns.add(f"{len(found.unreadable)} of the cases", "they were edited in the table and cannot be read")
        return Status(
            at=clock.written(now),
            needs=needs(
                now,
                prefix=None if self.endpoints else prefix,
                workers=workers,
                services=services,
                queues=statuses,
                orders=orders or (),
                severities=severities,
                open_cases=open_cases,
            ),
            workers=workers,
            services=services,
            queues=statuses,
            orders=orders or unknown_orders(),
            open_cases=open_cases,
            severities=severities,
            cases=by_reason,
            unknown=unknowns.listed(),
        )

    async def _bounded(
        self, unknowns: Unknowns, what: str, work: Callable[[], Awaitable[Result]], limit_s: float | None = None
    ) -> Result | None:
        """Return what *work* returns, or None if there is none within the limit; *unknowns* gets the reason."""
        try:
            async with asyncio.timeout(limit_s or self.limit_s):
                try:
                    return await work()
                except OperationError as error:
                    unknowns.add(what, str(error))
                except TimeoutError:
                    raise
                except Exception as error:
                    text = await explained(error, self.stack)
                    if text is None:
                        raise
                    unknowns.add(what, text)
        except TimeoutError:
            unknowns.add(what, f"no answer within {self.limit_s:g} s")
        return None

    async def _cases(self, unknowns: Unknowns) -> tuple[OpenCases | None, int | None]:
        """Return the open cases, and how many there are: that is also known if they are too many to read in time."""

        async def read() -> OpenCases:
            return await self.read_cases(self.stack, Selection())

        found, number = await asyncio.gather(
            self._bounded(unknowns, "the open cases by reason", read),
            self._bounded(unknowns, "the number of open cases", partial(count_open_cases, self.stack)),
        )
        return found, number if found is None else found.total

    async def _ask_workers(self) -> tuple[list[Sample], list[Sample | None]]:
        """Ask each worker. With `rates_at_once`, ask those that answer twice the first time."""
        before, asked = dict(self._samples), self.endpoints
        if not before:
            self._samples = before = await self._sampled(asked)
            asked = [each for each in asked if before[each].is_running and self.rates_at_once]
            if asked:
                await self.sleep(BETWEEN_SAMPLES_S)
        self._samples = self._samples | await self._sampled(asked)
        return [self._samples[each] for each in self.endpoints], [before.get(each) for each in self.endpoints]

    async def _sampled(self, endpoints: Sequence[Endpoint]) -> dict[Endpoint, Sample]:
        def now_s() -> float:
            return self.stack.now().timestamp()

        samples = await asyncio.gather(*(sample(each, self.fetch, now_s) for each in endpoints))
        return {each.endpoint: each for each in samples}

    async def _on_ecs(self, prefix: str | None, unknowns: Unknowns) -> dict[str, Service] | None:
        if prefix is None:
            unknowns.add(
                "the workers", f"the fulfillment queue is not named as in a stack: its name must end in {QUEUE}"
            )
            return None
        if self._services is None:
            self._services = Services(self.stack, prefix)
        ours, own = await asyncio.gather(
            self._bounded(unknowns, "the workers", self._services.read),
            self._bounded(unknowns, "workers of your own", self._services.read_own),
        )
        return None if ours is None else ours | (own or {})

    async def _outages(self, prefix: str | None, unknowns: Unknowns) -> Sequence[Outages | None]:
        if prefix is None:
            return [None for _ in WORKERS]
        return await asyncio.gather(
            *(
                self._bounded(
                    unknowns, f"outages of the {worker} worker", partial(read_outages, self.stack, prefix, worker)
                )
                for worker in WORKERS
            )
        )

    async def _queues(self, addresses: Sequence[QueueAddress], prefix: str | None, unknowns: Unknowns) -> _Queues:
        """Read the numbers of messages, then the metrics of these queues and of their dead-letter queues."""
        loop, limit_s = asyncio.get_running_loop(), self.limit_s
        began_s = loop.time()
        found = await asyncio.gather(
            *(self._bounded(unknowns, f"queue {each.name}", partial(self._depth, each, unknowns)) for each in addresses)
        )
        owned = [depth for depth, is_owned in filter(None, found) if is_owned]
        if any(not is_owned for _, is_owned in filter(None, found)):
            unknowns.add("ages of messages", "CloudWatch has metrics only of queues in the account of the credentials")
        names = [address.name for address in addresses]
        depths = [None if each is None else each[0] for each in found]
        left_s = max(LEAST_S, limit_s - (loop.time() - began_s))
        return _Queues(names, depths, await self._read_metrics(owned, prefix, unknowns, left_s))

    async def _depth(self, address: QueueAddress, unknowns: Unknowns) -> tuple[Depth, bool]:
        queue = await self.stack.queue(address.given)
        reading = partial(read_pause_fields, self.stack, queue)
        depth, owned, pause = await asyncio.gather(
            queue_depth(self.stack, queue),
            self.stack.owns(queue),
            self._bounded(unknowns, f"whether {queue.name} is paused", reading, self.limit_s / 2),
        )
        return replace(depth, **(pause or {})), owned

    async def _read_metrics(
        self, depths: Sequence[Depth], prefix: str | None, unknowns: Unknowns, limit_s: float
    ) -> Metrics | None:
        if self._metrics is None or self.stack.now() - self._metrics.now >= _METRICS_KEPT:
            queues, dead = [each.queue for each in depths], [each.dead_letter_queue for each in depths]
            reading = partial(read_metrics, self.stack, queues, dead, prefix)
            self._metrics = await self._bounded(unknowns, "CloudWatch's metrics", reading, limit_s)
        return self._metrics

    def _queue(self, name: str, depth: Depth | None, metrics: Metrics | None, unknowns: Unknowns) -> QueueStatus:
        if depth is None:
            return QueueStatus(queue=name)
        messages = depth.depth + depth.in_flight + depth.delayed
        oldest_s = None if metrics is None else metrics.oldest_s(name)
        if metrics is not None and oldest_s is None and messages:
            unknowns.add(f"the oldest message of {name}", "CloudWatch has no age of it, as on a local AWS")
        drained = self._drained(name, messages, metrics)
        if drained is None and messages:
            once = "it was looked at only once"
            unknowns.add(f"how fast {name} drains", f"{once}: use --watch" if self.rates_at_once else once)
        return QueueStatus(
            queue=name,
            depth=depth.depth,
            in_flight=depth.in_flight,
            delayed=depth.delayed,
            oldest_s=oldest_s,
            drained_per_second=None if drained is None else round(drained, 3),
            empty_in_s=_empty_in_s(messages, drained),
            dead_letter_queue=depth.dead_letter_queue,
            dead_letters=depth.dead_letters,
            oldest_dead_letter_s=None if metrics is None else metrics.oldest_s(depth.dead_letter_queue),
            **{name: getattr(depth, name) for name in PAUSE_FIELDS},
        )

    def _drained(self, name: str, messages: int, metrics: Metrics | None) -> float | None:
        """Return how fast a queue drains: by CloudWatch, or else since it was first looked at, within two minutes."""
        at_s = self.stack.now().timestamp()
        seen = self._depths.setdefault(name, deque())
        seen.append((at_s, messages))
        while at_s - seen[0][0] > _DEPTHS_KEPT.total_seconds():
            seen.popleft()
        measured = None if metrics is None else metrics.drained_per_second(name)
        first_s, first = seen[0]
        return (first - messages) / (at_s - first_s) if measured is None and at_s > first_s else measured


def _empty_in_s(messages: int, drained_per_second: float | None) -> int | None:
    if not messages:
        return 0
    return round(messages / drained_per_second) if drained_per_second is not None and drained_per_second > 0 else None
