"""One run: the workers, the week, the drain, the proofs."""

import asyncio
import resource
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.loads import ESCALATION_QUEUE, FULFILLMENT_QUEUE
from tests.soak.endpoint import Endpoint
from tests.soak.fleet import Fleet, Process
from tests.soak.ledger import Ledger, Problems, Promise
from tests.soak.measures import Flatness, flatness
from tests.soak.plan import Plan, Spell

TICK_S = 0.1
PROGRESS_EVERY_S = 30.0
DRAIN_S = 900.0  # A reminder of a channel that was down may wait for five minutes.
DRAINED_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """How far the run was."""

    at_s: float
    sent: int
    settled: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    plan: Plan
    interrupted: bool
    drained_s: float | None
    problems: Problems
    ledger: Ledger
    processes: Sequence[Process]
    moments: Sequence[Moment]
    spells: Sequence[Spell]
    flatness: Sequence[Flatness]
    facts: Mapping[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept, and every measure is flat. One that was not taken proves nothing."""
        return not self.interrupted and not self.problems.counts and all(one.is_flat for one in self.flatness)


class Soak:
    """A run of *plan*. Prints its progress with *say*."""

    def __init__(self, plan: Plan, directory: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._say = say
        self._problems = Problems()
        self._ledger = Ledger(plan.orders, self._problems)
        self._fleet = Fleet(plan, self._problems, directory)
        self._endpoint = Endpoint(plan, self._ledger, self._fleet.delivered)
        self._interrupted = asyncio.Event()
        self._moments: list[Moment] = []
        self._started_s = 0.0
        self._phase = "start"

    async def run(self) -> Outcome:
        server = await self._endpoint.listen()
        drained_s = None
        try:
            with self._signals():
                self._say("starting the workers")
                if await self._unless_interrupted(self._fleet.start(self._endpoint.url)):
                    self._say(f"{len(self._fleet.running)} workers run; {self._plan.orders} orders arrive")
                    self._started_s = asyncio.get_running_loop().time()
                    drained_s = await self._work()
                self._say("stopping the workers")
                await self._fleet.stop()
        finally:
            self._fleet.kill()
            server.close()
        if not self._interrupted.is_set():
            self._endpoint.check()
        return self._outcome(drained_s)

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time() - self._started_s

    async def _work(self) -> float | None:
        """Send all orders, then wait until nothing is left. Return how long that took; None if it was not reached."""
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self._watch()), group.create_task(self._report())]
            try:
                self._phase = "week"
                if not await self._unless_interrupted(self._week()):
                    return None
                self._phase = "drain"
                began_s = self._now_s
                with suppress(TimeoutError):
                    async with asyncio.timeout(DRAIN_S):
                        if await self._unless_interrupted(self._drain()):
                            return self._now_s - began_s
                return None
            finally:
                self._endpoint.troubles.clear()
                for task in watching:
                    task.cancel()

    async def _week(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (self._arrive(), self._deploy(), *map(self._suffer, self._plan.spells())):
                group.create_task(part)

    async def _arrive(self) -> None:
        while self._ledger.sent < self._plan.orders:
            for _ in range(self._plan.due(self._now_s) - self._ledger.sent):
                self._endpoint.send_order()
            await asyncio.sleep(TICK_S)

    async def _deploy(self) -> None:
        for number, at_s in enumerate(self._plan.deploys()):
            await asyncio.sleep(at_s - self._now_s)
            await self._fleet.deploy(kill=self._plan.kills(number))

    async def _suffer(self, spell: Spell) -> None:
        await asyncio.sleep(spell.start_s - self._now_s)
        self._endpoint.troubles.add(spell.trouble)
        await asyncio.sleep(spell.end_s - self._now_s)
        self._endpoint.troubles.discard(spell.trouble)

    async def _drain(self) -> None:
        """Wait until every order is settled and both queues are empty."""
        queues = FULFILLMENT_QUEUE, ESCALATION_QUEUE
        while self._ledger.open or any(map(self._endpoint.waiting, queues)):  # noqa: ASYNC110 - two counts, seldom 0.
            await asyncio.sleep(DRAINED_EVERY_S)

    async def _watch(self) -> None:
        while True:
            at_s = self._now_s
            await self._fleet.measure(at_s)
            waiting = self._endpoint.waiting(FULFILLMENT_QUEUE) + self._endpoint.waiting(ESCALATION_QUEUE)
            self._moments.append(Moment(at_s, self._ledger.sent, self._ledger.settled.total(), waiting))
            await asyncio.sleep(max(0.0, at_s + self._plan.sample_every_s - self._now_s))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(min(PROGRESS_EVERY_S, self._plan.duration_s / 6))
            waiting = [self._endpoint.waiting(name) for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE)]
            memory = [f"{one.samples[-1].memory_mb:.0f}" for one in self._fleet.running if one.stays and one.samples]
            troubles = ", ".join(sorted(self._endpoint.troubles)) or "no trouble"
            self._say(
                f"{self._now_s / 60:5.1f} min, {self._phase}: {self._ledger.sent} sent, "
                f"{self._ledger.settled.total()} settled, {waiting[0]} + {waiting[1]} messages waiting, "
                f"{self._fleet.deploys} deploys, {'/'.join(memory)} MB, "
                f"{self._problems.counts.total()} problems; {troubles}"
            )

    async def _unless_interrupted(self, work: Coroutine[Any, Any, None]) -> bool:
        """Return True when *work* is done. If Ctrl-C comes first, cancel it and return False."""
        working = asyncio.ensure_future(work)
        interrupted = asyncio.ensure_future(self._interrupted.wait())
        try:
            await asyncio.wait((working, interrupted), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return True
            return False
        finally:
            interrupted.cancel()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """End in order at the first Ctrl-C or SIGTERM, at once at the second."""
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if self._interrupted.is_set():
                self._fleet.kill()
            self._interrupted.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _outcome(self, drained_s: float | None) -> Outcome:
        interrupted = self._interrupted.is_set()
        if drained_s is None and not interrupted:
            self._problems.add(Promise.EMPTY, f"the queues were not empty after {DRAIN_S:.0f} s")
        plan, processes = self._plan, self._fleet.processes
        judged = [] if interrupted or not plan.shows_growth else processes
        return Outcome(
            plan=plan,
            interrupted=interrupted,
            drained_s=drained_s,
            problems=self._problems,
            ledger=self._ledger,
            processes=processes,
            moments=self._moments,
            spells=plan.spells(),
            flatness=[
                one for process in judged if process.stays for one in flatness(process.name, process.samples, plan)
            ],
            facts={
                "deploys": self._fleet.deploys,
                "processes killed": self._fleet.kills,
                "requests": dict(self._endpoint.requests.most_common()),
                "faults": dict(self._endpoint.faults.most_common()),
                "events": dict(self._fleet.events.most_common()),
                "peak memory of the soak, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6),
            },
        )


async def soak(plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Run *plan*. Its files are temporary."""
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        return await Soak(plan, Path(directory), say).run()
