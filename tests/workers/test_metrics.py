"""An outage that lasts: its log lines, its gauge, and what ends it."""

import asyncio
import math
from collections.abc import Callable
from contextvars import Context
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from workers import metrics as metrics_module
from workers.metrics import Metrics, StageOutage

QUICK: dict[str, Any] = {"prolonged_after_s": 0.03, "prolonged_every_s": 0.02}


def value(metrics: Metrics, stage: str) -> float | None:
    return metrics.registry.get_sample_value("workers_outage_seconds", {"stage": stage})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - any condition, so there is no event to wait for.
            await asyncio.sleep(0.002)


async def test_an_outage_that_lasts_is_logged_again_and_again_until_it_ends() -> None:
    metrics = Metrics(**QUICK)
    outage = metrics.outages.stage("poll")
    with structlog.testing.capture_logs() as logs:
        outage.failed("ReceiveMessage: CodeOfTomorrow")
        assert (logs, metrics.outages.problem()) == ([], None)
        await until(lambda: len(logs) >= 3)
        assert metrics.outages.problem() == "poll has failed for 0 s"
        assert 0.03 <= (value(metrics, "poll") or 0) < 5
        outage.ended()
        logged = len(logs)
        await asyncio.sleep(0.05)
    assert len(logs) == logged
    assert (value(metrics, "poll"), metrics.outages.problem()) == (0, None)
    for line in logs:
        assert line["duration_ms"] >= 30
        assert {**line, "duration_ms": 0} == {
            "event": "outage.prolonged",
            "log_level": "error",
            "stage": "poll",
            "reason": "ReceiveMessage: CodeOfTomorrow",
            "duration_ms": 0,
        }


async def test_a_short_outage_is_not_logged() -> None:
    outage = Metrics(prolonged_after_s=0.4, prolonged_every_s=0.01).outages.stage("poll")
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            outage.failed("down")
            await asyncio.sleep(0.1)
            outage.ended()
    assert logs == []


async def test_an_outage_is_as_old_as_its_oldest_row() -> None:
    """A batch that fails for ever is noticed although others of the stage succeed."""
    metrics = Metrics(**QUICK)
    outage = metrics.outages.stage("delete")
    outage.failed("refused", "one")
    with structlog.testing.capture_logs() as logs:
        for key in range(1000):
            outage.failed("other", key)
            outage.ended(key)
            await asyncio.sleep(0.001)
            if logs:
                break
    assert logs[0]["reason"] == "refused"


async def test_an_outage_that_is_no_longer_tried_is_over() -> None:
    metrics = Metrics(**QUICK)
    outage = metrics.outages.stage("channel", fresh_s=0.01, channel="pager")
    with structlog.testing.capture_logs() as logs:
        outage.failed("down")
        await asyncio.sleep(0.06)
        assert (logs, value(metrics, "channel"), metrics.outages.problem()) == ([], 0, None)
        for _ in range(1000):
            outage.failed("down")
            await asyncio.sleep(0.002)
            if logs:
                break
    assert logs[0]["channel"] == "pager"


async def test_a_failure_that_is_followed_by_no_other_try_does_not_last() -> None:
    """Another worker may have sent the notification long ago: one failure proves no outage of five minutes."""
    metrics = Metrics(**QUICK)
    outage = metrics.outages.stage("channel", fresh_s=60, channel="pager")
    with structlog.testing.capture_logs() as logs:
        outage.failed("down", "one")
        await asyncio.sleep(0.1)
        assert (logs, value(metrics, "channel"), metrics.outages.problem()) == ([], 0, None)
        outage.failed("down", "other")
        await asyncio.sleep(0.04)
        outage.failed("still down", "other")
        await until(lambda: bool(logs))
        assert metrics.outages.problem() == "channel has failed for 0 s"
    assert (logs[0]["reason"], logs[0]["duration_ms"] >= 40) == ("still down", True)


class Timers:
    """The event loop of an outage: its time, which the test sets, and the timer it waits for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.set: list[float] = []  # When each timer is due.
        self.cancelled = 0
        monkeypatch.setattr(metrics_module, "asyncio", SimpleNamespace(get_running_loop=lambda: self))

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, _report: Callable[[], None], *, context: Context) -> "Timers":
        assert context is not None
        self.set.append(self.now_s + delay_s)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def ring(self, outage: StageOutage) -> float:
        """Let the timer ring, when it is due; return when the next one is."""
        self.now_s = self.set[-1]
        outage._report()
        return self.set[-1]


def test_an_outage_is_logged_after_five_minutes_and_then_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    outage = Metrics().outages.stage("poll")
    with structlog.testing.capture_logs() as logs:
        outage.failed("first")
        timers.now_s += 200
        outage.failed("second")
        assert timers.set == [1300.0], "one timer, from the first failure"
        timers.now_s = 1299.0
        assert (outage.is_prolonged, outage.duration_s) == (False, 299.0)
        outage._report()  # As if the timer had come early.
        assert (timers.set[-1], logs) == (1300.0, [])
        assert timers.ring(outage) == 1360.0
        assert (outage.is_prolonged, outage.duration_s) == (True, 300.0)
        assert timers.ring(outage) == 1420.0
        outage.ended()
        outage.ended()
    assert (timers.cancelled, outage.is_prolonged, outage.duration_s, outage.reason) == (1, False, 0, None)
    assert [(line["duration_ms"], line["reason"]) for line in logs] == [(300_000, "second"), (360_000, "second")]
    outage.failed("again")
    assert timers.set[-1] == timers.now_s + 300


def test_a_row_that_is_not_tried_lasts_until_its_last_failure_and_is_soon_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = Timers(monkeypatch)
    outage = Metrics().outages.stage("channel", fresh_s=100.0)
    with structlog.testing.capture_logs() as logs:
        outage.failed("down")
        timers.now_s += 100
        assert (outage.duration_s, outage.reason) == (0, "down")
        outage.failed("still down")
        timers.now_s += 100
        assert (outage.duration_s, outage.reason) == (100, "still down")
        assert timers.ring(outage) == 1360.0, "it looks again in a minute at the latest"
        assert (outage.duration_s, outage.reason) == (0, None)
        outage.failed("down again")
        assert (outage.duration_s, outage.reason) == (0, "down again")
    assert logs == []


def test_of_two_outages_that_are_as_long_the_first_part_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, outages = Timers(monkeypatch), Metrics(mask=str.upper).outages
    for reason in ("one", "other"):
        outages.stage("poll").failed(reason)
    timers.now_s += 10
    assert outages.reasons() == {"poll": "ONE"}
    assert [outages.duration_s(name) for name in ("poll", "no stage")] == [10, 0]


def test_a_worker_shows_when_it_began_and_when_sqs_last_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    metrics = Metrics()
    assert metrics.registry.get_sample_value("workers_start_timestamp_seconds") == 1_000
    assert math.isnan(metrics.registry.get_sample_value("workers_last_poll_timestamp_seconds") or 0)
    metrics.polled()
    assert metrics.registry.get_sample_value("workers_last_poll_timestamp_seconds") == 1_000


async def test_stages_of_one_name_share_the_longest_duration() -> None:
    metrics = Metrics()
    first, second = metrics.outages.stage("channel"), metrics.outages.stage("channel")
    first.failed("down")
    await asyncio.sleep(0.01)
    second.failed("down")
    assert (value(metrics, "channel") or 0) >= 0.01
    first.ended()
    assert 0 < (value(metrics, "channel") or 0) < 0.01


def test_without_an_outage_every_stage_reports_zero() -> None:
    metrics = Metrics()
    metrics.outages.stage("poll")
    assert value(metrics, "poll") == 0


async def test_a_worker_shows_how_many_tasks_it_has() -> None:
    metrics = Metrics()
    metrics.count_tasks(asyncio.get_running_loop())
    before = metrics.registry.get_sample_value("workers_tasks")
    task = asyncio.ensure_future(asyncio.Event().wait())
    assert before == len(asyncio.all_tasks()) - 1
    assert metrics.registry.get_sample_value("workers_tasks") == before + 1
    task.cancel()


def test_ages_and_durations_are_counted_from_milliseconds_to_days() -> None:
    metrics = Metrics()
    bounds: dict[str, list[float]] = {}
    for name in ("workers_handle_seconds", "workers_message_age_seconds"):
        (family,) = (family for family in metrics.registry.collect() if family.name == name)
        bounds[name] = [float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels]
    day = 24 * 3600
    assert bounds == {
        "workers_handle_seconds": [
            *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, float("inf"))
        ],
        "workers_message_age_seconds": [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, day, 10 * day, float("inf")],
    }


async def test_of_several_parts_of_a_stage_the_longest_outage_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, outages = asyncio.get_running_loop(), Metrics().outages
    now_s = loop.time()
    first, second, other = outages.stage("poll"), outages.stage("poll"), outages.stage("delete")
    assert (first.reason, outages.reasons()) == (None, {})
    with monkeypatch.context() as patched:
        for seconds, stage, reason in (
            (-20, second, "the longest"),
            (-10, first, "the second"),
            (-5, other, "another"),
        ):
            patched.setattr(loop, "time", lambda at_s=now_s + seconds: at_s)
            stage.failed(reason)
        patched.setattr(loop, "time", lambda: now_s)
        assert (first.reason, second.reason) == ("the second", "the longest")
        assert outages.reasons() == {"poll": "the longest", "delete": "another"}
        second.ended()
        assert outages.reasons() == {"poll": "the second", "delete": "another"}
        first.ended()
        other.ended()


def test_a_worker_has_all_of_its_metrics() -> None:
    metrics = Metrics()
    metrics.requests.labels("GetItem", "ok").inc()
    metrics.notifications.labels("pager", "sent").inc()
    assert sorted(family.name for family in metrics.registry.collect()) == [
        "workers_aws_requests",
        "workers_event_loop_blocked_seconds",
        "workers_handle_seconds",
        "workers_info",
        "workers_last_poll_timestamp_seconds",
        "workers_log_lines_dropped",
        "workers_message_age_seconds",
        "workers_messages_in_flight",
        "workers_messages_received",
        "workers_messages_settled",
        "workers_notifications",
        "workers_outage_reason",
        "workers_outage_seconds",
        "workers_paused",
        "workers_rate_limit",
        "workers_service_down_since_timestamp_seconds",
        "workers_service_last_error_timestamp_seconds",
        "workers_service_last_success_timestamp_seconds",
        "workers_service_up",
        "workers_start_timestamp_seconds",
        "workers_tasks",
    ]


def test_a_worker_is_described_by_its_labels() -> None:
    metrics = Metrics()
    metrics.describe("fulfillment", "OrderFulfillmentQueue", None)
    (info,) = (family for family in metrics.registry.collect() if family.name == "workers_info")
    (sample,) = info.samples
    assert (set(sample.labels.values()), sample.value) == ({"fulfillment", "OrderFulfillmentQueue", ""}, 1)
