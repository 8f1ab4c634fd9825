"""What the consumer does while the log's output is slow, full or closed."""

import asyncio

import pytest

from tests.workers.consumer.fakes import (
    QUICK,
    FakeHandler,
    FakeLines,
    FakeQueue,
    limits,
    message,
    running,
    turns,
    until,
)
from workers.consumer.consumer import Consumer
from workers.consumer.message import DeadLettered
from workers.consumer.output import OUTPUT_FULL, Output
from workers.metrics import Metrics


async def test_nothing_is_received_while_the_output_is_full() -> None:
    queue, handler, lines = FakeQueue(), FakeHandler(), FakeLines()
    lines.room.clear()
    queue.send(message("a"))
    async with running(queue, handler, limits(), lines=lines) as run:
        await asyncio.sleep(0.05)
        assert (queue.limits, handler.began) == ([], [])
        lines.room.set()
        await run.until_settled(1)


async def test_an_output_that_becomes_full_stops_the_next_receive() -> None:
    queue, handler, lines = FakeQueue([message("a")]), FakeHandler(), FakeLines()
    async with running(queue, handler, limits(), lines=lines) as run:
        await run.until_settled(1)
        lines.room.clear()
        queue.end_waits()
        await until(lambda: queue.receiving == 0)
        received = len(queue.limits)
        queue.send(message("b"))
        await asyncio.sleep(0.05)
        assert len(queue.limits) == received
        lines.room.set()
        await run.until_settled(2)


async def test_messages_in_flight_are_handled_while_the_output_is_full() -> None:
    queue, handler, lines = FakeQueue([message("a")]), FakeHandler(), FakeLines()
    allowed = asyncio.Event()
    handler.when("a", allowed)
    async with running(queue, handler, limits(), lines=lines) as run:
        await until(lambda: handler.began == ["a"])
        lines.room.clear()
        allowed.set()
        await run.until_settled(1)
    assert queue.deleted == ["r-a"]


@pytest.mark.parametrize("is_dead_letter", [False, True])
async def test_a_message_is_acknowledged_only_after_its_lines_are_written(is_dead_letter: bool) -> None:
    queue, handler, lines = FakeQueue([message("a"), message("b")]), FakeHandler(), FakeLines()
    if is_dead_letter:
        handler.when("a", DeadLettered("undecodable"))
    async with running(queue, handler, limits(), lines=lines) as run:
        written = lines.hold("a")
        await run.until_settled(1)  # The other message does not wait.
        await turns()
        assert (handler.finished, queue.deleted) == (["a", "b"], ["r-b"])
        written.set_result(True)
        await run.until_settled(2)
    assert queue.deleted == ["r-b", "r-a"]


async def test_a_message_that_waits_for_its_lines_stays_invisible() -> None:
    queue, handler, lines = FakeQueue([message("a")], visibility_timeout_s=1), FakeHandler(), FakeLines()
    async with running(queue, handler, limits(), lines=lines) as run:
        written = lines.hold("a")
        await until(lambda: len(queue.changed) >= 2)
        assert set(queue.changed) == {("r-a", 1)}
        written.set_result(True)
        await run.until_settled(1)


async def test_a_message_whose_lines_are_never_written_is_released() -> None:
    queue, handler, lines = FakeQueue([message("a")]), FakeHandler(), FakeLines()
    async with running(queue, handler, limits(), lines=lines) as run:
        lines.hold("a").set_result(False)
        await run.until_settled(1)
        run.signal.set()
    assert (queue.deleted, run.endings()[0]) == ([], ("a", "message.released", "stopping"))


async def test_a_failed_message_is_released_without_waiting_for_its_lines() -> None:
    queue, handler, lines = FakeQueue([message("a")]), FakeHandler(), FakeLines()
    handler.when("a", ValueError("broken"))
    async with running(queue, handler, limits(), lines=lines) as run:
        lines.hold("a")
        await run.until_settled(1)
    assert run.endings() == [("a", "message.released", "unexpected_error")]


async def test_a_stop_gives_a_message_back_whose_lines_are_not_written_in_time() -> None:
    queue, handler, lines = FakeQueue([message("a")]), FakeHandler(), FakeLines()
    async with running(queue, handler, limits(drain_s=0.01), lines=lines) as run:
        lines.hold("a")
        await until(lambda: handler.finished == ["a"])
        await run.stop()
    assert run.endings() == [("a", "message.released", "stopping")]


async def test_a_full_output_is_healthy_but_not_ready_and_an_outage() -> None:
    queue, lines, metrics = FakeQueue(), FakeLines(), Metrics(prolonged_after_s=0)
    consumer = Consumer(queue, FakeHandler(), limits(), metrics, QUICK, lines=lines)
    stop = asyncio.Event()
    lines.room.clear()
    task = asyncio.create_task(consumer.run(stop))
    await until(lambda: metrics.outages.duration_s("log_output") > 0)
    assert (consumer.health_problem(), consumer.readiness_problem()) == (None, OUTPUT_FULL)
    lines.room.set()
    await until(lambda: bool(queue.limits))
    assert (consumer.readiness_problem(), metrics.outages.duration_s("log_output")) == (None, 0)
    stop.set()
    await task


async def test_messages_that_wait_for_their_lines_are_an_outage_although_the_output_is_not_full() -> None:
    queue, handler, lines = FakeQueue([message("a"), message("b")]), FakeHandler(), FakeLines()
    metrics = Metrics(prolonged_after_s=0)
    consumer = Consumer(queue, handler, limits(), metrics, QUICK, lines=lines)
    stop = asyncio.Event()
    first, second = lines.hold("a"), lines.hold("b")
    task = asyncio.create_task(consumer.run(stop))
    await until(lambda: metrics.outages.duration_s("log_output") > 0)
    assert consumer.health_problem() is None
    assert str(consumer.readiness_problem()).startswith("log_output has failed for ")
    first.set_result(True)
    await until(lambda: queue.deleted == ["r-a"])
    assert metrics.outages.duration_s("log_output") > 0
    second.set_result(True)
    await until(lambda: len(queue.deleted) == 2)
    assert (consumer.readiness_problem(), metrics.outages.duration_s("log_output")) == (None, 0)
    stop.set()
    await task


async def test_only_an_output_that_is_full_is_waited_for() -> None:
    lines, outage = FakeLines(), Metrics().outages.stage("log_output")
    output = Output(lines, outage)
    await output.wait_for_room()  # Nothing is awaited.
    lines.room.clear()
    waiting = asyncio.create_task(output.wait_for_room())
    await turns()
    assert (waiting.done(), outage.reason) == (False, OUTPUT_FULL)
    lines.room.set()
    await waiting
    assert outage.reason is None
    await Output().wait_for_room()
