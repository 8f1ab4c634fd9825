import asyncio

import pytest
import structlog

from workers.consumer import failures as failures_module
from workers.consumer.failures import FailureTracker
from workers.errors import AccessDeniedError, FatalError, OutageError


async def test_logs_the_first_failure_and_the_recovery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "LOG_EVERY_S", 60.0)
    following = FailureTracker("poll")
    with structlog.testing.capture_logs() as logs:
        for _ in range(100):
            following.failed(OutageError("down"))
        following.recovered()
        following.recovered()
    assert [(line["event"], line["log_level"], line["failures"]) for line in logs] == [
        ("poll.failed", "warning", 1),
        ("poll.recovered", "info", 100),
    ]
    assert logs[0]["reason"] == "down"
    assert following.failures == 0


async def test_logs_again_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "LOG_EVERY_S", 0.02)
    following = FailureTracker("poll")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            following.failed(OutageError("down"))
        await asyncio.sleep(0.03)
        for _ in range(3):
            following.failed(OutageError("down"))
    assert [(line["event"], line["failures"]) for line in logs] == [("poll.failed", 1), ("poll.failed", 4)]


async def test_a_refusal_that_lasts_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "ACCESS_DENIED_PATIENCE_S", 0.02)
    following = FailureTracker("poll")
    following.failed(AccessDeniedError("ReceiveMessage: access denied"))
    following.failed(AccessDeniedError("ReceiveMessage: access denied"))
    await asyncio.sleep(0.03)
    with pytest.raises(FatalError, match=r"^ReceiveMessage: access denied$"):
        following.failed(AccessDeniedError("ReceiveMessage: access denied"))


@pytest.mark.parametrize("between", [OutageError("down"), None])
async def test_a_refusal_is_forgotten_once_something_else_happens(
    monkeypatch: pytest.MonkeyPatch, between: OutageError | None
) -> None:
    monkeypatch.setattr(failures_module, "ACCESS_DENIED_PATIENCE_S", 0.02)
    following = FailureTracker("poll")
    following.failed(AccessDeniedError("denied"))
    await asyncio.sleep(0.03)
    if between is None:
        following.recovered()
    else:
        following.failed(between)
    following.failed(AccessDeniedError("denied"))
    assert following.failures == (1 if between is None else 3)


async def test_an_outage_is_never_fatal_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures_module, "ACCESS_DENIED_PATIENCE_S", 0.0)
    following = FailureTracker("poll")
    for _ in range(5):
        following.failed(OutageError("down"))
        await asyncio.sleep(0.001)
    assert following.failures == 5
