"""A consumer with a rate begins its messages evenly, and receives no more than can begin soon."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.virtual_time import VirtualTimeLoop
from tests.workers.consumer.fakes import QUICK, TIMEOUT_S, FakeHandler, FakeQueue, limits, messages, running, until
from workers.backoff import Backoff
from workers.consumer.consumer import Consumer
from workers.consumer.message import Acknowledged, Message
from workers.consumer.rate import AHEAD_S, PacedGate
from workers.errors import OutageError, TransientError


class Timed(FakeHandler):
    """Records when it begins each message. Takes *takes_s* seconds."""

    def __init__(self, takes_s: float = 0.0) -> None:
        super().__init__()
        self.takes_s = takes_s
        self.at_s: list[float] = []

    async def handle(self, message: Message) -> Acknowledged:
        self.at_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        await super().handle(message)
        return Acknowledged("handled")

    def gaps_s(self) -> list[float]:
        return [later - sooner for sooner, later in pairwise(self.at_s)]


class Counting(FakeQueue):
    """Counts how many messages were received and have not begun, and how many at most."""

    most_waiting = 0
    handler: Timed

    async def receive(self, limit: int, max_wait_s: int | None = None) -> list[Message]:
        received = list(await super().receive(limit, max_wait_s))
        self.received += len(received)
        self.most_waiting = max(self.most_waiting, self.received - len(self.handler.at_s))
        return received

    received = 0


def backlog(count: int, handler: Timed) -> Counting:
    queue = Counting(messages(count))
    queue.handler = handler
    return queue


@pytest.mark.parametrize("per_second", [0.2, 1, 7.5, 50])
@pytest.mark.parametrize("takes_s", [0.0, 0.4])
async def test_orders_begin_evenly_at_the_rate(per_second: float, takes_s: float) -> None:
    handler = Timed(takes_s)
    queue = backlog(300, handler)
    async with running(queue, handler, limits(concurrency=60, per_second=per_second)):
        await asyncio.sleep(long_s(per_second))
    expected = per_second * long_s(per_second)
    assert expected * 0.98 - 1 <= len(handler.at_s) <= expected + 1
    assert handler.gaps_s() == pytest.approx([1 / per_second] * len(handler.gaps_s()), rel=0.05, abs=0.0021)


@pytest.mark.parametrize("per_second", [0.2, 7.5, 50])
async def test_few_messages_wait_for_their_turn(per_second: float) -> None:
    handler = Timed()
    queue = backlog(1_000, handler)
    async with running(queue, handler, limits(concurrency=200, per_second=per_second)):
        await asyncio.sleep(long_s(per_second))
    assert queue.most_waiting <= AHEAD_S * per_second + 1
    assert max(queue.limits) <= max(1, AHEAD_S * per_second + 1)


async def test_requests_are_few_under_a_rate() -> None:
    handler = Timed()
    queue = backlog(1_000, handler)
    async with running(queue, handler, limits(concurrency=200, per_second=100)):
        await asyncio.sleep(5)
    assert len(queue.limits) <= len(handler.at_s) / 8


async def test_short_answers_do_not_lower_the_rate() -> None:
    handler = Timed()
    queue = backlog(1_000, handler)

    def short(received: Sequence[Message]) -> Sequence[Message]:
        queue.send(*received[2:])
        return received[:2]

    queue.on_receive = short
    async with running(queue, handler, limits(concurrency=200, per_second=50)):
        await asyncio.sleep(5)
    assert len(handler.at_s) == pytest.approx(250, rel=0.02)


async def test_a_pause_in_the_arrivals_earns_no_burst() -> None:
    handler = Timed()
    queue = backlog(1, handler)
    async with running(queue, handler, limits(per_second=2)):
        await asyncio.sleep(30)
        queue.send(*(Message(id=f"late{n}", receipt_handle="r", body="", receive_count=1) for n in range(9)))
        await asyncio.sleep(3)
    assert min(handler.gaps_s()) >= 0.49


async def test_a_message_that_arrives_alone_begins_at_once() -> None:
    handler = Timed()
    queue = backlog(0, handler)
    async with running(queue, handler, limits(per_second=0.01)):
        await asyncio.sleep(30)
        sent_s = asyncio.get_running_loop().time()
        queue.send(*messages(1))
        await until(lambda: len(handler.at_s) == 1)
    assert handler.at_s[0] - sent_s < 0.1


async def test_a_message_begins_late_after_the_one_before_and_is_received_late() -> None:
    handler = Timed()
    queue = backlog(2, handler)
    async with running(queue, handler, limits(per_second=0.01)):
        await asyncio.sleep(98)
        assert queue.received == 1
        await asyncio.sleep(3)
    assert len(handler.at_s) == 2


async def test_a_stop_releases_what_waits_for_its_turn_at_once() -> None:
    handler = Timed()
    queue = backlog(100, handler)
    async with running(queue, handler, limits(per_second=5, drain_s=100)) as run:
        await asyncio.sleep(2.1)
        began, stopped_s = len(handler.at_s), asyncio.get_running_loop().time()
        waiting = queue.received - began
        run.signal.set()
        await run.ended()
        assert asyncio.get_running_loop().time() - stopped_s < 1
    assert waiting > 1
    assert len(handler.at_s) == began
    assert [outcome for _, event, outcome in run.endings() if event == "message.released"] == ["stopping"] * waiting


async def test_what_waits_for_its_turn_is_not_handled_and_stays_invisible() -> None:
    handler = Timed()
    queue = backlog(10, handler)
    queue.visibility_timeout_s = 2
    async with running(queue, handler, limits(per_second=0.3, max_handle_s=1)) as run:
        await run.until_settled(2)
        assert {outcome for *_, outcome in run.endings()} == {"handled"}
        await asyncio.sleep(20)
    assert "message.timed_out" not in run.events()
    assert "receipt_lost" not in {outcome for *_, outcome in run.endings()}


async def test_messages_that_resume_after_an_outage_keep_to_the_rate() -> None:
    handler = Timed(takes_s=2)
    queue = backlog(60, handler)
    for n in range(10):
        handler.when(f"m{n}", OutageError("down"))
    timings = replace(QUICK, probe=Backoff(3, 3))
    async with running(queue, handler, limits(concurrency=30, per_second=5), timings) as run:
        await asyncio.sleep(90)
        assert len(run.endings()) == 60
    assert min(handler.gaps_s()) >= 0.2 - 0.051
    assert {outcome for *_, outcome in run.endings()} == {"handled"}


async def test_a_failed_message_takes_another_turn() -> None:
    handler = Timed()
    queue = backlog(1, handler)
    handler.when("m0", TransientError("busy"))
    async with running(queue, handler, limits(per_second=0.5)) as run:
        await run.until_settled(1)
        queue.send(*messages(1))
        await run.until_settled(2)
    assert handler.gaps_s() == [pytest.approx(2, abs=0.01)]


async def test_probes_are_received_in_an_outage_whatever_waits() -> None:
    gate = PacedGate(1, lambda: 1000)
    assert gate.is_open
    waiting = asyncio.create_task(gate.wait_to_receive(10))
    await asyncio.sleep(10)
    assert not waiting.done()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await gate.run(fail)
    assert await waiting == 1


async def fail() -> None:
    raise OutageError("down")


def test_without_a_rate_there_is_no_paced_gate() -> None:
    consumer = Consumer(FakeQueue(), FakeHandler(), limits())
    assert type(consumer._gate).__name__ == "Gate"
    paced = Consumer(FakeQueue(), FakeHandler(), limits(per_second=3))
    assert isinstance(paced._gate, PacedGate)
    assert paced._metrics.registry.get_sample_value("workers_rate_limit") == 3
    assert consumer._metrics.registry.get_sample_value("workers_rate_limit") == float("inf")


def long_s(per_second: float) -> float:
    """Return how long a test looks, in virtual time: for 20 turns, but for 5 seconds at least."""
    return max(5.0, 20 / per_second)


async def test_turns_that_come_late_do_not_lower_the_rate() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    gate, began_s = PacedGate(100, lambda: 0), loop.time()

    async def block() -> None:
        loop.now_s += 0.012  # Longer than a turn: the next timer is late.

    async def go_on() -> None: ...

    await asyncio.gather(*(gate.run(call) for _ in range(100) for call in (block, go_on)))
    assert loop.time() - began_s == pytest.approx(2, abs=0.05)


async def test_an_answer_lets_a_receive_look_again_at_once() -> None:
    waiting = 1000
    gate = PacedGate(1, lambda: waiting)
    receive = asyncio.create_task(gate.wait_to_receive(10))
    await asyncio.sleep(0.1)
    waiting, asked_s = 0, asyncio.get_running_loop().time()
    gate.answered()
    assert await receive == 2
    assert asyncio.get_running_loop().time() - asked_s < 0.01


async def test_a_receive_is_worth_a_request_if_half_of_what_begins_in_a_second_is_free() -> None:
    gate = PacedGate(7.5, not_begun=lambda: 5)
    async with asyncio.timeout(TIMEOUT_S):
        assert await gate.wait_to_receive(10) == 3
    less = PacedGate(7.5, not_begun=lambda: 6)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(TIMEOUT_S):
            await less.wait_to_receive(10)
    async with asyncio.timeout(TIMEOUT_S):
        assert await less.wait_to_receive(2) == 2, "all that was asked for"
