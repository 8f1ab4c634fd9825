import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
import structlog

from tests.workers.consumer.fakes import (
    TIMEOUT_S,
    FakeClock,
    FakeQueue,
    RecordedBackoff,
    message,
    messages,
    turns,
    until,
)
from workers.backoff import Backoff
from workers.consumer.demand import Demand
from workers.consumer.gate import Gate
from workers.consumer.message import Message
from workers.consumer.poller import Poller
from workers.consumer.prefetch import Prefetch
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import AccessDeniedError, FatalError, OutageError


class Accepted:
    """Takes the messages of a poller; `settle` frees their slots."""

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.messages: list[Message] = []
        self.asked_at_s: list[float] = []

    def __call__(self, received: Sequence[Message], asked_at_s: float) -> None:
        self.messages += received
        self.asked_at_s.append(asked_at_s)

    def settle(self, count: int) -> None:
        self.slots.release(count)


def poller(
    queue: FakeQueue,
    slots: Slots,
    accept: Accepted,
    *,
    min_batch: int = 1,
    max_polls: int = 4,
    timings: Timings = DEFAULT_TIMINGS,
) -> Poller:
    return Poller(
        queue=queue,
        slots=slots,
        gate=Gate(),
        accept=accept,
        prefetch=Prefetch(10),
        demand=Demand(max_polls, waited_factor=math.inf),  # A busy machine does not look like a receive that waited.
        min_batch=min_batch,
        stuck_after_s=60,
        timings=timings,
    )


@contextlib.asynccontextmanager
async def polling(poller: Poller) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(poller.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=TIMEOUT_S)


async def test_passes_on_the_received_messages() -> None:
    slots = Slots(50)
    queue, accept = FakeQueue(messages(3)), Accepted(slots)
    async with polling(poller(queue, slots, accept)):
        await until(lambda: len(accept.messages) == 3)
        queue.send(message("later"))
        await until(lambda: len(accept.messages) == 4)
    assert [received.id for received in accept.messages] == ["m0", "m1", "m2", "later"]


async def test_each_answered_receive_is_reported_and_no_failed_one() -> None:
    slots, polled, backoff = Slots(50), list[int](), RecordedBackoff(fixed_s=0.0)
    queue, accept = FakeQueue(messages(3)), Accepted(slots)
    queue.outage = OutageError("down")
    made = poller(queue, slots, accept, timings=replace(DEFAULT_TIMINGS, poll_retry=backoff))
    async with polling(replace(made, polled=lambda: polled.append(len(backoff.attempts)))):
        await until(lambda: len(backoff.attempts) >= 3)
        assert polled == []
        queue.outage = None
        await until(lambda: len(accept.messages) == 3)
    assert polled[0] >= 3


async def test_never_receives_more_than_it_has_free_slots() -> None:
    slots = Slots(7)
    queue, accept = FakeQueue(messages(100)), Accepted(slots)
    async with polling(poller(queue, slots, accept)):
        await until(lambda: len(accept.messages) == 7)
        await turns()
        assert queue.limits == [7]
        accept.settle(2)
        await until(lambda: len(accept.messages) == 9)
        await turns()
    assert queue.limits == [7, 2]


async def test_unfilled_slots_of_a_receive_are_free_again() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(messages(1)), Accepted(slots)
    async with polling(poller(queue, slots, accept)):
        await until(lambda: len(queue.limits) == 3)
    assert queue.limits == [10, 9, 9]
    assert await slots.reserve(9, 10) == 9


async def test_waits_for_enough_free_slots_before_it_receives() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(messages(100)), Accepted(slots)
    async with polling(poller(queue, slots, accept, min_batch=5)):
        await until(lambda: len(accept.messages) == 10)
        accept.settle(4)
        await turns()
        assert len(queue.limits) == 1
        accept.settle(1)
        await until(lambda: len(accept.messages) == 15)
    assert queue.limits == [10, 5]


async def test_one_poll_runs_when_the_queue_is_idle() -> None:
    slots = Slots(100)
    queue = FakeQueue()
    async with polling(poller(queue, slots, Accepted(slots))):
        await until(lambda: len(queue.limits) == 3)
    assert queue.most_receiving == 1


async def test_several_polls_run_under_backlog_and_one_after_it() -> None:
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(300)), Accepted(slots)
    async with polling(poller(queue, slots, accept)):
        await until(lambda: len(accept.messages) == 300)
        assert queue.most_receiving == 4
        await until(lambda: queue.waiting == 1)
        queue.most_receiving = 0
        asked = len(queue.limits)
        await until(lambda: len(queue.limits) > asked + 2)
        assert queue.most_receiving == 1


async def test_no_more_receives_are_allowed_than_there_are_slots_for_but_one() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(messages(200)), Accepted(slots)
    watched = poller(queue, slots, accept, min_batch=10, max_polls=6)
    async with polling(watched):
        for number in range(1, 11):
            await until(lambda number=number: len(accept.messages) == 10 * number)  # type: ignore[misc]
            accept.settle(10)
        assert watched.demand.polls == 2
        assert queue.most_receiving == 1


async def test_short_answers_start_more_receives_under_backlog() -> None:
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(300)), Accepted(slots)
    queue.on_receive = lambda received: [*received[:2]]  # The others are lost, which does not matter here.
    async with polling(poller(queue, slots, accept, max_polls=6)):
        await until(lambda: queue.most_receiving == 6)


async def test_an_empty_answer_ends_one_of_several_receives_at_a_time() -> None:
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(400), wait_s=60), Accepted(slots)
    watched = poller(queue, slots, accept)
    async with polling(watched):
        await until(lambda: len(accept.messages) == 400 and queue.waiting == 4)
        running: list[int] = []

        def record(received: Sequence[Message]) -> Sequence[Message]:
            running.append(queue.receiving)
            return received

        queue.on_receive = record
        queue.end_waits()
        await until(lambda: queue.receiving == queue.waiting == 1)
    assert running == [4, 3, 2, 1]


async def test_only_one_receive_waits_for_long() -> None:
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(300), wait_s=60), Accepted(slots)
    async with polling(poller(queue, slots, accept)):
        await until(lambda: len(accept.messages) == 300 and queue.waiting == 4)
        assert sorted(queue.waits_s[-4:], key=str) in ([1, 1, 1, None], [1, 1, 1, 1])
        assert queue.waits_s[0] is None


async def test_one_receive_at_a_time_is_tried_during_an_outage() -> None:
    backoff = RecordedBackoff(fixed_s=0.0)
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(300), wait_s=0), Accepted(slots)
    watched = poller(queue, slots, accept, timings=replace(DEFAULT_TIMINGS, poll_retry=backoff))
    async with polling(watched):
        await until(lambda: queue.most_receiving == 4)
        queue.outage = OutageError("down")
        await until(lambda: len(backoff.attempts) >= 2)
        queue.most_receiving = 0
        await until(lambda: len(backoff.attempts) >= 10)
        assert queue.most_receiving == 1
        # The receives that were running when the outage began have failed together, and count once.
        assert backoff.attempts[:3] == [1, 2, 3]


async def test_one_message_is_received_to_probe_with_however_many_receives_ran_before() -> None:
    slots = Slots(1000)
    queue, accept = FakeQueue(messages(200)), Accepted(slots)
    watched = poller(queue, slots, accept)

    async def fail() -> None:
        raise OutageError("down")

    async with polling(watched):
        await until(lambda: queue.most_receiving == 4)
        caller = asyncio.create_task(watched.gate.run(fail))
        await until(lambda: not watched.gate.is_open)
        await until(lambda: queue.receiving == 0)
        asked = len(queue.limits)
        queue.most_receiving = 0
        caller.cancel()  # No caller is left to probe.
        await until(lambda: len(queue.limits) >= asked + 3)
        assert set(queue.limits[asked:]) == {1}
        assert queue.most_receiving == 1


async def test_an_error_while_passing_messages_on_ends_the_poller() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(messages(1)), Accepted(slots)

    def fail(_: Sequence[Message], __: float) -> None:
        raise LookupError("a bug")

    watched = poller(queue, slots, accept)
    watched.accept = fail
    async with polling(watched) as task:
        await asyncio.wait([task], timeout=TIMEOUT_S)
        error = task.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(LookupError) is not None


async def test_a_running_receive_passes_on_its_messages_after_a_stop() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(wait_s=60), Accepted(slots)
    async with polling(poller(queue, slots, accept)) as task:
        await until(lambda: queue.waiting == 1)
        task.cancel()
        await turns()
        assert not task.done()
        queue.send(message("late"))
        await asyncio.wait([task], timeout=TIMEOUT_S)
        assert task.cancelled()
    assert [received.id for received in accept.messages] == ["late"]
    assert await slots.reserve(9, 10) == 9
    assert len(queue.limits) == 1


async def test_an_error_of_a_running_receive_after_a_stop_is_ignored() -> None:
    slots = Slots(10)
    queue = FakeQueue()
    async with polling(poller(queue, slots, Accepted(slots))) as task:
        await until(lambda: queue.waiting == 1)
        task.cancel()
        queue.outage = OutageError("down")
        await asyncio.wait([task], timeout=TIMEOUT_S)
        assert task.cancelled()
    assert await slots.reserve(10, 10) == 10


async def test_no_poll_receives_again_after_a_stop() -> None:
    slots = Slots(10_000)
    queue, accept = FakeQueue(messages(20), wait_s=60), Accepted(slots)
    async with polling(poller(queue, slots, accept, max_polls=2)) as task:
        await until(lambda: queue.waiting == 2)
        task.cancel()
        await turns()
        asked = len(queue.limits)
        queue.on_receive = lambda received: [*received, *messages(10)][:10]  # Full answers, if it received again.
        queue.end_waits()
        await asyncio.wait([task], timeout=TIMEOUT_S)
        assert task.cancelled()
    assert len(queue.limits) == asked


async def test_failed_receives_back_off() -> None:
    timings = replace(DEFAULT_TIMINGS, poll_retry=Backoff(0.02, 0.05))
    slots = Slots(100)
    queue, accept = FakeQueue(messages(1), wait_s=0), Accepted(slots)
    queue.outage = OutageError("down")
    async with polling(poller(queue, slots, accept, timings=timings)) as task:
        await asyncio.sleep(0.5)
        assert 2 <= len(queue.limits) <= 100  # Waits are random, 25 ms on average once the cap is reached.
        assert not task.done()
        queue.outage = None
        await until(lambda: len(accept.messages) == 1)


async def test_a_receive_that_waits_for_slots_backs_off_after_another_one_has_failed() -> None:
    backoff = RecordedBackoff(fixed_s=60.0)
    slots = Slots(15)
    queue = FakeQueue(wait_s=60)
    timings = replace(DEFAULT_TIMINGS, poll_retry=backoff)
    watched = poller(queue, slots, Accepted(slots), min_batch=10, timings=timings)
    watched.demand.polls = 2
    watched.prefetch.handle_s = 600.0  # It waits for more slots until the other receive gives its own back.
    async with polling(watched):
        await until(lambda: queue.waiting == 1)
        queue.outage = OutageError("throttled")
        queue.end_waits()
        await until(lambda: backoff.attempts == [1])
        await turns()
        assert queue.limits == [10]


async def test_the_backoff_grows_with_each_failure_and_starts_over_after_a_success() -> None:
    backoff = RecordedBackoff(fixed_s=0.0)
    waits = backoff.attempts
    slots = Slots(100)
    queue = FakeQueue(wait_s=0)
    queue.outage = OutageError("down")
    watched = poller(queue, slots, Accepted(slots), timings=replace(DEFAULT_TIMINGS, poll_retry=backoff))
    async with polling(watched):
        await until(lambda: len(waits) >= 3)
        queue.outage = None
        await until(lambda: not watched.is_failing())
        failed = len(waits)
        queue.outage = OutageError("down")
        await until(lambda: len(waits) > failed)
    assert waits[:3] == [1, 2, 3]
    assert waits[failed] == 1


async def test_ends_when_the_queue_is_gone() -> None:
    slots = Slots(100)
    queue = FakeQueue()
    queue.outage = FatalError("ReceiveMessage: the queue does not exist")
    async with polling(poller(queue, slots, Accepted(slots))) as task:
        await asyncio.wait([task], timeout=TIMEOUT_S)
        error = task.exception()
    assert isinstance(error, ExceptionGroup)
    assert [str(exception) for exception in error.exceptions] == ["ReceiveMessage: the queue does not exist"]


async def test_ends_when_access_is_denied_for_good() -> None:
    timings = replace(DEFAULT_TIMINGS, access_denied_patience_s=0.02, poll_retry=Backoff(0.005, 0.005))
    slots = Slots(100)
    queue = FakeQueue(wait_s=0)
    queue.outage = AccessDeniedError("ReceiveMessage: access denied")
    async with polling(poller(queue, slots, Accepted(slots), timings=timings)) as task:
        await asyncio.wait([task], timeout=TIMEOUT_S)
        error = task.exception()
    assert isinstance(error, ExceptionGroup)
    assert error.subgroup(FatalError) is not None


async def test_reports_whether_polls_fail_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(100)
    queue = FakeQueue(wait_s=60)
    watched = poller(queue, slots, Accepted(slots))
    async with polling(watched):
        await until(lambda: queue.waiting == 1)
        assert (watched.is_failing(), watched.is_stuck()) == (False, False)
        watched.stuck_after_s = 0.0
        await asyncio.sleep(0.001)
        assert watched.is_stuck()
        (receive,) = watched._receives.values()
        now_s = asyncio.get_running_loop().time()
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
            watched.stuck_after_s = now_s - receive.started_at_s
            assert not watched.is_stuck()
        for passed_s, left_s in ((20.0, 40.0), (61.0, 0.0)):
            with monkeypatch.context() as patched:
                patched.setattr(
                    asyncio.get_running_loop(), "time", lambda passed_s=passed_s: receive.started_at_s + passed_s
                )
                assert watched.waits_s() == [pytest.approx(left_s)]
        watched.stuck_after_s = 60.0
        queue.outage = OutageError("down")
        queue.end_waits()
        await until(watched.is_failing)
        assert not watched.is_stuck()


async def test_passes_on_the_time_before_the_receive() -> None:
    machine, slots = FakeClock(), Slots(50)
    queue, accept = FakeQueue(messages(1)), Accepted(slots)
    began_s = machine.now_s

    def jump(received: Sequence[Message]) -> Sequence[Message]:
        machine.now_s += 15
        return received

    queue.on_receive = jump
    watched = poller(queue, slots, accept)
    watched.now_s = machine
    async with polling(watched) as task:
        await until(lambda: len(accept.messages) == 1)
        task.cancel()
        queue.send(message("late"))
        await asyncio.wait([task], timeout=TIMEOUT_S)
    assert accept.asked_at_s[:2] == [began_s, began_s + 15]


@pytest.mark.usefixtures("at_debug")
async def test_each_answer_has_a_log_line_with_its_time() -> None:
    slots = Slots(10)
    queue = FakeQueue(messages(1), wait_s=2)
    with structlog.testing.capture_logs() as logs:
        async with polling(poller(queue, slots, Accepted(slots))):
            await until(lambda: queue.waiting == 1)
            queue.outage = OutageError("down")
            await until(lambda: sum(line["event"] == "receive.finished" for line in logs) == 2)
    assert [line for line in logs if line["event"] == "receive.finished"][:2] == [
        {"asked": 10, "received": 1, "duration_ms": 1.0, "reason": None} | FINISHED,
        {"asked": 9, "received": 0, "duration_ms": 2001.0, "reason": "down"} | FINISHED,
    ]


FINISHED = {"event": "receive.finished", "log_level": "debug", "running": 0}


async def test_a_cancelled_receive_gives_its_slots_back_and_another_one_follows() -> None:
    slots = Slots(10)
    queue, accept = FakeQueue(wait_s=60), Accepted(slots)
    watched = poller(queue, slots, accept)
    async with polling(watched):
        await until(lambda: queue.waiting == 1)
        for request in watched._receives:
            request.cancel()
        await until(lambda: len(queue.limits) == 2)
        queue.send(message("next"))
        await until(lambda: len(accept.messages) == 1)
    assert queue.limits[:2] == [10, 10]
