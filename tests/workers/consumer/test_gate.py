import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog

from tests.workers.consumer.fakes import QUICK, TIMEOUT_S, RecordedBackoff, RecordedOutage, turns, until
from workers.backoff import Backoff
from workers.consumer.gate import Gate
from workers.consumer.timings import Timings
from workers.errors import AccessDeniedError, FatalError, OutageError, SuspectedOutageError, TransientError
from workers.metrics import Metrics


def quick_gate(used_downstream: Callable[[Any], bool] = lambda _: True, timings: Timings = QUICK) -> Gate:
    return Gate(used_downstream, timings)


class Downstream:
    """A service that every message needs. Counts its calls, and how many run at once."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0

    def call(self, result: str) -> Callable[[], Awaitable[str]]:
        async def called() -> str:
            self.calls += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                await asyncio.sleep(0.001)
                if self.error is not None:
                    raise self.error
                return result
            finally:
                self.at_once -= 1

        return called


async def held(gate: Gate, downstream: Downstream, count: int) -> list[asyncio.Task[str]]:
    """Return *count* callers that an outage holds."""
    downstream.error = OutageError("down")
    callers = [asyncio.create_task(gate.run(downstream.call(str(n)))) for n in range(count)]
    await until(lambda: downstream.calls > count)
    return callers


async def finished(callers: list[asyncio.Task[str]]) -> list[str]:
    async with asyncio.timeout(TIMEOUT_S):
        return await asyncio.gather(*callers)


async def test_open_it_runs_all_calls_at_once() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = [asyncio.create_task(gate.run(downstream.call(str(n)))) for n in range(5)]
    assert await finished(callers) == ["0", "1", "2", "3", "4"]
    assert downstream.most_at_once == 5
    assert gate.is_open
    assert await gate.wait_to_receive(10) == 10


async def test_other_errors_leave_it_open() -> None:
    gate, downstream = quick_gate(), Downstream()
    downstream.error = TransientError("busy")
    with pytest.raises(TransientError):
        await gate.run(downstream.call("x"))
    assert gate.is_open
    assert downstream.calls == 1


async def test_an_outage_closes_it_and_stops_receiving() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = await held(gate, downstream, 3)
    receiving = asyncio.create_task(gate.wait_to_receive(10))
    await turns()
    assert not gate.is_open
    assert not receiving.done()
    downstream.error = None
    assert await finished(callers) == ["0", "1", "2"]
    assert await receiving == 10


async def test_one_held_message_at_a_time_probes() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = await held(gate, downstream, 10)
    await until(lambda: downstream.at_once == 0)
    downstream.most_at_once = 0
    probed = downstream.calls
    await until(lambda: downstream.calls > probed + 5)
    assert downstream.most_at_once == 1
    downstream.error = None
    assert len(await finished(callers)) == 10


async def test_all_callers_resume_at_once_when_a_probe_succeeds() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = await held(gate, downstream, 10)
    downstream.error = None
    await finished(callers)
    assert gate.is_open
    assert downstream.most_at_once >= 9


async def test_simultaneous_failures_count_once_so_the_first_probe_comes_soon() -> None:
    backoff = RecordedBackoff()
    gate, downstream = quick_gate(timings=replace(QUICK, probe=backoff)), Downstream()
    callers = await held(gate, downstream, 50)
    await until(lambda: downstream.calls > 53)
    downstream.error = None
    await finished(callers)
    assert backoff.attempts[:3] == [1, 2, 3]


async def test_a_probe_that_fails_for_its_own_reasons_opens_it() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = await held(gate, downstream, 2)
    downstream.error = TransientError("busy")
    async with asyncio.timeout(TIMEOUT_S):
        results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [TransientError, TransientError]
    assert gate.is_open


async def test_a_probe_that_did_not_use_the_downstream_leaves_it_closed() -> None:
    gate, downstream = quick_gate(used_downstream=lambda result: result != "0"), Downstream()
    first, *others = await held(gate, downstream, 3)
    downstream.error = None
    assert await finished([first]) == ["0"]
    assert not gate.is_open
    assert await finished(others) == ["1", "2"]
    assert gate.is_open


async def test_one_message_is_received_after_all_probes_proved_nothing() -> None:
    gate, downstream = quick_gate(used_downstream=lambda _: False), Downstream()
    callers = await held(gate, downstream, 2)
    downstream.error = None
    await finished(callers)
    assert not gate.is_open
    async with asyncio.timeout(TIMEOUT_S):
        assert await gate.wait_to_receive(10) == 1


async def test_one_message_is_received_when_no_caller_is_held() -> None:
    gate, downstream = quick_gate(), Downstream()
    (caller,) = await held(gate, downstream, 1)
    caller.cancel()
    await asyncio.wait([caller])
    assert not gate.is_open
    assert await gate.wait_to_receive(10) == 1
    downstream.error = None
    assert await gate.run(downstream.call("probe")) == "probe"
    assert gate.is_open


async def test_another_caller_probes_when_the_probing_one_is_cancelled() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, probe=Backoff(0.02, 0.02))), Downstream()
    callers = await held(gate, downstream, 3)
    downstream.error = None
    callers[0].cancel()
    assert await finished(callers[1:]) == ["1", "2"]
    assert callers[0].cancelled()
    assert gate.is_open


async def test_lasting_denied_access_ends_it() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, access_denied_patience_s=0.02)), Downstream()
    downstream.error = AccessDeniedError("UpdateItem: access denied")
    async with asyncio.timeout(TIMEOUT_S):
        with pytest.raises(FatalError, match=r"^UpdateItem: access denied$"):
            await gate.run(downstream.call("x"))


async def test_an_outage_logs_one_failure_and_one_recovery() -> None:
    gate, downstream = quick_gate(), Downstream()
    with structlog.testing.capture_logs() as logs:
        callers = await held(gate, downstream, 10)
        downstream.error = None
        await finished(callers)
    assert [line["event"] for line in logs] == ["downstream.failed", "downstream.recovered"]


async def test_probes_respect_retry_after() -> None:
    gate, downstream = quick_gate(), Downstream()
    downstream.error = OutageError("down", retry_after_s=0.2)
    began_s = asyncio.get_running_loop().time()
    callers = [asyncio.create_task(gate.run(downstream.call(str(n)))) for n in range(3)]
    await until(lambda: downstream.calls == 3 and downstream.at_once == 0)
    downstream.error = None
    assert await finished(callers) == ["0", "1", "2"]
    assert asyncio.get_running_loop().time() - began_s >= 0.2


async def test_the_longest_retry_after_counts() -> None:
    gate, both = quick_gate(), asyncio.Event()
    errors = [OutageError("down", retry_after_s=0.2), OutageError("down", retry_after_s=0.1)]
    began_s = asyncio.get_running_loop().time()

    async def call() -> str:
        if errors:
            error = errors.pop(0)
            await both.wait()
            raise error
        return "done"

    first, second = [asyncio.create_task(gate.run(call)) for _ in errors]
    await turns()
    both.set()
    await turns()
    first.cancel()  # Now the second one probes.
    assert await finished([second]) == ["done"]
    assert asyncio.get_running_loop().time() - began_s >= 0.2


async def test_a_suspected_outage_receives_one_message_now_and_then() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, suspected_receive_interval_s=0.02)), Downstream()
    downstream.error = SuspectedOutageError("three in a row")

    async def unlucky() -> str:
        raise downstream.error or TransientError("mine alone")

    callers = [asyncio.create_task(gate.run(unlucky)) for _ in range(3)]
    await until(lambda: not gate.is_open)
    async with asyncio.timeout(TIMEOUT_S):
        assert await gate.wait_to_receive(10) == 1

    async def lucky() -> str:
        return "shipped"

    async with asyncio.timeout(TIMEOUT_S):
        assert await gate.run(lucky) == "shipped"
    assert gate.is_open
    downstream.error = None
    async with asyncio.timeout(TIMEOUT_S):
        ends = await asyncio.gather(*callers, return_exceptions=True)
    assert [str(end) for end in ends] == ["mine alone"] * 3


@pytest.mark.parametrize(
    ("first", "then", "received"),
    [
        (OutageError("down"), SuspectedOutageError("three in a row"), True),
        (SuspectedOutageError("three in a row"), OutageError("down"), False),
    ],
)
async def test_the_last_probe_decides_whether_an_outage_is_only_suspected(
    first: OutageError, then: OutageError, *, received: bool
) -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, suspected_receive_interval_s=0.01)), Downstream()
    downstream.error = first
    caller = asyncio.create_task(gate.run(downstream.call("0")))
    await until(lambda: downstream.calls > 1)
    downstream.error = then
    probed = downstream.calls
    await until(lambda: downstream.calls > probed + 1)
    receiving = asyncio.create_task(gate.wait_to_receive(10))
    await asyncio.wait([receiving], timeout=0.1)
    assert receiving.done() is received
    downstream.error = None
    assert await finished([caller]) == ["0"]
    async with asyncio.timeout(TIMEOUT_S):
        assert await receiving == (1 if received else 10)


async def test_an_outage_that_is_certain_receives_nothing() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, suspected_receive_interval_s=0.01)), Downstream()
    callers = await held(gate, downstream, 2)
    receiving = asyncio.create_task(gate.wait_to_receive(10))
    await asyncio.sleep(0.1)
    assert not receiving.done()
    downstream.error = None
    await finished(callers)
    assert await receiving == 10


async def test_callers_that_the_outage_has_not_hit_do_not_probe() -> None:
    timings = replace(QUICK, probe=Backoff(0.005, 0.005))
    gate, downstream, healthy = quick_gate(timings=timings), Downstream(), Downstream()
    callers = await held(gate, downstream, 1)
    callers += [asyncio.create_task(gate.run(healthy.call(str(n)))) for n in range(1, 4)]
    probes = downstream.calls
    await until(lambda: downstream.calls > probes + 3)
    assert (healthy.calls, gate.is_open) == (0, False)
    downstream.error = None
    assert await finished(callers) == ["0", "1", "2", "3"]


async def test_an_unaffected_caller_probes_once_no_affected_one_is_left() -> None:
    gate, downstream, healthy = quick_gate(), Downstream(), Downstream()
    callers = await held(gate, downstream, 1)
    other = asyncio.create_task(gate.run(healthy.call("other")))
    await turns()
    callers[0].cancel()
    assert await finished([other]) == ["other"]
    assert gate.is_open


async def test_a_caller_that_always_fails_holds_up_no_other_and_becomes_loud() -> None:
    """An unknown code about a single message: it is held for good, the others pass, and the outage is reported."""
    metrics = Metrics(prolonged_after_s=0.05, prolonged_every_s=0.05)
    timings = replace(QUICK, probe=RecordedBackoff(0.001, 1.0))
    gate = Gate(timings=timings, outage=metrics.outages.stage("downstream"))
    alone = Downstream()
    alone.error = SuspectedOutageError("GetItem: CodeOfTomorrow")
    with structlog.testing.capture_logs() as logs:
        caller = asyncio.create_task(gate.run(alone.call("never")))
        passed = 0
        while passed < 200 or not any(line["event"] == "outage.prolonged" for line in logs):
            async with asyncio.timeout(TIMEOUT_S):
                assert await gate.run(Downstream().call("ok")) == "ok"
            passed += 1
    assert alone.calls < passed / 5, "it waits longer each time"
    line = next(line for line in logs if line["event"] == "outage.prolonged")
    assert (line["stage"], line["reason"], line["log_level"]) == ("downstream", "GetItem: CodeOfTomorrow", "error")
    alone.error = None
    assert await finished([caller]) == ["never"]
    assert metrics.outages.problem() is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_cancelled_callers_leave_room_for_the_next_message(order: tuple[int, int]) -> None:
    gate, downstream = quick_gate(), Downstream()
    both = await held(gate, downstream, 1)
    both.append(asyncio.create_task(gate.run(Downstream().call("unaffected"))))
    await turns()
    for which in order:
        both[which].cancel()
    await asyncio.wait(both)
    async with asyncio.timeout(1):
        assert await gate.wait_to_receive(10) == 1


async def test_all_callers_that_wait_are_cancelled_at_a_stop() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, probe=RecordedBackoff(fixed_s=60))), Downstream()
    downstream.error = OutageError("down")
    callers = [asyncio.create_task(gate.run(downstream.call(str(n)))) for n in range(3)]
    await until(lambda: downstream.calls == 3 and downstream.at_once == 0)
    callers.append(asyncio.create_task(gate.run(Downstream().call("unaffected"))))
    await turns()
    gate.cancel_waiters()
    await asyncio.wait(callers, timeout=TIMEOUT_S)
    assert [caller.cancelled() for caller in callers] == [True] * 4


async def test_a_caller_that_would_wait_after_the_stop_is_cancelled_too() -> None:
    gate, downstream = quick_gate(), Downstream()
    callers = await held(gate, downstream, 1)
    gate.cancel_waiters()
    late = asyncio.create_task(gate.run(Downstream().call("late")))
    await asyncio.wait([late, *callers], timeout=TIMEOUT_S)
    assert late.cancelled()


async def test_a_running_call_goes_on_during_a_stop() -> None:
    gate, release = quick_gate(), asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "done"

    running = asyncio.create_task(gate.run(work))
    await turns()
    gate.cancel_waiters()
    release.set()
    assert await running == "done"
    assert await gate.run(work) == "done", "an open gate lets calls run during a stop"


async def test_a_running_probe_goes_on_during_a_stop() -> None:
    gate, release, calls = quick_gate(), asyncio.Event(), 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OutageError("down")
        await release.wait()
        return "done"

    running = asyncio.create_task(gate.run(work))
    await until(lambda: calls == 2)
    gate.cancel_waiters()
    release.set()
    assert await running == "done"


async def test_probes_respect_the_retry_after_of_a_probe() -> None:
    gate, downstream = quick_gate(), Downstream()
    (caller,) = await held(gate, downstream, 1)
    downstream.error = OutageError("down", retry_after_s=0.2)
    probed = downstream.calls
    await until(lambda: downstream.calls > probed and downstream.at_once == 0)
    began_s = asyncio.get_running_loop().time()
    downstream.error = None
    assert await finished([caller]) == ["0"]
    assert asyncio.get_running_loop().time() - began_s >= 0.15


async def test_waits_before_probes_grow_until_the_gate_opens() -> None:
    backoff = RecordedBackoff()
    gate, downstream = quick_gate(timings=replace(QUICK, probe=backoff)), Downstream()
    for _ in range(2):  # The second outage begins with a short wait again.
        (caller,) = await held(gate, downstream, 1)
        await until(lambda: downstream.calls >= 4 and downstream.at_once == 0)
        downstream.error = None
        assert await finished([caller]) == ["0"]
        assert backoff.attempts[:3] == [1, 2, 3]
        backoff.attempts.clear()
        downstream.calls = 0


async def test_each_held_caller_is_one_row_of_the_outage() -> None:
    outage = RecordedOutage()
    gate, downstream = Gate(timings=QUICK, outage=outage), Downstream()
    callers = await held(gate, downstream, 2)
    await until(lambda: sum(row[0] == "failed" for row in outage.rows) >= 4)
    downstream.error = None
    await finished(callers)
    keys = {key for _, key, _ in outage.rows}
    assert len(keys) == 2
    for held_key in keys:
        row = [(event, reason) for event, key, reason in outage.rows if key is held_key]
        assert (row[0], row[-1], len(row) >= 2) == (("failed", "down"), ("ended", ""), True)
    assert [event for event, _, _ in outage.rows].count("ended") == 2


async def test_an_open_gate_makes_no_outage() -> None:
    outage = RecordedOutage()
    gate = Gate(timings=QUICK, outage=outage)
    assert await gate.run(Downstream().call("ok")) == "ok"
    assert outage.rows == []


async def test_by_default_every_result_shows_that_the_outage_is_over() -> None:
    gate, downstream = Gate(timings=QUICK), Downstream()
    (caller,) = await held(gate, downstream, 1)
    downstream.error = None
    await finished([caller])
    assert gate.is_open


async def test_only_probes_wait_when_the_outage_ends() -> None:
    backoff = RecordedBackoff()
    gate, downstream = quick_gate(timings=replace(QUICK, probe=backoff)), Downstream()
    callers = await held(gate, downstream, 10)
    downstream.error = None
    await finished(callers)
    first_calls = resumed_calls = 10
    assert len(backoff.attempts) == downstream.calls - first_calls - (resumed_calls - 1)


@dataclass(frozen=True)
class WaitsWhileOpen(Backoff):
    """Probes wait shortly; callers that failed although the gate was open wait `base_s`. Records the latter waits."""

    gates: list[Gate] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)

    def wait_s(self, attempt: int) -> float:
        if not self.gates[0].is_open:
            return 0.001
        self.attempts.append(attempt)
        return self.base_s


async def failing_alone(backoff: WaitsWhileOpen, until_waits: int) -> tuple[Gate, asyncio.Task[str]]:
    """Return a gate whose only held caller fails alone, after it has waited that often."""
    gate, alone = quick_gate(timings=replace(QUICK, probe=backoff)), Downstream()
    backoff.gates.append(gate)
    alone.error = SuspectedOutageError("mine alone")
    caller = asyncio.create_task(gate.run(alone.call("never")))
    async with asyncio.timeout(TIMEOUT_S):
        while len(backoff.attempts) < until_waits:
            assert await gate.run(Downstream().call("ok")) == "ok"
    return gate, caller


async def test_a_caller_that_fails_alone_waits_longer_each_time() -> None:
    backoff = WaitsWhileOpen(0.001, 0.001)
    _, caller = await failing_alone(backoff, 3)
    assert backoff.attempts[:3] == [1, 2, 3]
    caller.cancel()
    await asyncio.wait([caller])


async def test_a_caller_that_waits_because_it_failed_alone_is_cancelled_at_a_stop() -> None:
    gate, caller = await failing_alone(WaitsWhileOpen(60, 60), 1)
    gate.cancel_waiters()
    await asyncio.wait([caller], timeout=1)
    assert caller.cancelled()


async def test_callers_that_wait_are_cancelled_at_a_stop_although_a_probe_runs_on() -> None:
    gate, release, calls = quick_gate(), asyncio.Event(), 0

    async def probe() -> str:
        nonlocal calls
        calls += 1
        if calls <= 2:
            await asyncio.sleep(0)
            raise OutageError("down")
        await release.wait()
        return "done"

    held_callers = [asyncio.create_task(gate.run(probe)) for _ in range(2)]
    await until(lambda: calls == 3)
    unaffected = asyncio.create_task(gate.run(Downstream().call("unaffected")))
    await turns()
    gate.cancel_waiters()
    await asyncio.wait([*held_callers, unaffected], timeout=0.1)
    assert [caller.cancelled() for caller in (*held_callers, unaffected)] == [False, True, True]
    release.set()
    assert await held_callers[0] == "done"


async def test_messages_are_received_again_although_a_resumed_call_takes_long() -> None:
    gate, downstream, release = quick_gate(), Downstream(), asyncio.Event()

    async def slow() -> str:
        if downstream.error is not None:
            raise downstream.error
        if gate.is_open:  # Resumed, not a probe.
            await release.wait()
        return "slow"

    downstream.error = OutageError("down")
    callers = [asyncio.create_task(gate.run(slow)) for _ in range(2)]
    await until(lambda: not gate.is_open)
    receiving = asyncio.create_task(gate.wait_to_receive(10))
    unaffected = asyncio.create_task(gate.run(Downstream().call("unaffected")))
    await turns()
    downstream.error = None
    done, _ = await asyncio.wait([receiving, unaffected], timeout=1)
    assert done == {receiving, unaffected}
    assert not all(caller.done() for caller in callers)
    release.set()
    assert await finished(callers) == ["slow", "slow"]


async def test_a_held_caller_is_a_row_of_the_outage_before_it_probes() -> None:
    outage, downstream = RecordedOutage(), Downstream()
    gate = Gate(timings=replace(QUICK, probe=RecordedBackoff(fixed_s=60)), outage=outage)
    downstream.error = OutageError("down")
    caller = asyncio.create_task(gate.run(downstream.call("0")))
    await until(lambda: not gate.is_open)
    assert [(event, reason) for event, _, reason in outage.rows] == [("failed", "down")]
    caller.cancel()
    await asyncio.wait([caller])
    assert [event for event, _, _ in outage.rows] == ["failed", "ended"]


@pytest.mark.usefixtures("at_debug")
async def test_each_change_of_the_gate_and_each_wait_has_a_log_line() -> None:
    gate, downstream = quick_gate(timings=replace(QUICK, probe=RecordedBackoff(fixed_s=2.0))), Downstream()
    downstream.error = OutageError("down")
    with structlog.testing.capture_logs() as logs:
        caller = asyncio.create_task(gate.run(downstream.call("0")))
        await until(lambda: not gate.is_open)
        downstream.error = None
        assert await finished([caller]) == ["0"]
    assert [line for line in logs if line["event"] in ("gate.changed", "retry.scheduled")] == [
        {"event": "gate.changed", "state": "closed", "before": "open", "reason": "down", "log_level": "debug"},
        {"event": "retry.scheduled", "stage": "probe", "delay_ms": 2000, "log_level": "debug"},
        {
            "event": "gate.changed",
            "state": "open",
            "before": "closed",
            "reason": "a probe got through",
            "log_level": "debug",
        },
    ]
