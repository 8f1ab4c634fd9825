import asyncio
from dataclasses import replace

import pytest
import structlog

from workers.consumer.failures import FailureTracker
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
