import asyncio
import json
import linecache
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType, SimpleNamespace

import aiohttp
import pytest
import structlog
from structlog.typing import EventDict

from tests.workers.consumer.fakes import until
from workers import loop_watch as loop_watch_module
from workers.loop_watch import CodePlace, WatchTimings, is_standard_library, loop_watch, running_code

QUICK = WatchTimings(interval_s=0.01, blocked_after_s=0.02, grace_s=0.01, report_after_s=60, log_every_s=0)


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


class Looks:
    """Blocks the loop until the watch has looked at it, however late. What else the watch may see is left out."""

    def __init__(self) -> None:
        self.looked = threading.Event()

    def running_code(self, frame: FrameType | None) -> list[CodePlace]:
        code = running_code(frame)
        if any(place.function.endswith(("Looks.block", "Event.wait", "wait_for_a_thread")) for place in code):
            self.looked.set()
            return code
        return []

    async def block(self) -> None:
        self.looked.clear()
        self.looked.wait(30)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    looks = Looks()
    monkeypatch.setattr(loop_watch_module, "running_code", looks.running_code)
    return looks


def lines(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "event_loop.blocked"]


async def until_logged(logs: list[EventDict], count: int) -> None:
    await until(lambda: len(lines(logs)) >= count)


async def test_the_code_that_blocks_is_named_with_its_line_and_callers(logs: list[EventDict], looks: Looks) -> None:
    blocked: list[float] = []
    with loop_watch(blocked.append, QUICK):
        await asyncio.create_task(looks.block(), name="message-1")
        await until_logged(logs, 1)
        await until(lambda: len(blocked) == 1)
    (line,) = lines(logs)
    assert (line["log_level"], line["function"]) == ("warning", "Looks.block")
    assert Path(line["file"]).name == Path(__file__).name
    assert linecache.getline(__file__, line["line"]).strip() == "self.looked.wait(30)"
    assert line["task"] == "message-1"
    assert 25 <= line["duration_ms"] <= blocked[0] * 1000 + 1
    assert not line["still_blocked"]


async def test_the_standard_library_is_not_blamed_for_a_call_into_it(logs: list[EventDict], looks: Looks) -> None:
    async def wait_for_a_thread() -> None:
        looks.looked.wait(30)  # Python code of the standard library.

    with loop_watch(lambda _: None, QUICK):
        await wait_for_a_thread()
        await until_logged(logs, 1)
    (line,) = lines(logs)
    assert line["function"].endswith("wait_for_a_thread")
    assert line["callers"][0].split(" ")[0] == "test_the_standard_library_is_not_blamed_for_a_call_into_it"


async def test_a_callback_in_the_standard_library_is_named_all_the_same(logs: list[EventDict], looks: Looks) -> None:
    with loop_watch(lambda _: None, QUICK):
        asyncio.get_running_loop().call_soon(looks.looked.wait, 30)
        await asyncio.sleep(0)
        await until_logged(logs, 1)
    (line,) = lines(logs)
    assert line["function"] == "Condition.wait"
    assert line["task"] is None


async def test_a_loop_that_stays_blocked_is_logged_before_it_is_free(logs: list[EventDict]) -> None:
    seen: list[int] = []

    async def block_until_logged() -> None:
        deadline_s = time.monotonic() + 30
        while not lines(logs) and time.monotonic() < deadline_s:
            time.sleep(0.01)  # noqa: ASYNC251 - on purpose.
        seen.append(len(lines(logs)))

    with loop_watch(lambda _: None, replace(QUICK, report_after_s=0.05)):
        await block_until_logged()
    assert seen == [1]
    assert lines(logs)[0]["still_blocked"]


async def test_it_is_logged_at_most_once_a_minute(logs: list[EventDict], looks: Looks) -> None:
    blocked: list[float] = []
    with loop_watch(blocked.append, replace(QUICK, log_every_s=60)):
        for times in range(3):
            await looks.block()
            await until(lambda times=times: len(blocked) > times)  # type: ignore[misc]
    assert [line["times"] for line in lines(logs)] == [1]
    assert len(blocked) == 3, "the metric counts each"


async def test_a_busy_loop_is_not_blocked(logs: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    loop, calls = asyncio.get_running_loop(), list[object]()
    call = loop.call_soon_threadsafe
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda answer: calls.append(call(answer)))
    with loop_watch(lambda _: None, replace(QUICK, blocked_after_s=30)):
        until_s = time.monotonic() + 30
        while len(calls) < 5 and time.monotonic() < until_s:
            time.sleep(0.001)  # noqa: ASYNC251 - on purpose.
            await asyncio.sleep(0)
    assert (len(calls), logs) == (5, [])


async def test_a_failing_watch_ends_itself_and_nothing_else(logs: list[EventDict], looks: Looks) -> None:
    def fail(_: float) -> None:
        raise ValueError("broken")

    with loop_watch(fail, QUICK):
        await looks.block()
        await until(lambda: "event_loop.watch_failed" in [line["event"] for line in logs])
    assert len(lines(logs)) == 1


async def test_its_thread_ends_with_the_block() -> None:
    with loop_watch(lambda _: None, QUICK):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "loop-watch"]
        assert thread.daemon
    thread.join(5)
    assert not thread.is_alive()


async def test_its_lines_name_worker_and_queue(logs: list[EventDict], looks: Looks) -> None:
    with structlog.contextvars.bound_contextvars(worker="fulfillment"), loop_watch(lambda _: None, QUICK):
        await looks.block()
        await until_logged(logs, 1)
    assert lines(logs)[0]["worker"] == "fulfillment"


def test_a_thread_without_a_running_callback_runs_no_code() -> None:
    assert running_code(sys._getframe()) == []
    assert running_code(None) == []


async def test_a_line_holds_no_values(logs: list[EventDict], looks: Looks) -> None:
    async def ship(card: str) -> None:
        await looks.block()
        assert card

    with loop_watch(lambda _: None, QUICK):
        await ship("4929123412345678")
        await until_logged(logs, 1)
    (line,) = lines(logs)
    assert line["callers"][0].split(" ")[0].endswith("ship")
    assert "4929" not in json.dumps(lines(logs))


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (json.__file__, True),
        (asyncio.__file__, True),
        ("<frozen importlib._bootstrap>", True),
        (aiohttp.__file__, False),
        (__file__, False),
        ("<string>", False),
        (str(Path(json.__file__).parents[1] / "site-packages" / "shop.py"), False),
    ],
)
def test_the_standard_library_is_told_from_other_code(file: str, expected: bool) -> None:
    assert is_standard_library(file) is expected


def test_the_times_of_the_watch() -> None:
    assert WatchTimings() == WatchTimings(
        interval_s=0.5, blocked_after_s=1.0, grace_s=0.2, report_after_s=10.0, log_every_s=60.0
    )


class Answers:
    """The loop's answers to the waits of the watch, and a clock that each wait moves on by its time."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.waited_s: list[float] = []
        self.now_s = 100.0

    def wait(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        self.now_s += timeout_s
        return self.answers.pop(0)

    def set(self) -> None:
        pass


CODE = [CodePlace(f"f{n}", "file.py", n) for n in range(20)]


class Checked:
    """One check of the loop: what was counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: Answers, code: list[CodePlace]) -> None:
        self.counted: list[float] = []
        self.watch = loop_watch_module._Watch(
            asyncio.get_running_loop(), threading.get_ident(), self.counted.append, WatchTimings()
        )
        monkeypatch.setattr(loop_watch_module, "threading", SimpleNamespace(Event=lambda: answers))
        monkeypatch.setattr(loop_watch_module, "time", SimpleNamespace(monotonic=lambda: answers.now_s))
        monkeypatch.setattr(loop_watch_module, "running_code", lambda _frame: code)


@pytest.mark.parametrize("answers", [[True], [False, True]], ids=["at once", "in the grace"])
async def test_a_loop_that_answers_in_time_is_not_blocked(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch, answers: list[bool]
) -> None:
    loop = Answers(*answers)
    checked = Checked(monkeypatch, loop, CODE)
    checked.watch._check()
    assert (loop.waited_s, checked.counted, logs) == ([1.0, 0.2][: len(answers)], [], [])


async def test_a_block_is_logged_when_it_ends_and_counted(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Checked(monkeypatch, Answers(False, False, True), CODE)
    checked.watch._check()
    (line,) = lines(logs)
    assert (line["duration_ms"], line["still_blocked"], line["function"], line["line"]) == (11_200, False, "f0", 0)
    assert line["callers"] == [f"f{n} (file.py:{n})" for n in range(1, 13)]
    assert checked.counted == [pytest.approx(11.2)]


async def test_a_long_block_is_logged_before_its_end_and_counted_whole(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Answers(False, False, False, False, False, True)
    checked = Checked(monkeypatch, loop, CODE)
    checked.watch._check()
    (line,) = lines(logs)
    assert (line["duration_ms"], line["still_blocked"]) == (11_200, True)
    assert checked.counted == [pytest.approx(12.7)]
    assert loop.waited_s == [1.0, 0.2, 10.0, 0.5, 0.5, 0.5]


async def test_a_loop_that_waits_is_not_reported(logs: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    checked = Checked(monkeypatch, Answers(False, False), [])
    checked.watch._check()
    assert (checked.counted, logs) == ([], [])


async def test_a_loop_that_has_stopped_is_not_reported(logs: list[EventDict], monkeypatch: pytest.MonkeyPatch) -> None:
    checked = Checked(monkeypatch, Answers(False, False), CODE)
    checked.watch.stop()
    checked.watch._check()
    assert (checked.counted, logs) == ([], [])


async def test_blocks_that_were_not_logged_are_counted_in_the_next_line(
    logs: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Answers()
    watch = Checked(monkeypatch, clock, CODE).watch
    for passed_s in (0, 59.9, 0.1, 1):
        clock.now_s += passed_s
        watch._report(CODE[:1], None, 1.2345, free=True)
    assert [(line["times"], line["duration_ms"], line["callers"]) for line in lines(logs)] == [
        (1, 1234, []),
        (2, 1234, []),
    ]
