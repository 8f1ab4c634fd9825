import asyncio
import contextlib
from dataclasses import replace

import pytest
import structlog

from tests.workers.consumer.fakes import FakeClock, RecordedOutage
from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import AccessDeniedError, FatalError, OutageError


def tracker(timings: Timings = DEFAULT_TIMINGS) -> FailureTracker:
    return FailureTracker("poll", timings)


async def test_logs_the_first_failure_and_the_recovery() -> None:
    failures = tracker(replace(DEFAULT_TIMINGS, log_every_s=60.0))
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            failures.failed(OutageError("down"))
        failures.recovered()
        failures.recovered()
    assert [(line["event"], line["log_level"], line["failures"]) for line in logs] == [
        ("poll.failed", "warning", 1),
        ("poll.recovered", "info", 100),
    ]
    assert logs[0]["reason"] == "down"
    assert failures.failures == 0


async def test_logs_again_once_in_a_while() -> None:
    failures = tracker(replace(DEFAULT_TIMINGS, log_every_s=0.02))
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            failures.failed(OutageError("down"))
        await asyncio.sleep(0.03)
        for _ in range(3):
            failures.failed(OutageError("down"))
    assert [(line["event"], line["failures"]) for line in logs] == [("poll.failed", 1), ("poll.failed", 4)]


async def test_lasting_denied_access_is_fatal() -> None:
    failures = tracker(replace(DEFAULT_TIMINGS, access_denied_patience_s=0.02))
    failures.failed(AccessDeniedError("ReceiveMessage: access denied"))
    failures.failed(AccessDeniedError("ReceiveMessage: access denied"))
    await asyncio.sleep(0.03)
    with pytest.raises(FatalError, match=r"^ReceiveMessage: access denied$"):
        failures.failed(AccessDeniedError("ReceiveMessage: access denied"))


@pytest.mark.parametrize("between", [OutageError("down"), None])
async def test_denied_access_is_forgotten_after_another_result(between: OutageError | None) -> None:
    failures = tracker(replace(DEFAULT_TIMINGS, access_denied_patience_s=0.02))
    failures.failed(AccessDeniedError("denied"))
    await asyncio.sleep(0.03)
    if between is None:
        failures.recovered()
    else:
        failures.failed(between)
    failures.failed(AccessDeniedError("denied"))
    assert failures.failures == (1 if between is None else 3)


async def test_denied_access_is_forgotten_when_nothing_was_tried_for_long() -> None:
    """For example, the messages were lost before access was granted: a refusal days later has not lasted for days."""
    failures = tracker(replace(DEFAULT_TIMINGS, access_denied_patience_s=0.02, access_denied_fresh_s=0.04))
    failures.failed(AccessDeniedError("denied"))
    await asyncio.sleep(0.05)
    failures.failed(AccessDeniedError("denied"))
    await asyncio.sleep(0.025)
    with pytest.raises(FatalError, match=r"^denied$"):
        failures.failed(AccessDeniedError("denied"))


async def test_an_outage_is_never_fatal_however_long() -> None:
    failures = tracker(replace(DEFAULT_TIMINGS, access_denied_patience_s=0.0))
    for _ in range(5):
        failures.failed(OutageError("down"))
        await asyncio.sleep(0.001)
    assert failures.failures == 5


@pytest.fixture
async def loop_clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time of the running loop, which the test sets. Nothing may sleep meanwhile."""
    clock = FakeClock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)
    return clock


async def test_an_outage_is_logged_every_thirty_seconds(loop_clock: FakeClock) -> None:
    failures, began_s = tracker(), loop_clock.now_s
    with structlog.testing.capture_logs() as logs:
        for passed_s in (0, 29.9, 30, 59.9, 60):
            loop_clock.now_s = began_s + passed_s
            failures.failed(OutageError(f"down for {passed_s}"))
    assert [line["reason"] for line in logs] == ["down for 0", "down for 30", "down for 60"]


async def test_the_recovery_says_how_long_the_outage_lasted(loop_clock: FakeClock) -> None:
    failures = tracker()
    with structlog.testing.capture_logs() as logs:
        for passed_s in (1.5, 2.25):  # The second outage begins again.
            failures.failed(OutageError("down"))
            loop_clock.now_s += passed_s / 3
            failures.failed(OutageError("down"))
            loop_clock.now_s += passed_s * 2 / 3
            failures.recovered()
            loop_clock.now_s += 100
    recoveries = [line for line in logs if line["event"] == "poll.recovered"]
    assert [(line["duration_ms"], line["failures"]) for line in recoveries] == [(1500, 2), (2250, 2)]


@pytest.mark.parametrize(("passed_s", "fatal"), [(60.0, False), (60.1, True)])
async def test_access_may_be_denied_for_a_minute(loop_clock: FakeClock, passed_s: float, fatal: bool) -> None:
    failures = tracker()
    failures.failed(AccessDeniedError("denied"))
    loop_clock.now_s += passed_s
    with pytest.raises(FatalError) if fatal else contextlib.nullcontext():
        failures.failed(AccessDeniedError("denied"))


@pytest.mark.parametrize(("gap_s", "fatal"), [(300.0, True), (300.1, False)])
async def test_refusals_five_minutes_apart_do_not_belong_together(
    loop_clock: FakeClock, gap_s: float, fatal: bool
) -> None:
    failures = tracker()
    failures.failed(AccessDeniedError("denied"))
    loop_clock.now_s += gap_s
    with pytest.raises(FatalError) if fatal else contextlib.nullcontext():
        failures.failed(AccessDeniedError("denied"))


async def test_refusals_count_from_the_first_one_after_a_recovery(loop_clock: FakeClock) -> None:
    failures = tracker()
    for _ in range(3):
        failures.failed(AccessDeniedError("denied"))
        loop_clock.now_s += 50
        failures.recovered()
    failures.failed(AccessDeniedError("denied"))
    loop_clock.now_s += 50
    failures.failed(AccessDeniedError("denied"))
    loop_clock.now_s += 50
    with pytest.raises(FatalError):
        failures.failed(AccessDeniedError("denied"))


async def test_consecutive_failures_are_one_row_of_the_outage() -> None:
    outage = RecordedOutage()
    failures = FailureTracker("poll", outage=outage)
    failures.failed(OutageError("one"))
    failures.failed(OutageError("two"))
    failures.recovered()
    assert outage.rows == [("failed", failures, "one"), ("failed", failures, "two"), ("ended", failures, "")]


async def answer(result: object) -> object:
    if isinstance(result, BaseException):
        raise result
    return result


async def test_a_call_to_the_queue_returns_its_answer() -> None:
    assert await outages_only(answer("received")) == "received"


@pytest.mark.parametrize("error", [OutageError("down"), FatalError("gone")])
async def test_an_outage_or_a_missing_queue_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        await outages_only(answer(error))
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), "the call failed (key error)"),
        (asyncio.CancelledError(), "the call was cancelled by something else"),
    ],
)
async def test_any_other_error_of_the_queue_is_an_outage(error: BaseException, reason: str) -> None:
    with pytest.raises(OutageError) as raised:
        await outages_only(answer(error))
    assert (str(raised.value), raised.value.__cause__) == (reason, error)


async def test_a_cancelled_caller_is_cancelled() -> None:
    calling = asyncio.create_task(outages_only(asyncio.sleep(60)))
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait([calling])
    assert calling.cancelled()


async def test_an_outage_soon_after_another_is_logged_too(loop_clock: FakeClock) -> None:
    failures = tracker()
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            failures.failed(OutageError("down"))
            loop_clock.now_s += 1
            failures.recovered()
    assert [line["event"] for line in logs] == ["poll.failed", "poll.recovered"] * 2


async def test_an_outage_before_denied_access_does_not_count_as_denied(loop_clock: FakeClock) -> None:
    failures = tracker()
    failures.failed(OutageError("down"))
    loop_clock.now_s += 61
    failures.failed(AccessDeniedError("denied"))
    assert failures.failures == 2
