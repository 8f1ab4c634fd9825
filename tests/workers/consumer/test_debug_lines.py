"""At DEBUG, the consumer logs each receive, settlement and extension, and what it decides."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog

from tests.workers.consumer.fakes import (
    QUICK,
    REFUSED,
    FakeHandler,
    FakeQueue,
    RecordedBackoff,
    message,
    messages,
    running,
    turns,
    until,
)
from workers.consumer.consumer import Limits
from workers.consumer.demand import Demand
from workers.consumer.gate import Gate
from workers.errors import OutageError, SuspectedOutageError, TransientError

pytestmark = pytest.mark.usefixtures("at_debug")

LIMITS = Limits(concurrency=10, max_deliveries=10, max_handle_s=60, drain_s=5, max_polls=4, stuck_poll_s=60)
STEADY = replace(QUICK, poll_retry=RecordedBackoff(fixed_s=0.25), acknowledge_retry=RecordedBackoff(fixed_s=0.5))


def lines(logs: Sequence[Any], event: str) -> list[dict[str, Any]]:
    """Return the lines of an event without level, event and what differs from run to run."""
    left_out = {"event", "log_level", "duration_ms"}
    found = [line for line in logs if line["event"] == event]
    assert all(line["log_level"] == "debug" for line in found)
    assert all(line["duration_ms"] >= 0 for line in found if "duration_ms" in line)
    return [{name: value for name, value in line.items() if name not in left_out} for line in found]


def answering(*answers: Any) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Return a call that gives one of *answers* after the other, or raises it."""
    left = iter(answers)

    async def call() -> Any:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return call


async def test_each_receive_is_logged_with_what_it_asked_for_and_got() -> None:
    queue = FakeQueue(messages(3))
    async with running(queue, FakeHandler(), LIMITS, STEADY) as run:
        await run.until_settled(3)
        queue.outage = OutageError("ReceiveMessage: 503")
        await until(lambda: len(lines(run.logs, "retry.scheduled")) > 0)
        queue.outage = None
    received = lines(run.logs, "receive.finished")
    assert received[0] == {"asked": 10, "received": 3, "running": 0, "reason": None}
    assert {"asked": 10, "received": 0, "running": 0, "reason": "ReceiveMessage: 503"} in received
    assert len(received) == len(queue.limits)
    assert lines(run.logs, "retry.scheduled")[0] == {"stage": "poll", "delay_ms": 250}


async def test_each_batch_of_settlements_is_logged_without_ids_of_one_message() -> None:
    queue, handler = FakeQueue([message("a"), message("b"), message("c")]), FakeHandler()
    handler.when("c", TransientError("busy", retry_after_s=7))
    queue.refuse("r-b", REFUSED)
    async with running(queue, handler, LIMITS, STEADY) as run:
        await run.until_settled(3)
    refused = "entries refused: 1 (InternalError)"
    deletes = [line for line in lines(run.logs, "batch.settled") if line["stage"] == "delete"]
    assert deletes == [
        {"stage": "delete", "entries": 2, "failed": 1, "attempt": 1, "reason": refused},
        {"stage": "delete", "entries": 1, "failed": 0, "attempt": 2, "reason": None},
    ]
    assert {"stage": "delete", "delay_ms": 500} in lines(run.logs, "retry.scheduled")
    releases = [line for line in lines(run.logs, "batch.settled") if line["stage"] == "release"]
    assert releases == [{"stage": "release", "entries": 1, "failed": 0, "attempt": 1, "reason": None}]
    (requested,) = lines(run.logs, "release.requested")
    assert requested.pop("delay_s") >= 7
    assert requested == {"message_id": "c", "receive_count": 1, "outcome": "transient"}


async def test_each_extension_is_logged() -> None:
    queue, handler, slow = FakeQueue(messages(2), visibility_timeout_s=4), FakeHandler(), asyncio.Event()
    handler.when("m0", slow)
    handler.when("m1", slow)
    queue.refuse("r-m1", REFUSED)
    async with running(queue, handler, LIMITS) as run:
        await until(lambda: len(lines(run.logs, "visibility.extended")) >= 2)
        slow.set()
        await run.until_settled(2)
    assert lines(run.logs, "visibility.extended")[:2] == [
        {"entries": 2, "failed": 1, "timeout_s": 4},
        {"entries": 1, "failed": 0, "timeout_s": 4},
    ]


def test_each_change_of_the_number_of_polls_is_logged_with_its_reason() -> None:
    demand = Demand(max_polls=2)
    with structlog.testing.capture_logs() as logs:
        for received, took_s, polling in ((10, 0.01, 1), (10, 0.01, 2), (10, 0.01, 2), (3, 9.0, 2), (3, 0.01, 1)):
            demand.answered(received, took_s, polling)
        demand.answered(0, 20.0, 1)
        demand.answered(3, 0.01, 1)
        demand.shrink()
    assert lines(logs, "polls.changed") == [
        {"polls": 2, "before": 1, "reason": "messages came at once"},
        {"polls": 1, "before": 2, "reason": "messages had to be waited for"},
        {"polls": 2, "before": 1, "reason": "messages came at once"},
        {"polls": 1, "before": 2, "reason": "the queue is empty"},
        {"polls": 2, "before": 1, "reason": "messages came at once"},
        {"polls": 1, "before": 2, "reason": "a receive failed"},
    ]


@pytest.mark.parametrize(
    ("answer", "finished"),
    [
        (False, {"result": "not used"}),
        (TransientError("busy"), {"result": "failed", "reason": "TransientError"}),
    ],
)
async def test_a_probe_that_proves_nothing_or_fails_alone_is_logged(answer: Any, finished: dict[str, str]) -> None:
    gate = Gate(bool, replace(QUICK, probe=RecordedBackoff(fixed_s=0.125)))

    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(gate.run(answering(OutageError("down"), answer)), return_exceptions=True)
    assert lines(logs, "probe.finished") == [finished]


async def test_a_message_that_was_delivered_too_often_is_logged_when_its_trial_begins() -> None:
    queue = FakeQueue([message("worn", receive_count=11), message("m")])
    async with running(queue, FakeHandler(), LIMITS) as run:
        await run.until_settled(2)
    assert lines(run.logs, "trial.begun") == [{"message_id": "worn", "receive_count": 11}]


async def test_what_the_gate_decides_is_logged() -> None:
    gate = Gate(bool, replace(QUICK, probe=RecordedBackoff(fixed_s=0.125)))
    call = answering(OutageError("down"), OutageError("still down"), SuspectedOutageError("slow"), True)

    with structlog.testing.capture_logs() as logs:
        caller = asyncio.create_task(gate.run(call))
        await turns()
        receive = asyncio.create_task(gate.wait_to_receive(10))
        assert (await caller, await receive) == (True, 10)
    debug = [
        {name: value for name, value in line.items() if name != "log_level"}
        for line in logs
        if line["log_level"] == "debug"
    ]
    probe = {"event": "retry.scheduled", "stage": "probe", "delay_ms": 125}
    assert debug == [
        {"event": "gate.changed", "state": "closed", "before": "open", "reason": "down"},
        {"event": "message.held", "state": "closed", "reason": "down"},
        probe,
        {"event": "receive.held", "state": "closed", "reason": "down"},
        {"event": "probe.finished", "result": "outage", "reason": "still down"},
        probe,
        {"event": "probe.finished", "result": "outage", "reason": "slow"},
        {"event": "gate.changed", "state": "suspected", "before": "closed", "reason": "slow"},
        probe,
        {"event": "probe.finished", "result": "passed"},
        {"event": "gate.changed", "state": "open", "before": "suspected", "reason": "a probe got through"},
    ]
