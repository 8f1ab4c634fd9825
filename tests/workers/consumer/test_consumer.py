import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from tests.workers.consumer.fakes import (
    LOST,
    QUICK,
    REFUSED,
    TIMEOUT_S,
    FakeClock,
    FakeHandler,
    FakeLines,
    FakeQueue,
    RecordedBackoff,
    limits,
    message,
    messages,
    running,
    turns,
    until,
)
from workers.backoff import Backoff
from workers.consumer.consumer import Consumer
from workers.consumer.drain import awaited
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.consumer.timings import DEFAULT_TIMINGS
from workers.errors import FatalError, OutageError, TransientError
from workers.metrics import Metrics

# Prefetches as many messages as may run at once, however slow the handlers are.
PREFETCHING = replace(QUICK, prefetch_s=1_000_000)


async def test_every_message_is_handled_and_acknowledged_once() -> None:
    queue, handler = FakeQueue(messages(100)), FakeHandler()
    async with running(queue, handler, limits()) as run:
        await run.until_settled(100)
    expected = sorted(f"m{n}" for n in range(100))
    assert sorted(handler.finished) == expected
    assert sorted(queue.deleted) == [f"r-{message_id}" for message_id in expected]
    assert sorted(run.endings()) == [(message_id, "message.acknowledged", "handled") for message_id in expected]
    assert queue.changes == []


async def test_no_more_handlers_run_at_once_than_allowed() -> None:
    queue, handler = FakeQueue(messages(50)), FakeHandler()
    async with running(queue, handler, limits(concurrency=3)) as run:
        await run.until_settled(50)
    assert handler.most_running == 3


async def test_a_slow_message_holds_one_slot_and_nothing_else() -> None:
    queue, handler, slow = FakeQueue(messages(50)), FakeHandler(), asyncio.Event()
    handler.when("m0", slow)
    async with running(queue, handler, limits(concurrency=2)) as run:
        await run.until_settled(49)
        assert "m0" not in handler.finished
        slow.set()
        await run.until_settled(50)


async def test_nothing_is_prefetched_for_slow_handlers() -> None:
    queue, handler, slow = FakeQueue(messages(100)), FakeHandler(), asyncio.Event()
    for n in range(100):
        handler.when(f"m{n}", slow)
    async with running(queue, handler, limits(concurrency=3)) as run:
        await until(lambda: len(handler.began) == 3)
        await asyncio.sleep(0.02)
        assert sum(queue.limits) == 3
        slow.set()
        await run.until_settled(100)


async def test_at_most_five_times_as_many_messages_are_in_flight_as_may_run() -> None:
    queue, handler, slow = FakeQueue(messages(100)), FakeHandler(), asyncio.Event()
    for n in range(100):
        handler.when(f"m{n}", slow)
    async with running(queue, handler, limits(concurrency=3), PREFETCHING) as run:
        await until(lambda: len(handler.began) == 3)
        await asyncio.sleep(0.02)
        assert sum(queue.limits) == 15
        slow.set()
        await run.until_settled(100)


async def test_a_message_ends_as_its_handler_says() -> None:
    queue, handler = FakeQueue([message("a"), message("b")]), FakeHandler()
    handler.when("a", Acknowledged("fulfilled"))
    handler.when("b", DeadLettered("undecodable"))
    async with running(queue, handler, limits()) as run:
        await run.until_settled(2)
    assert sorted(run.endings()) == [
        ("a", "message.acknowledged", "fulfilled"),
        ("b", "message.dead_lettered", "undecodable"),
    ]
    assert sorted(queue.deleted) == ["r-a", "r-b"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TransientError("busy"), "transient"),
        (ValueError("bug"), "unexpected_error"),
        (TimeoutError("slow"), "unexpected_error"),
    ],
)
async def test_a_failed_message_is_released_with_backoff(error: Exception, outcome: str) -> None:
    release = DEFAULT_TIMINGS.release
    timings = replace(QUICK, release=RecordedBackoff(release.base_s, release.cap_s))
    queue, handler = (
        FakeQueue([message("a"), message("b", receive_count=3), message("c", receive_count=10)]),
        FakeHandler(),
    )
    for message_id in "abc":
        handler.when(message_id, error)
    async with running(queue, handler, limits(), timings) as run:
        await run.until_settled(3)
    assert sorted(queue.changed) == [("r-a", 2), ("r-b", 8), ("r-c", 900)]
    assert queue.deleted == []
    assert sorted(run.endings()) == [(message_id, "message.released", outcome) for message_id in "abc"]
    assert run.events().count("message.failed") == 3


async def test_a_handler_that_cancels_itself_has_failed_and_that_is_logged() -> None:
    queue, handler = FakeQueue([message("a", receive_count=2)]), FakeHandler()

    async def cancel_itself() -> None:
        raise asyncio.CancelledError

    handler.when("a", cancel_itself)
    timings = replace(QUICK, release=RecordedBackoff(fixed_s=7.0))
    async with running(queue, handler, limits(), timings) as run:
        await run.until_settled(1)
    (failed,) = [line for line in run.logs if line["event"] == "message.failed"]
    assert (failed["log_level"], type(failed["exc_info"])) == ("error", asyncio.CancelledError)
    assert (run.endings(), queue.changed) == ([("a", "message.released", "unexpected_error")], [("r-a", 7)])


async def test_a_failed_message_is_released_no_sooner_than_its_retry_after() -> None:
    timings = replace(QUICK, release=RecordedBackoff(fixed_s=5.0))
    queue, handler = FakeQueue([message("a"), message("b")]), FakeHandler()
    handler.when("a", TransientError("busy", retry_after_s=29.1))
    handler.when("b", TransientError("busy", retry_after_s=1))
    async with running(queue, handler, limits(), timings) as run:
        await run.until_settled(2)
    assert sorted(queue.changed) == [("r-a", 30), ("r-b", 5)]


async def test_log_lines_carry_the_ids_of_their_message() -> None:
    queue, handler = FakeQueue([message("a", receive_count=2), message("b")]), FakeHandler()
    handler.when("a", TransientError("busy"))
    async with running(queue, handler, limits()) as run:
        await run.until_settled(2)
    (failed,) = [line for line in run.logs if line["event"] == "message.failed"]
    assert (failed["message_id"], failed["receive_count"], failed["reason"]) == ("a", 2, "busy")
    assert {line["message_id"]: line["receive_count"] for line in run.logs if "outcome" in line} == {"a": 2, "b": 1}
    assert all(line["duration_ms"] >= 0 for line in run.logs if "outcome" in line)


async def test_a_message_delivered_too_often_is_given_up_without_being_handled() -> None:
    queue, handler = FakeQueue([message("last", receive_count=10), message("worn", receive_count=11)]), FakeHandler()
    async with running(queue, handler, limits(max_deliveries=10)) as run:
        await run.until_settled(2)
    assert (handler.began, handler.given_up) == (["last"], ["worn"])
    assert ("worn", "message.dead_lettered", "given_up") in run.endings()


async def test_a_second_delivery_in_flight_only_renews_the_receipt() -> None:
    queue, handler, slow = FakeQueue([message("m", "r1")]), FakeHandler(), asyncio.Event()
    handler.when("m", slow)
    async with running(queue, handler, limits(concurrency=1), PREFETCHING) as run:
        await until(lambda: handler.began == ["m"])
        queue.send(message("m", "r2"))
        await until(lambda: len(queue.limits) >= 3)
        slow.set()
        await run.until_settled(1)
        queue.send(message("next"))  # Its slot is free: the second delivery took no slot.
        await run.until_settled(2)
    assert handler.began == ["m", "next"]
    assert queue.deleted == ["r2", "r-next"]
    assert [message_id for message_id, *_ in run.endings()] == ["m", "next"]


async def test_the_same_message_twice_in_one_receive_is_handled_once() -> None:
    queue, handler = FakeQueue([message("m", "r1"), message("m", "r2"), message("n")]), FakeHandler()
    async with running(queue, handler, limits(concurrency=3)) as run:
        await run.until_settled(2)
        queue.send(*messages(3))
        await run.until_settled(5)
    assert sorted(handler.began)[:2] == ["m", "m0"]
    assert handler.most_running == 3, "the second delivery keeps no slot"
    assert sorted(queue.deleted)[:2] == ["r-m0", "r-m1"]
    assert sorted(message_id for message_id, *_ in run.endings()) == ["m", "m0", "m1", "m2", "n"]


async def test_a_handled_message_that_comes_back_is_deleted_and_not_handled_again() -> None:
    queue, handler = FakeQueue([message("m", "r1")]), FakeHandler()
    async with running(queue, handler, limits()) as run:
        await run.until_settled(1)
        queue.send(message("m", "r2"))
        await run.until_settled(2)
    assert handler.began == ["m"]
    assert queue.deleted == ["r1", "r2"]
    assert run.endings() == [("m", "message.acknowledged", "handled"), ("m", "message.acknowledged", "duplicate")]


async def test_a_failed_message_that_comes_back_is_handled_again() -> None:
    queue, handler = FakeQueue([message("m", "r1")]), FakeHandler()
    handler.when("m", TransientError("busy"))
    async with running(queue, handler, limits()) as run:
        await run.until_settled(1)
        queue.send(message("m", "r2", receive_count=2))
        await run.until_settled(2)
    assert handler.began == ["m", "m"]
    assert [event for _, event, _ in run.endings()] == ["message.released", "message.acknowledged"]


async def test_a_handler_that_takes_too_long_is_cancelled_and_its_message_released() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    handler.when("m", asyncio.Event())
    async with running(queue, handler, limits(max_handle_s=0.02)) as run:
        await run.until_settled(1)
        assert handler.running == 0
    assert run.endings() == [("m", "message.released", "timed_out")]
    assert "message.timed_out" in run.events()


async def test_a_handler_whose_receipt_is_lost_is_cancelled_and_its_message_abandoned() -> None:
    queue, handler = FakeQueue([message("m")], visibility_timeout_s=1), FakeHandler()
    handler.when("m", asyncio.Event())
    queue.refuse("r-m", LOST)
    async with running(queue, handler, limits()) as run:
        await run.until_settled(1)
        assert handler.running == 0
    assert run.endings() == [("m", "message.abandoned", "receipt_lost")]
    assert (handler.finished, queue.deleted, queue.changed) == ([], [], [("r-m", 1)])


async def test_an_outage_holds_messages_and_receives_none_until_it_is_over() -> None:
    queue, handler = FakeQueue(messages(3)), FakeHandler()
    for n in range(3):
        handler.when(f"m{n}", *[OutageError("down")] * 70)
    async with running(queue, handler, limits(concurrency=3)) as run:
        await until(lambda: len(handler.began) > 20)
        asked = len(queue.limits)
        await until(lambda: len(handler.began) > 60)
        assert len(queue.limits) <= asked + 1  # One was running.
        assert run.endings() == []
        await run.until_settled(3)
    assert {outcome for *_, outcome in run.endings()} == {"handled"}
    assert queue.changes == []


async def test_running_handlers_finish_before_it_stops() -> None:
    queue, handler, slow = FakeQueue([message("m")]), FakeHandler(), asyncio.Event()
    handler.when("m", slow)
    async with running(queue, handler, limits()) as run:
        await until(lambda: handler.began == ["m"])
        run.signal.set()
        await asyncio.sleep(0.05)
        assert not run.task.done()
        slow.set()
        await run.ended()
    assert run.endings() == [("m", "message.acknowledged", "handled")]
    assert queue.deleted == ["r-m"]


async def test_a_stop_releases_unstarted_messages_at_once() -> None:
    queue, handler, slow = FakeQueue(messages(4)), FakeHandler(), asyncio.Event()
    for n in range(4):
        handler.when(f"m{n}", slow)
    async with running(queue, handler, limits(concurrency=2), PREFETCHING) as run:
        await until(lambda: len(handler.began) == 2)
        run.signal.set()
        await run.until_settled(2)
        assert sorted(run.endings()) == [
            ("m2", "message.released", "stopping"),
            ("m3", "message.released", "stopping"),
        ]
        assert sorted(queue.changed) == [("r-m2", 0), ("r-m3", 0)]
        slow.set()
        await run.ended()
    assert sorted(handler.began) == ["m0", "m1"]


@pytest.mark.parametrize(
    ("running_messages", "polls", "waiting_for"),
    [
        (0, 1, "a long poll, at most 15 s"),
        (1, 0, "a message, at most 25 s"),
        (3, 1, "a long poll, at most 15 s; 3 messages, at most 25 s"),
    ],
)
async def test_a_stop_says_what_it_waits_for(running_messages: int, polls: int, waiting_for: str) -> None:
    queue, handler, slow = FakeQueue(messages(running_messages), wait_s=20), FakeHandler(), asyncio.Event()
    for n in range(running_messages):
        handler.when(f"m{n}", slow)
    concurrency = running_messages + polls  # Without a free slot there is no poll.
    async with running(queue, handler, limits(concurrency=concurrency, drain_s=25)) as run:
        await until(lambda: len(handler.began) == running_messages)
        await until(lambda: queue.waiting == polls)
        await asyncio.sleep(5.5)
        run.signal.set()
        await turns()
        slow.set()
        queue.end_waits()
        await run.ended()
    (line,) = (line for line in run.logs if line["event"] == "consumer.stopping")
    assert line["waiting_for"] == waiting_for
    assert line["in_flight"] == running_messages


def test_a_stop_that_waits_for_nothing_says_nothing() -> None:
    assert awaited([], [], 25) is None


async def test_a_running_receive_finishes_even_if_the_drain_time_is_over() -> None:
    queue, handler = FakeQueue(wait_s=60), FakeHandler()
    async with running(queue, handler, limits(drain_s=0.02)) as run:
        await until(lambda: queue.waiting == 1)
        run.signal.set()
        await asyncio.sleep(0.1)  # Now the drain time is over.
        queue.send(message("late"))
        await run.ended()
    assert run.endings() == [("late", "message.released", "stopping")]


async def test_a_stop_releases_the_messages_of_a_running_receive() -> None:
    queue, handler = FakeQueue(wait_s=60), FakeHandler()
    async with running(queue, handler, limits()) as run:
        await until(lambda: queue.waiting == 1)
        run.signal.set()
        await turns()
        queue.send(message("late"))
        await run.ended()
    assert run.endings() == [("late", "message.released", "stopping")]
    assert (queue.changed, handler.began, len(queue.limits)) == ([("r-late", 0)], [], 1)


@pytest.mark.parametrize("later", range(12))
async def test_a_stop_at_any_moment_leaves_no_message_behind(later: int) -> None:
    queue, handler = FakeQueue(messages(6)), FakeHandler()
    async with running(queue, handler, limits(concurrency=3), PREFETCHING) as run:

        def stop_turns_later(received: Sequence[Message]) -> Sequence[Message]:
            soon(later, run.signal.set)
            return received

        queue.on_receive = stop_turns_later
        await run.ended()
    endings = run.endings()
    assert sorted(message_id for message_id, *_ in endings) == [f"m{n}" for n in range(6)]
    assert {event for _, event, _ in endings} <= {"message.acknowledged", "message.released"}
    assert len(queue.deleted) + len(queue.changed) == 6


def soon(turns: int, call: Callable[[], None]) -> None:
    """Call *call* after this many turns of the event loop."""
    if turns == 0:
        call()
    else:
        asyncio.get_running_loop().call_soon(soon, turns - 1, call)


async def test_messages_that_outlast_the_drain_are_released() -> None:
    queue, handler = FakeQueue([message("m"), message("n")]), FakeHandler()
    handler.when("m", asyncio.Event())
    async with running(queue, handler, limits(drain_s=0.02)) as run:
        await run.until_settled(1)
        await run.stop()
    assert run.endings() == [("n", "message.acknowledged", "handled"), ("m", "message.released", "stopping")]
    assert queue.changed == [("r-m", 0)]
    assert run.events().count("consumer.drain_expired") == 1


async def test_it_stops_while_an_outage_holds_its_messages() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    handler.when("m", *[OutageError("down")] * 10_000)
    async with running(queue, handler, limits(drain_s=0.02)) as run:
        await until(lambda: len(handler.began) > 2)
        await run.stop()
    assert run.endings() == [("m", "message.released", "stopping")]


async def test_pending_deletes_are_flushed_at_the_end() -> None:
    queue, handler = FakeQueue(messages(3)), FakeHandler()
    queue.refuse("r-m0", REFUSED, REFUSED)
    async with running(queue, handler, limits(), replace(QUICK, max_batch_wait_s=60.0)) as run:
        await until(lambda: len(handler.finished) == 3)
        await run.stop()
    assert sorted(event for _, event, _ in run.endings()) == ["message.acknowledged"] * 3


async def test_unconfirmed_messages_are_logged_as_abandoned() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    queue.refuse("r-m", *[REFUSED] * 10_000)
    async with running(queue, handler, limits(), replace(QUICK, flush_s=0.02)) as run:
        await until(lambda: handler.finished == ["m"])
        await run.stop()
    assert run.endings() == [("m", "message.abandoned", "unconfirmed")]
    assert "acknowledger.flush_expired" in run.events()


def fail_polls(queue: FakeQueue, _: FakeHandler) -> None:
    def gone(_: Sequence[Message]) -> Sequence[Message]:
        raise FatalError("gone")

    queue.on_receive = gone


def fail_extensions(queue: FakeQueue, _: FakeHandler) -> None:
    queue.send(message("due"))
    queue.refuse("r-due", FatalError("gone"))


def fail_deletes(queue: FakeQueue, _: FakeHandler) -> None:
    queue.refuse("r-gone", FatalError("gone"))
    queue.send(message("gone"))


def fail_a_handler(queue: FakeQueue, handler: FakeHandler) -> None:
    handler.when("denied", FatalError("gone"))
    queue.send(message("denied"))


@pytest.mark.parametrize("fail", [fail_polls, fail_extensions, fail_a_handler])
async def test_a_fatal_error_of_a_stage_ends_the_run_after_a_flush(
    fail: Callable[[FakeQueue, FakeHandler], None],
) -> None:
    queue, handler = FakeQueue(messages(3)), FakeHandler()
    handler.when("m2", asyncio.Event())
    handler.when("due", asyncio.Event())
    if fail is fail_extensions:
        queue.visibility_timeout_s = 1
    async with running(queue, handler, limits(), replace(QUICK, max_batch_wait_s=60.0)) as run:
        await until(lambda: handler.finished == ["m0", "m1"])
        fail(queue, handler)
        with pytest.raises(ExceptionGroup) as raised:
            await run.ended()
    assert raised.group_contains(FatalError, match="^gone$")
    assert {outcome for _, event, outcome in run.endings() if event == "message.released"} == {"stopping"}
    endings = {message_id: event for message_id, event, _ in run.endings()}
    assert endings.pop("due", "message.released") == "message.released"
    assert endings.pop("denied", "message.released") == "message.released"
    assert endings == {"m0": "message.acknowledged", "m1": "message.acknowledged", "m2": "message.released"}
    assert len(run.endings()) == len({message_id for message_id, *_ in run.endings()})
    assert handler.running == 0


async def test_a_fatal_error_of_the_acknowledger_ends_the_run() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    handler.when("m", asyncio.Event())
    async with running(queue, handler, limits()) as run:
        await until(lambda: handler.began == ["m"])
        fail_deletes(queue, handler)
        with pytest.raises(ExceptionGroup) as raised:
            await run.ended()
    assert raised.group_contains(FatalError, match="^gone$")
    assert not raised.group_contains(RuntimeError)
    assert sorted(run.endings()) == [
        ("gone", "message.abandoned", "unconfirmed"),
        ("m", "message.abandoned", "unconfirmed"),
    ]


async def test_a_failed_stage_releases_the_messages_of_a_running_receive() -> None:
    queue, handler = FakeQueue([message("denied")], wait_s=60), FakeHandler()
    failing = asyncio.Event()

    async def deny(message: Message) -> Acknowledged | DeadLettered:  # noqa: ARG001 - a handler's signature.
        await failing.wait()
        raise FatalError("gone")

    handler.handle = deny  # type: ignore[method-assign]
    async with running(queue, handler, limits()) as run:
        await until(lambda: queue.waiting == 1 and len(queue.limits) == 2)
        failing.set()
        await turns()
        queue.send(message("late"))
        with pytest.raises(ExceptionGroup) as raised:
            await run.ended()
    assert raised.group_contains(FatalError)
    assert not raised.group_contains(RuntimeError)
    assert ("late", "message.released", "stopping") in run.endings()


@pytest.mark.parametrize("later", range(10))
async def test_a_receive_that_is_answered_just_when_a_handler_fails_loses_no_message(later: int) -> None:
    queue, handler = FakeQueue([message("denied")], wait_s=60), FakeHandler()
    failing = asyncio.Event()

    async def deny(message: Message) -> Acknowledged | DeadLettered:  # noqa: ARG001 - a handler's signature.
        await failing.wait()
        raise FatalError("gone")

    handler.handle = deny  # type: ignore[method-assign]
    async with running(queue, handler, limits()) as run:
        await until(lambda: queue.waiting == 1 and len(queue.limits) == 2)
        queue.send(*messages(5))
        soon(later, failing.set)
        with pytest.raises(ExceptionGroup) as raised:
            await run.ended()
    assert not raised.group_contains(RuntimeError)
    assert sorted(run.endings()) == [
        (message_id, "message.released", "stopping") for message_id in ["denied", "m0", "m1", "m2", "m3", "m4"]
    ]


async def test_it_reports_how_long_handlers_run_and_not_how_long_messages_are_held() -> None:
    queue, handler = FakeQueue([message("held"), message("slow")]), FakeHandler()
    running, finish = asyncio.Event(), asyncio.Event()

    async def handle(message: Message) -> Acknowledged | DeadLettered:
        if message.id == "held":
            await running.wait()
            raise OutageError("down")
        running.set()
        await finish.wait()
        return Acknowledged("handled")

    handler.handle = handle  # type: ignore[method-assign]
    # The held message is tried again after an hour.
    timings = replace(QUICK, probe=Backoff(3600.0, 3600.0))
    consumer = Consumer(queue, handler, limits(), timings=timings)
    assert consumer.handling_s() == []
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    async with asyncio.timeout(TIMEOUT_S):
        await running.wait()
    await until(lambda: max(consumer.handling_s()) > 0.01)
    assert min(consumer.handling_s()) == 0
    finish.set()
    await until(lambda: set(consumer.handling_s()) <= {0.0})
    stop.set()
    async with asyncio.timeout(TIMEOUT_S):
        await task


async def test_the_time_of_each_call_of_the_handler_is_counted() -> None:
    queue, handler, slow = FakeQueue(messages(2)), FakeHandler(), asyncio.Event()
    handler.when("m0", slow)
    async with running(queue, handler, limits()) as run:
        await run.until_settled(1)
        await asyncio.sleep(2)
        slow.set()
        await run.until_settled(2)
        sample = run.consumer._metrics.registry.get_sample_value
        assert sample("workers_handle_seconds_count") == 2
        assert sample("workers_handle_seconds_sum") == pytest.approx(2, abs=0.1)


async def test_it_is_healthy_until_a_handler_runs_for_too_long() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    stubborn = asyncio.Event()

    async def ignore_cancellation(message: Message) -> Acknowledged | DeadLettered:  # noqa: ARG001 - the same.
        while not stubborn.is_set():
            try:
                await stubborn.wait()
            except asyncio.CancelledError:
                handler.finished.append("cancelled")
        return Acknowledged("handled")

    handler.handle = ignore_cancellation  # type: ignore[method-assign]
    consumer = Consumer(queue, handler, limits(max_handle_s=0.02), timings=replace(QUICK, stuck_margin_s=0.0))
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    assert (consumer.health_problem(), consumer.readiness_problem()) == (None, None)
    await until(lambda: handler.finished == ["cancelled"])
    await until(lambda: consumer.health_problem() == "a handler has been running for too long")
    stubborn.set()
    await until(lambda: consumer.health_problem() is None)
    stop.set()
    async with asyncio.timeout(TIMEOUT_S):
        await task
    assert consumer.readiness_problem() == "stopping"


@pytest.mark.parametrize(("handled_s", "is_healthy"), [((), True), ((1.0, 70.0), True), ((70.1, 1.0), False)])
async def test_a_handler_that_outlives_its_time_and_a_margin_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, handled_s: tuple[float, ...], *, is_healthy: bool
) -> None:
    consumer = Consumer(FakeQueue(), FakeHandler(), limits(max_handle_s=60), timings=replace(QUICK, stuck_margin_s=10))
    monkeypatch.setattr(consumer, "handling_s", lambda: [*handled_s])
    assert (consumer.health_problem() is None) is is_healthy


async def test_a_stop_releases_messages_held_by_an_outage_at_once() -> None:
    queue, handler = FakeQueue(messages(5)), FakeHandler()
    for n in range(5):
        handler.when(f"m{n}", *[OutageError("down")] * 10)
    async with running(queue, handler, limits(drain_s=100), replace(QUICK, probe=RecordedBackoff(fixed_s=100))) as run:
        await until(lambda: len(handler.began) > 0)
        await turns()
    assert sorted(run.endings()) == [(f"m{n}", "message.released", "stopping") for n in range(5)]
    assert len(handler.began) < 5


async def test_messages_delivered_too_often_run_one_at_a_time_and_block_no_others() -> None:
    worn_out = [message(f"w{n}", receive_count=11) for n in range(5)]
    queue, handler, slow = FakeQueue([*worn_out, *messages(5)]), FakeHandler(), asyncio.Event()
    alone: list[str] = []

    async def give_up(message: Message) -> Acknowledged:
        alone.append(message.id)
        if len(alone) == 1:
            await slow.wait()
        return Acknowledged("given_up")

    handler.give_up = give_up  # type: ignore[method-assign]
    async with running(queue, handler, limits(concurrency=10)) as run:
        await run.until_settled(5)
        assert len(alone) == 1
        slow.set()
        await run.until_settled(10)


async def test_time_held_by_an_outage_does_not_count_as_handling_time() -> None:
    queue, handler = FakeQueue([message("m")]), FakeHandler()
    handler.when("m", *[OutageError("down")] * 30)
    async with running(queue, handler, limits(max_handle_s=0.03), replace(QUICK, probe=Backoff(0.01, 0.01))) as run:
        await run.until_settled(1)
    assert run.endings() == [("m", "message.acknowledged", "handled")]
    assert len(handler.began) == 31


OLD_RECEIPTS = pytest.mark.parametrize("accepted", [True, False], ids=["old receipts accepted", "refused"])


async def test_a_message_that_is_lost_before_its_task_begins_is_abandoned() -> None:
    queue, handler = FakeQueue([message("m")], visibility_timeout_s=0), FakeHandler()  # Lost when it arrives.
    async with running(queue, handler, limits(concurrency=1)) as run:
        await run.until_settled(1)
        queue.send(message("n"))  # It gets the slot.
        await run.until_settled(2)
    assert run.endings() == [("m", "message.abandoned", "receipt_lost"), ("n", "message.abandoned", "receipt_lost")]
    assert (handler.began, queue.changed) == ([], [])


@OLD_RECEIPTS
async def test_after_a_long_suspend_handlers_are_cancelled_and_nothing_is_given_away(*, accepted: bool) -> None:
    queue, handler, machine = FakeQueue(messages(3)), FakeHandler(), FakeClock()
    for n in range(3):
        handler.when(f"m{n}", asyncio.Event())
    async with running(queue, handler, limits(concurrency=2), PREFETCHING, now_s=machine) as run:
        await until(lambda: handler.running == 2)
        for n in range(3):
            queue.outdate(f"r-m{n}", accepted=accepted)
        machine.now_s += 61
        await run.until_settled(3)
    assert sorted(run.endings()) == [(f"m{n}", "message.abandoned", "receipt_lost") for n in range(3)]
    assert (handler.finished, queue.changed, queue.deleted) == ([], [], [])


async def test_a_handler_that_ends_right_after_a_suspend_has_its_message_deleted_or_abandoned() -> None:
    queue, handler, machine = FakeQueue(messages(2)), FakeHandler(), FakeClock()
    ended = asyncio.Event()
    handler.when("m0", ended)

    async def fail() -> Acknowledged:
        await ended.wait()
        raise ValueError("failed")

    handler.when("m1", fail)
    async with running(queue, handler, limits(), now_s=machine) as run:
        await until(lambda: handler.running == 2)
        machine.now_s += 61
        ended.set()
        await run.until_settled(2)
    assert sorted(run.endings()) == [
        ("m0", "message.acknowledged", "handled"),
        ("m1", "message.abandoned", "receipt_lost"),
    ]
    assert (queue.changed, queue.deleted) == ([], ["r-m0"])


async def test_a_message_whose_time_has_run_out_before_its_handler_is_free_is_not_handled() -> None:
    queue, handler, machine = FakeQueue(messages(2)), FakeHandler(), FakeClock()
    first = asyncio.Event()
    handler.when("m0", first)
    async with running(queue, handler, limits(concurrency=1), PREFETCHING, now_s=machine) as run:
        await until(lambda: handler.began == ["m0"])
        machine.now_s += 61
        first.set()
        await run.until_settled(2)
    assert handler.began == ["m0"]
    assert sorted(run.endings()) == [
        ("m0", "message.acknowledged", "handled"),
        ("m1", "message.abandoned", "receipt_lost"),
    ]
    assert queue.changed == []


@OLD_RECEIPTS
async def test_a_stop_after_a_long_suspend_releases_nothing(*, accepted: bool) -> None:
    queue, handler, machine = FakeQueue(messages(3), wait_s=60), FakeHandler(), FakeClock()
    for n in range(3):
        handler.when(f"m{n}", asyncio.Event())
    async with running(queue, handler, limits(concurrency=2, drain_s=0), PREFETCHING, now_s=machine) as run:
        await until(lambda: handler.running == 2 and queue.waiting == 1)
        for name in ("r-m0", "r-m1", "r-m2", "r-late"):
            queue.outdate(name, accepted=accepted)
        machine.now_s += 61
        run.signal.set()
        queue.send(message("late"))  # The answer of the running receive: SQS sent it before the suspend.
        await run.ended()
    assert sorted(run.endings()) == [(name, "message.abandoned", "receipt_lost") for name in ("late", "m0", "m1", "m2")]
    assert queue.changed == []


async def test_an_answer_that_comes_too_late_is_not_handled() -> None:
    queue, handler, machine = FakeQueue(), FakeHandler(), FakeClock()

    def suspend(received: Sequence[Message]) -> Sequence[Message]:
        machine.now_s += 61 if received else 0
        return received

    queue.on_receive = suspend
    queue.send(message("m"))
    async with running(queue, handler, limits(), now_s=machine) as run:
        await run.until_settled(1)
        queue.on_receive = lambda received: received
        queue.send(message("m", "r2"))
        await run.until_settled(2)
    assert run.endings() == [("m", "message.abandoned", "receipt_lost"), ("m", "message.acknowledged", "handled")]
    assert (handler.began, queue.changed, queue.deleted) == (["m"], [], ["r2"])


async def test_a_handled_message_that_comes_back_too_late_is_deleted_all_the_same() -> None:
    queue, handler, machine = FakeQueue([message("m")]), FakeHandler(), FakeClock()
    queue.refuse("r-m", LOST)
    async with running(queue, handler, limits(), now_s=machine) as run:
        await run.until_settled(1)

        def suspend(received: Sequence[Message]) -> Sequence[Message]:
            machine.now_s += 61 if received else 0
            return received

        queue.on_receive = suspend
        queue.send(message("m", "r2"))
        await run.until_settled(2)
    assert [outcome for *_, outcome in run.endings()] == ["receipt_lost", "duplicate"]
    assert (handler.began, queue.deleted) == (["m"], ["r-m", "r2"])


async def test_a_message_received_again_by_the_same_worker_after_a_suspend_goes_on() -> None:
    queue, handler, machine = FakeQueue([message("m")]), FakeHandler(), FakeClock()
    finish = asyncio.Event()
    handler.when("m", finish)
    queue.wait_s = 60
    async with running(queue, handler, limits(), now_s=machine) as run:
        await until(lambda: handler.running == 1 and queue.waiting == 1)
        machine.now_s += 61
        for receipt in ("early", "r2"):  # The first one was asked for before the suspend: its time has run out, too.
            asked = len(queue.limits)
            queue.send(message("m", receipt))
            await until(lambda asked=asked: len(queue.limits) > asked)  # type: ignore[misc]
        finish.set()
        await run.until_settled(1)
        run.signal.set()
        queue.end_waits()
        await run.ended()
    assert run.endings() == [("m", "message.acknowledged", "handled")]
    assert (handler.began, queue.deleted) == (["m"], ["r2"])


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Session is closed"), KeyError("Body"), asyncio.CancelledError()],
    ids=lambda error: type(error).__name__,
)
async def test_no_error_of_the_queue_ends_a_consumer(error: Any) -> None:
    """Not even one that the queue's adapter does not know; and the messages are settled afterward."""
    queue, handler = FakeQueue(messages(3), visibility_timeout_s=60), FakeHandler()
    handler.when("m1", TransientError("failed"))
    async with running(queue, handler, limits()) as run:
        await until(lambda: len(handler.finished) >= 2)
        queue.outage = error
        await until(lambda: "poll.failed" in run.events())
        queue.send(message("m9"))
        queue.outage = None
        await run.until_settled(4)
    assert {event for _, event, _ in run.endings()} == {"message.acknowledged", "message.released"}


@pytest.mark.parametrize("stage", ["delete", "poll", "downstream"])
async def test_a_prolonged_outage_of_any_stage_makes_the_consumer_unready(stage: str) -> None:
    queue, handler, metrics = FakeQueue(messages(1)), FakeHandler(), Metrics(prolonged_after_s=0.05)
    match stage:
        case "delete":
            queue.refuse("r-m0", *[REFUSED] * 10_000)
        case "poll":
            queue.outage = OutageError("down")
        case _:
            handler.when("m0", *[OutageError("down")] * 10_000)
    consumer, stop = Consumer(queue, handler, limits(), metrics, QUICK), asyncio.Event()
    task = asyncio.create_task(consumer.run(stop))
    with structlog.testing.capture_logs() as logs:
        await until(lambda: any(line["event"] == "outage.prolonged" for line in logs))
        problem = consumer.readiness_problem()
        assert problem == ("polls fail" if stage == "poll" else f"{stage} has failed for 0 s")
        assert consumer.health_problem() is None, "a restart would not help"
        line = next(line for line in logs if line["event"] == "outage.prolonged")
        assert line["stage"] == stage
        if stage == "delete":
            assert line["reason"] == "entries refused: 1 (InternalError)"
        stop.set()
        await asyncio.wait([task])
    assert metrics.outages.duration_s(stage) == 0


def test_what_a_message_and_an_outcome_are_if_nothing_else_is_said() -> None:
    assert Message(id="m", receipt_handle="r", body="{}") == Message(
        id="m", receipt_handle="r", body="{}", receive_count=1, sent_at_s=0.0, first_received_at_s=0.0, attributes={}
    )
    assert Acknowledged("fulfilled") == Acknowledged("fulfilled", used_downstream=True)


async def test_a_message_is_deleted_once_its_lines_are_written() -> None:
    queue, handler, lines = FakeQueue(messages(2)), FakeHandler(), FakeLines()
    written = lines.hold("m0")
    async with running(queue, handler, limits(), lines=lines) as run:
        await run.until_settled(1)
        await turns()
        assert queue.deleted == ["r-m1"]
        written.set_result(True)
        await run.until_settled(2)
    assert queue.deleted == ["r-m1", "r-m0"]


async def test_more_is_prefetched_once_handlers_have_turned_out_to_be_fast() -> None:
    queue, handler, slow = FakeQueue(messages(200)), FakeHandler(), asyncio.Event()
    for n in range(120, 200):
        handler.when(f"m{n}", slow)
    async with running(queue, handler, limits(concurrency=3)) as run:
        await until(lambda: len(handler.finished) == 120 and len(handler.began) == 123)
        await asyncio.sleep(5)
        assert len(run.consumer._in_flight) == 15
        slow.set()
        await run.until_settled(200)
