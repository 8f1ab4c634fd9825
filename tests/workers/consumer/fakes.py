"""A queue in memory that behaves like SQS, a scripted handler, and a running consumer with its log lines."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from structlog.typing import EventDict

from workers.backoff import Backoff
from workers.consumer.consumer import Consumer, Limits
from workers.consumer.elapsed import elapsed_s
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.consumer.pause import Pauses, PauseState, Person
from workers.consumer.ports import Handler, Refusal
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.metrics import StageOutage
from workers.testing.memory import MemoryQueue

LOST = Refusal("ReceiptHandleIsInvalid", receipt_lost=True)
REFUSED = Refusal("InternalError", receipt_lost=False)
TIMEOUT_S = 10.0  # Ends tests that hang. Tests that pass never wait this long.

# Retries come at once.
QUICK = replace(
    DEFAULT_TIMINGS,
    poll_retry=Backoff(0.001, 0.002),
    probe=Backoff(0.001, 0.005),
    acknowledge_retry=Backoff(0.001, 0.002),
    take_back_s=30.0,  # On a busy machine, a step may take longer than the second that a worker allows.
)

Answer = Refusal | Exception | None


@dataclass(frozen=True)
class RecordedBackoff(Backoff):
    """Waits `fixed_s` seconds, or without it the longest wait `Backoff` allows. Records the attempts."""

    base_s: float = 0.001
    cap_s: float = 0.001
    fixed_s: float | None = None
    attempts: list[int] = field(default_factory=list)

    def wait_s(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return min(self.cap_s, self.base_s * 2 ** (attempt - 1)) if self.fixed_s is None else self.fixed_s


class FakeClock:
    """A clock of visibility timeouts that jumps when `now_s` is set, as after a suspend."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class RecordedOutage(StageOutage):
    """Records what it is told: `failed` or `ended`, the key of the row and the reason."""

    def __init__(self) -> None:
        super().__init__("stage", prolonged_after_s=60, logged_every_s=60, fresh_s=math.inf)
        self.rows: list[tuple[str, Hashable, str]] = []

    def failed(self, reason: str, key: Hashable = None) -> None:
        self.rows.append(("failed", key, reason))

    def ended(self, key: Hashable = None) -> None:
        self.rows.append(("ended", key, ""))


def message(message_id: str, receipt: str = "", *, receive_count: int = 1, body: str = "{}", **fields: Any) -> Message:
    return Message(
        id=message_id, receipt_handle=receipt or f"r-{message_id}", body=body, receive_count=receive_count, **fields
    )


def messages(count: int) -> list[Message]:
    return [message(f"m{n}") for n in range(count)]


class FakeQueue(MemoryQueue):
    """
    A queue in memory that counts the requests, and whose answers can be set.

    `refuse` sets the answers for one receipt handle, one per request; an `Exception` is raised for the whole request.
    While `outage` is set, every request raises it. Deletes and changes are answered only while `answering` is set.
    """

    def __init__(self, sent: Iterable[Message] = (), *, visibility_timeout_s: int = 60, wait_s: float = 0.02) -> None:
        super().__init__(sent, visibility_timeout_s=visibility_timeout_s, wait_s=wait_s)
        self.limits: list[int] = []
        self.waits_s: list[int | None] = []
        self.receiving = 0
        self.waiting = 0
        self.most_receiving = 0
        self.outage: Exception | None = None
        self.on_receive: Callable[[Sequence[Message]], Sequence[Message]] = lambda received: received
        self.answering = asyncio.Event()
        self.answering.set()
        self._refusals: dict[str, deque[Answer]] = {}

    def refuse(self, receipt_handle: str, *answers: Answer) -> None:
        self._refusals[receipt_handle] = deque(answers)

    def outdate(self, receipt_handle: str, *, accepted: bool) -> None:
        """Let another consumer have the message of this receipt, which SQS mostly still accepts."""
        if not accepted:
            self.refuse(receipt_handle, *[LOST] * 1000)

    def end_waits(self) -> None:
        """End the running long polls, with an empty answer if nothing was sent."""
        self._arrived.set()

    async def receive(self, limit: int, max_wait_s: int | None = None) -> Sequence[Message]:
        self.limits.append(limit)
        self.waits_s.append(max_wait_s)
        self.receiving += 1
        self.most_receiving = max(self.most_receiving, self.receiving)
        try:
            await asyncio.sleep(0.001)
            if not self._sent:
                self.waiting += 1
                try:
                    await self._wait_for_messages(max_wait_s)
                finally:
                    self.waiting -= 1
            if self.outage is not None:
                raise self.outage
            return self.on_receive(self._take(limit))
        finally:
            self.receiving -= 1

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        await super().delete(receipt_handles)
        return await self._answer(receipt_handles)

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        await super().change_visibility(entries)
        return await self._answer([handle for handle, _ in entries])

    async def _answer(self, receipt_handles: Sequence[str]) -> list[Refusal | None]:
        await asyncio.sleep(0)
        await self.answering.wait()
        if self.outage is not None:
            raise self.outage
        answers = [
            self._refusals[handle].popleft() if self._refusals.get(handle) else None for handle in receipt_handles
        ]
        if raised := next((answer for answer in answers if isinstance(answer, Exception)), None):
            raise raised
        return [answer for answer in answers if not isinstance(answer, Exception)]


class FakeLines:
    """The output of the log: takes lines while `room` is set, and has written all but those of `unwritten` messages."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.unwritten: dict[str, asyncio.Future[bool]] = {}

    @property
    def is_full(self) -> bool:
        return not self.room.is_set()

    async def wait_for_room(self) -> None:
        await self.room.wait()

    def hold(self, message_id: str) -> "asyncio.Future[bool]":
        """Leave the lines of a message unwritten until the result is set: whether they were written in the end."""
        self.unwritten[message_id] = asyncio.get_running_loop().create_future()
        return self.unwritten[message_id]

    def awaits(self, message_id: str) -> bool:
        return message_id in self.unwritten

    async def is_written(self, message_id: str) -> bool:
        return await self.unwritten[message_id]


class FakePauses:
    """The tag of a queue, or the error of reading it; records when it was read."""

    def __init__(self, answer: Person | Exception | None = None) -> None:
        self.answer = answer
        self.resumed: Person | None = None
        self.read_at_s: list[float] = []
        self.takes_s = 0.0

    async def read(self) -> PauseState:
        self.read_at_s.append(asyncio.get_running_loop().time())
        answer = self.answer
        await asyncio.sleep(self.takes_s)
        if isinstance(answer, Exception):
            raise answer
        return PauseState(answer, self.resumed)


class FakeHandler:
    """Behaves as told by `when`, and records which messages it began and finished."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.finished: list[str] = []
        self.given_up: list[str] = []
        self.taken_back: list[str] = []
        self.running = 0
        self.most_running = 0
        self.behavior: dict[str, Any] = {}

    def when(self, message_id: str, *behavior: Any) -> None:
        """Set what it does with a message, one item per call: raise, return, call, or wait for an event."""
        self.behavior[message_id] = deque(behavior)

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        self.began.append(message.id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            settlement = await self._behave(message)
        finally:
            self.running -= 1
        self.finished.append(message.id)
        return settlement

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        self.given_up.append(message.id)
        return DeadLettered("given_up")

    async def take_back(self, message: Message) -> None:
        self.taken_back.append(message.id)

    async def _behave(self, message: Message) -> Acknowledged | DeadLettered:
        behaviors = self.behavior.get(message.id)
        behavior = behaviors.popleft() if behaviors else None
        match behavior:
            case Exception():
                raise behavior
            case Acknowledged() | DeadLettered():
                return behavior
            case asyncio.Event():
                await behavior.wait()
            case _ if callable(behavior):
                settlement: Acknowledged | DeadLettered = await behavior()
                return settlement
            case _:
                await asyncio.sleep(0)
        return Acknowledged("handled")


def limits(
    *,
    concurrency: int = 10,
    max_deliveries: int = 10,
    max_handle_s: float = 60,
    drain_s: float = 5,
    max_polls: int = 4,
    per_second: float | None = None,
) -> Limits:
    return Limits(
        concurrency=concurrency,
        max_deliveries=max_deliveries,
        max_handle_s=max_handle_s,
        drain_s=drain_s,
        max_polls=max_polls,
        stuck_poll_s=60,
        per_second=per_second,
    )


class Run:
    """A running consumer and its log lines."""

    def __init__(self, consumer: Consumer, logs: list[EventDict]) -> None:
        self.consumer = consumer
        self.logs = logs
        self.signal = asyncio.Event()
        self.task = asyncio.create_task(consumer.run(self.signal), name="consumer")

    async def stop(self) -> None:
        """Stop the consumer and wait for its end. Raises its error."""
        self.signal.set()
        async with asyncio.timeout(TIMEOUT_S):
            await self.task

    async def ended(self) -> None:
        """Wait for the consumer to end by itself. Raises its error."""
        async with asyncio.timeout(TIMEOUT_S):
            await self.task

    async def until_settled(self, count: int) -> None:
        """Wait until *count* messages have their last line."""
        await until(lambda: len(self.endings()) >= count)

    def endings(self) -> list[tuple[str, str, str]]:
        """Return the last lines, in order: message id, event, outcome."""
        last = {"message.acknowledged", "message.released", "message.dead_lettered", "message.abandoned"}
        return [(line["message_id"], line["event"], line["outcome"]) for line in self.logs if line["event"] in last]

    def events(self) -> list[str]:
        return [line["event"] for line in self.logs]


@contextlib.asynccontextmanager
async def running(
    queue: FakeQueue,
    handler: Handler,
    limits: Limits,
    timings: Timings = QUICK,
    now_s: Callable[[], float] = elapsed_s,
    *,
    lines: FakeLines | None = None,
    pauses: Pauses | None = None,
    in_flight: Callable[..., InFlight] = InFlight,
) -> AsyncIterator[Run]:
    """Run a consumer during the block, and stop it afterward unless it has ended."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        consumer = Consumer(
            queue, handler, limits, timings=timings, now_s=now_s, lines=lines, pauses=pauses, in_flight=in_flight
        )
        run = Run(consumer, logs)
        try:
            yield run
            if not run.task.done():
                await run.stop()
        finally:
            run.task.cancel()
            await asyncio.wait([run.task])


async def until(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds. Raises `TimeoutError` if it never does."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 - any condition, so there is no event to wait for.
            await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let all ready tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)
