"""What a start waits for, how long, and what ends it."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import ClassVar

import pytest
import structlog

from workers import start as start_module
from workers.aws.errors import (
    CredentialsError,
    CredentialsSourceError,
    MissingResourceError,
    UnreachableError,
    WrongEndpointError,
)
from workers.aws.secrets import UnreadableSecretError
from workers.backoff import Backoff
from workers.errors import AccessDeniedError, FatalError, OutageError, SuspectedOutageError
from workers.metrics import Metrics
from workers.start import PATIENCE_S, Start

PASSES_SOON = [AccessDeniedError("denied"), CredentialsSourceError("HTTP 500"), UnreadableSecretError("no key")]
OUTAGES = [OutageError("down"), SuspectedOutageError("CodeOfTomorrow"), UnreachableError("refused")]
NEVER_PASSES = [CredentialsError("refused"), MissingResourceError("no table"), WrongEndpointError("unknown")]


def failing(*errors: Exception) -> Callable[[], asyncio.Future[str]]:
    """Return work that raises *errors*, one after the other, then returns `done`."""
    left = list(errors)

    async def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return lambda: asyncio.ensure_future(work())


def starting(patience_s: float = PATIENCE_S, metrics: Metrics | None = None, wait_s: float = 0.0) -> Start:
    return Start((metrics or Metrics()).outages, Backoff(wait_s, wait_s), patience_s)


def test_a_start_has_at_least_the_patience_of_a_running_worker() -> None:
    assert PATIENCE_S >= 60


@pytest.mark.parametrize("error", [*PASSES_SOON, *OUTAGES], ids=lambda error: type(error).__name__)
async def test_what_may_pass_is_logged_and_tried_again(error: Exception) -> None:
    with structlog.testing.capture_logs() as logs:
        assert await starting().until_done(failing(error, error)) == "done"
    assert [(line["event"], line["reason"], line["attempt"]) for line in logs] == [
        ("aws.unavailable", str(error), attempt) for attempt in (1, 2)
    ]


@pytest.mark.parametrize("error", PASSES_SOON, ids=lambda error: type(error).__name__)
async def test_what_should_pass_soon_ends_the_start_once_patience_is_over(error: Exception) -> None:
    with pytest.raises(FatalError, match=f"^{error}$"):
        await starting(0.01, wait_s=0.01).until_done(failing(*[error] * 10_000))


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
async def test_an_outage_is_waited_for_however_long(error: Exception) -> None:
    assert await starting(0.0, wait_s=0.001).until_done(failing(*[error] * 50)) == "done"


@pytest.mark.parametrize("error", NEVER_PASSES, ids=lambda error: type(error).__name__)
async def test_what_never_passes_ends_the_start_at_once(error: Exception) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(FatalError, match=f"^{error}$"):
        await starting().until_done(failing(error))
    assert logs == []


async def test_a_start_that_waits_for_long_is_loud() -> None:
    metrics = Metrics(prolonged_after_s=0.02, prolonged_every_s=0.02)
    start, stop = starting(metrics=metrics, wait_s=0.005), asyncio.Event()

    async def work() -> str:
        if stop.is_set():
            return "done"
        raise OutageError("down")

    with structlog.testing.capture_logs() as logs:
        waiting = asyncio.ensure_future(start.until_done(work))
        while sum(line["event"] == "outage.prolonged" for line in logs) < 2:  # noqa: ASYNC110 - a log line sets no event.
            await asyncio.sleep(0.005)
        assert metrics.outages.duration_s("start") >= 0.02
        stop.set()
        await waiting
    first = next(line for line in logs if line["event"] == "outage.prolonged")
    assert (first["log_level"], first["stage"], first["reason"]) == ("error", "start", "down")
    assert metrics.outages.duration_s("start") == 0


class Waits(Backoff):
    """A backoff without waits, which records the attempts."""

    attempts: ClassVar[list[int]] = []

    def wait_s(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return 0.0


async def test_waits_grow_with_each_attempt() -> None:
    Waits.attempts.clear()
    await Start(Metrics().outages, Waits(0, 0)).until_done(failing(*[OutageError("down")] * 3))
    assert Waits.attempts == [1, 2, 3]


def test_the_defaults_of_a_start() -> None:
    start = Start(Metrics().outages)
    assert (start.backoff, start.patience_s) == (Backoff(0.5, 10.0), 60.0)


@pytest.fixture
async def loop_time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the running loop: the next value with each look at it, and then the last one."""
    times: list[float] = []
    loop = SimpleNamespace(time=lambda: times.pop(0) if len(times) > 1 else times[0])

    async def sleep(_delay_s: float) -> None:
        pass

    monkeypatch.setattr(start_module, "asyncio", SimpleNamespace(get_running_loop=lambda: loop, sleep=sleep))
    return times


@pytest.mark.parametrize(("passed_s", "ends"), [(60.0, False), (60.1, True)])
async def test_denied_access_may_last_a_minute(loop_time: list[float], passed_s: float, ends: bool) -> None:
    loop_time += [100.0, 100.0 + passed_s]
    with pytest.raises(FatalError) if ends else nullcontext():
        await starting().until_done(failing(*[AccessDeniedError("denied")] * 2))


async def test_an_outage_in_between_starts_the_minute_anew(loop_time: list[float]) -> None:
    loop_time += [100.0, 150.0, 200.0]
    errors = [
        AccessDeniedError("denied"),
        OutageError("down"),
        AccessDeniedError("denied"),
        AccessDeniedError("denied"),
    ]
    assert await starting().until_done(failing(*errors)) == "done"


async def test_the_wait_is_logged(loop_time: list[float]) -> None:
    loop_time.append(100.0)
    with structlog.testing.capture_logs() as logs:
        await Start(Metrics().outages, Fixed(0, 0)).until_done(failing(OutageError("down")))
    assert [line["delay_ms"] for line in logs] == [2_500]


class Fixed(Backoff):
    def wait_s(self, attempt: int) -> float:  # noqa: ARG002 - always the same.
        return 2.5


async def test_any_other_error_of_a_start_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await starting().until_done(failing(ZeroDivisionError()))
