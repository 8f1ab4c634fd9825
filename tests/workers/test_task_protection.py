"""The protection of a task on ECS, against a small server that answers as the ECS agent does."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog
from aiohttp import ClientPayloadError, ClientSession, ClientTimeout

from tests.workers.ecs_agent import TASK, FakeAgent, running_agent
from workers import task_protection
from workers.errors import FatalError, plain_name
from workers.settings import Settings
from workers.task_protection import (
    CHECK_EVERY_S,
    RENEW_BEFORE_S,
    RETRY_AFTER_S,
    TIMEOUT_S,
    Agent,
    ProtectionError,
    TaskProtection,
    agent_uri,
    protecting,
)

ON = Settings.read({"WORKER_TASK_PROTECTION": "true"})
# Answers of the agent: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
REFUSED = (
    {"failure": {"Arn": TASK, "Detail": None, "Reason": "DEPLOYMENT_BLOCKED"}},
    200,
    "DEPLOYMENT_BLOCKED",
)
FAILURES: list[tuple[Any, int, str]] = [
    REFUSED,
    (
        {
            "requestID": "1",
            "error": {"Arn": TASK, "Code": "AccessDeniedException", "Message": "User: ... is not authorized"},
        },
        400,
        "AccessDeniedException",
    ),
    (
        {"error": {"Code": "ResourceNotFoundException", "Message": "Failed to find a task"}},
        404,
        "ResourceNotFoundException",
    ),
    ({"error": {"Code": "RequestCanceled", "Message": "Timed out calling ECS"}}, 504, "RequestCanceled"),
    ({"failure": {"Reason": "x" * 101}}, 200, "x" * 100),
    ("<html>429</html>", 429, "HTTP 429"),
    ("[]", 200, "HTTP 200"),
    ("{}", 200, "HTTP 200"),
    ({"protection": {"ProtectionEnabled": True}}, 500, "HTTP 500"),
]


@pytest.fixture
async def fake() -> AsyncIterator[FakeAgent]:
    async with running_agent() as agent:
        yield agent


@dataclass
class Worker:
    """A worker's handlers, and a clock that only the test moves."""

    now_s: float = 1000.0
    handling_s: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.handling_s = [taken_s + seconds for taken_s in self.handling_s]


@pytest.fixture
def worker() -> Worker:
    return Worker()


Protect = Callable[..., TaskProtection]


@pytest.fixture
async def protect(fake: FakeAgent, worker: Worker) -> AsyncIterator[Protect]:
    """Yield a function that makes the protection of `worker`, with 25 s to drain and 900 s to handle a message."""
    async with ClientSession(timeout=ClientTimeout(total=5)) as session:

        def make(drain_s: float = 25.0, max_handle_s: float = 900.0) -> TaskProtection:
            return TaskProtection(
                agent=Agent(session, fake.uri),
                handling_s=lambda: worker.handling_s,
                drain_s=drain_s,
                max_handle_s=max_handle_s,
                now_s=lambda: worker.now_s,
            )

        yield make


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def on(minutes: int) -> dict[str, Any]:
    return {"ProtectionEnabled": True, "ExpiresInMinutes": minutes}


OFF = {"ProtectionEnabled": False}


@pytest.mark.parametrize("status", [500, 504])
@pytest.mark.parametrize("answer", [{"error": {"Code": "RequestCanceled", "Message": "Timed out calling ECS"}}, "cut"])
async def test_a_protection_that_may_have_been_set_is_released(
    fake: FakeAgent, worker: Worker, protect: Protect, answer: Any, status: int
) -> None:
    """Otherwise ECS could hold it against deployments for up to `WORKER_MAX_HANDLE_S`, which may be 11 hours."""
    protection = protect()
    worker.handling_s = [30.0]
    fake.answer, fake.status = answer, status
    await protection.update()
    fake.answer, fake.status, worker.handling_s = None, 200, []
    worker.wait(60)
    await protection.update()
    worker.wait(60)
    await protection.update()
    assert fake.puts == [on(15), OFF]


async def test_a_protection_that_may_have_been_set_is_asked_for_again(
    fake: FakeAgent, worker: Worker, protect: Protect
) -> None:
    protection = protect()
    worker.handling_s = [30.0]
    fake.answer, fake.status = "", 504
    await protection.update()
    fake.answer, fake.status = None, 200
    worker.wait(60)
    await protection.update()
    worker.wait(60)
    await protection.update()
    assert fake.puts == [on(15), on(14)]


@pytest.mark.parametrize("handling_s", [[], [0.0], [25.0], [0.0, 3.0, 25.0]])
async def test_a_task_that_a_stop_cuts_nothing_short_in_is_not_protected(
    fake: FakeAgent, worker: Worker, protect: Protect, handling_s: list[float]
) -> None:
    worker.handling_s = handling_s
    await protect().update()
    assert fake.calls == []


@pytest.mark.parametrize(
    ("handling_s", "minutes"),
    [([25.1], 15), ([60.0], 14), ([61.0], 14), ([840.0], 1), ([840.1], 1), ([899.9], 1), ([3.0, 480.0, 30.0], 7)],
)
async def test_a_task_is_protected_for_the_rest_of_its_longest_handlers_time(
    fake: FakeAgent, worker: Worker, protect: Protect, handling_s: list[float], minutes: int
) -> None:
    worker.handling_s = handling_s
    await protect().update()
    assert fake.calls == [("PUT", on(minutes))]


async def test_the_longest_protection_is_one_that_ecs_accepts(
    fake: FakeAgent, worker: Worker, protect: Protect
) -> None:
    worker.handling_s = [0.1]
    await protect(drain_s=0.0, max_handle_s=39600.0).update()
    assert fake.puts == [on(660)]


async def test_protection_is_asked_for_once_and_ended_once(fake: FakeAgent, worker: Worker, protect: Protect) -> None:
    protection = protect()
    worker.handling_s = [30.0]
    for _ in range(5):
        await protection.update()
        worker.wait(10)
    worker.handling_s = [10.0]
    for _ in range(5):
        await protection.update()
        worker.wait(1)
    assert fake.puts == [on(15), OFF]


async def test_protection_is_renewed_while_another_handler_takes_long(
    fake: FakeAgent, worker: Worker, protect: Protect
) -> None:
    protection = protect()
    worker.handling_s = [850.0, 20.0]
    await protection.update()  # For a minute.
    worker.wait(60 - RENEW_BEFORE_S - 1)
    await protection.update()
    assert fake.puts == [on(1)]
    worker.wait(1)
    worker.handling_s = [50.0]  # The first has ended.
    await protection.update()
    assert fake.puts == [on(1), on(15)]


async def test_protection_that_has_expired_is_not_ended(fake: FakeAgent, worker: Worker, protect: Protect) -> None:
    protection = protect()
    worker.handling_s = [890.0]
    await protection.update()
    worker.wait(61)
    worker.handling_s = []
    await protection.update()
    assert fake.puts == [on(1)]


async def test_a_handler_that_outlives_its_cap_protects_nothing(
    fake: FakeAgent, worker: Worker, protect: Protect
) -> None:
    protection = protect()
    worker.handling_s = [900.0]
    await protection.update()
    assert fake.puts == []
    worker.handling_s = [901.0, 600.0]
    await protection.update()
    assert fake.puts == [on(5)]


def test_checks_come_often_enough_to_renew() -> None:
    assert CHECK_EVERY_S < RENEW_BEFORE_S < 60


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure[2])
async def test_a_failed_call_is_logged_and_tried_again_after_a_minute(
    fake: FakeAgent, worker: Worker, protect: Protect, logged: list[Any], failure: tuple[Any, int, str]
) -> None:
    fake.answer, fake.status, reason = failure
    protection = protect()
    worker.handling_s = [30.0]
    for _ in range(6):
        await protection.update()
        worker.wait(10)
    assert len(fake.calls) == 1
    assert logged == [{"event": "task_protection.failed", "log_level": "warning", "reason": reason, "delay_ms": 60_000}]
    fake.answer, fake.status = None, 200
    await protection.update()
    assert fake.puts == [on(15), on(14)]
    assert logged[-1] == {
        "event": "task_protection.set",
        "log_level": "info",
        "minutes": 14,
        "handling_ms": 90_000,
    }


async def test_an_end_that_fails_is_tried_again_until_it_expires(
    fake: FakeAgent, worker: Worker, protect: Protect
) -> None:
    protection = protect()
    worker.handling_s = [700.0]
    await protection.update()
    worker.handling_s = []
    fake.answer, fake.status, _ = REFUSED
    for _ in range(30):
        worker.wait(10)
        await protection.update()
    # For 4 minutes. Tried again every minute, and not after it has expired.
    assert fake.puts == [on(4), OFF, OFF, OFF, OFF]


async def test_an_agent_that_hangs_or_is_gone_is_a_failed_call(fake: FakeAgent) -> None:
    fake.hangs = True
    async with ClientSession(timeout=ClientTimeout(total=0.1)) as session:
        with pytest.raises(ProtectionError, match=r"timeout"):
            await Agent(session, fake.uri).release()
    async with ClientSession() as session:
        with pytest.raises(ProtectionError, match=r"^client connector error$"):
            await Agent(session, "http://127.0.0.1:1/api/x").release()


async def test_the_state_is_asked_for_at_the_start(fake: FakeAgent, protect: Protect) -> None:
    """So that a missing permission shows at once."""
    stop = asyncio.Event()
    stop.set()
    await protect().run(stop)
    assert fake.calls == [("GET", None)]


async def test_a_stop_ends_the_checks_and_makes_no_call(fake: FakeAgent, worker: Worker, protect: Protect) -> None:
    """The task is stopping: ECS would refuse it, and the handler finishes or is released anyway."""
    stop, worker.handling_s = asyncio.Event(), [30.0]
    running = asyncio.create_task(protect().run(stop, every_s=60))
    await fake.called(2)
    stop.set()
    worker.handling_s = []
    await asyncio.wait_for(running, 5)
    assert fake.calls == [("GET", None), ("PUT", on(15))]


async def test_a_worker_protects_its_task_while_it_runs(fake: FakeAgent) -> None:
    async with protecting(fake.uri, ON, lambda: [30.0], asyncio.Event()):
        await fake.called(2)
    assert fake.calls == [("GET", None), ("PUT", on(15))]


async def test_without_an_agent_nothing_is_called() -> None:
    running = asyncio.all_tasks()
    async with protecting(None, ON, lambda: pytest.fail("looked at the handlers"), asyncio.Event()):
        assert asyncio.all_tasks() == running


def test_protection_is_off_by_default() -> None:
    assert agent_uri(Settings.read({}), {"ECS_AGENT_URI": "http://169.254.170.2/api/x"}) is None


def test_the_agents_address_comes_from_ecs() -> None:
    assert agent_uri(ON, {"ECS_AGENT_URI": "http://169.254.170.2/api/x"}) == "http://169.254.170.2/api/x"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({}, "is not set"),
        ({"ECS_AGENT_URI": " "}, "is not set"),
        ({"ECS_AGENT_URI": "169.254.170.2"}, "is '169.254.170.2', which is not a URL"),
        ({"ECS_AGENT_URI": "http://[::1"}, "is 'http://[::1', which is not a URL"),
        ({"ECS_AGENT_URI": "ftp://x/"}, "is 'ftp://x/', which is not a URL"),
    ],
)
def test_protection_without_an_agent_is_one_clear_line(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(FatalError) as raised:
        agent_uri(ON, environ)
    assert str(raised.value) == (
        f"WORKER_TASK_PROTECTION is true, but ECS_AGENT_URI {problem}: only ECS tasks can be protected"
    )


def test_the_times_of_the_protection() -> None:
    assert (CHECK_EVERY_S, RETRY_AFTER_S, RENEW_BEFORE_S, TIMEOUT_S) == (10, 60, 30, 10)


async def test_each_call_takes_ten_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[ClientTimeout] = []

    def session(*, timeout: ClientTimeout) -> ClientSession:
        timeouts.append(timeout)
        return ClientSession(timeout=timeout)

    monkeypatch.setattr(task_protection, "ClientSession", session)
    async with protecting("http://127.0.0.1:1/api/x", ON, list, asyncio.Event()):
        pass
    assert timeouts == [ClientTimeout(total=10)]


@pytest.mark.parametrize("error", [ClientPayloadError(), TimeoutError(), ValueError(), OSError()], ids=repr)
@pytest.mark.parametrize("call", ["check", "release"])
async def test_only_a_change_that_got_no_answer_may_have_taken_effect(error: Exception, call: str) -> None:
    class Session:
        def request(self, *_: object, **__: object) -> object:
            raise error

    with pytest.raises(ProtectionError) as raised:
        await getattr(Agent(cast("Any", Session()), "http://agent/"), call)()
    assert (str(raised.value), raised.value.uncertain) == (plain_name(error), call == "release")
    assert not ProtectionError("x").uncertain


async def test_the_end_of_a_protection_is_logged(
    fake: FakeAgent, worker: Worker, protect: Protect, logged: list[Any]
) -> None:
    protection = protect()
    worker.handling_s = [30.0]
    await protection.update()
    worker.handling_s = []
    await protection.update()
    assert fake.puts == [on(15), OFF]
    assert [line["event"] for line in logged] == ["task_protection.set", "task_protection.released"]


async def test_checks_go_on_until_the_stop(fake: FakeAgent, worker: Worker, protect: Protect) -> None:
    protection, stop = protect(), asyncio.Event()
    running = asyncio.create_task(protection.run(stop, every_s=0.001))
    await fake.called(1)
    worker.handling_s = [30.0]
    await fake.called(2)
    worker.handling_s = []
    await fake.called(3)
    stop.set()
    await asyncio.wait_for(running, 5)
    assert fake.puts == [on(15), OFF]


@pytest.mark.parametrize(("passed_s", "ended"), [(59.9, [OFF]), (60.0, [])])
async def test_a_protection_that_has_just_expired_is_not_ended(
    fake: FakeAgent, worker: Worker, protect: Protect, passed_s: float, ended: list[Any]
) -> None:
    protection = protect()
    worker.handling_s = [899.0]
    await protection.update()
    worker.wait(passed_s)
    worker.handling_s = []
    await protection.update()
    assert fake.puts == [on(1), *ended]
