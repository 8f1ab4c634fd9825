"""A paused queue: nothing is received, what runs ends, and the worker stays healthy and ready."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.workers.consumer.fakes import (
    QUICK,
    FakeHandler,
    FakeLines,
    FakePauses,
    FakeQueue,
    Run,
    limits,
    message,
    messages,
    running,
    until,
)
from workers.backoff import Backoff
from workers.consumer.pause import Person
from workers.errors import AccessDeniedError, FatalError, OutageError

BY_ADA = Person("ada", "2026-11-26T21:08:18Z", "new prices")
BY_BOB = Person("bob", "2026-11-26T21:13:00Z", "they are there")
MINUTE_S = 60.5


def lines_of(run: Run, event: str) -> list[tuple[object, ...]]:
    return [(line["actor"], line["since"], line["note"]) for line in run.logs if line["event"] == event]


def paused_gauge(run: Run) -> float | None:
    return run.consumer._metrics.registry.get_sample_value("workers_paused")


async def test_a_worker_that_starts_while_paused_receives_nothing() -> None:
    queue, handler, pauses = FakeQueue(messages(3), wait_s=9), FakeHandler(), FakePauses(BY_ADA)
    pauses.takes_s = 0.5
    async with running(queue, handler, limits(), pauses=pauses) as run:
        await asyncio.sleep(300)
        assert queue.limits == []
        assert paused_gauge(run) == 1
        assert lines_of(run, "consumer.paused") == [("ada", "2026-11-26T21:08:18Z", "new prices")]
        assert run.consumer.health_problem() is None
        assert run.consumer.readiness_problem() is None
        assert run.consumer.pause.note() == "paused since 2026-11-26T21:08:18Z by ada"
        pauses.answer, pauses.resumed = None, BY_BOB
        await asyncio.sleep(MINUTE_S)
        assert sorted(handler.finished) == ["m0", "m1", "m2"]
        assert paused_gauge(run) == 0
        assert run.consumer.pause.note() is None
    (resumed,) = (line for line in run.logs if line["event"] == "consumer.resumed")
    assert (resumed["actor"], resumed["note"], resumed["duration_ms"]) == ("bob", "they are there", 302_500)


async def test_a_pause_is_noticed_within_a_minute_and_what_runs_ends() -> None:
    queue, handler, pauses, slow = FakeQueue([message("m")], wait_s=9), FakeHandler(), FakePauses(), asyncio.Event()
    handler.when("m", slow)
    async with running(queue, handler, limits(max_handle_s=600), pauses=pauses) as run:
        await until(lambda: handler.began == ["m"])
        pauses.answer = BY_ADA
        await asyncio.sleep(MINUTE_S)
        asked = len(queue.limits)
        queue.send(message("later"))
        await asyncio.sleep(1)
        assert handler.began in (["m"], ["m", "later"])  # A receive that was running may bring it.
        queue.send(message("latest"))
        slow.set()
        await asyncio.sleep(200)
        assert len(queue.limits) == asked
        assert "latest" not in handler.began
        assert ("m", "message.acknowledged", "handled") in run.endings()
        assert {message_id for message_id, *_ in run.endings()} == set(handler.began)


async def test_the_tag_is_read_once_a_minute_and_before_the_first_receive() -> None:
    queue, pauses = FakeQueue(wait_s=9), FakePauses()
    pauses.takes_s = 0.01
    async with running(queue, FakeHandler(), limits(), pauses=pauses):
        await asyncio.sleep(0.005)
        assert queue.limits == []
        await asyncio.sleep(600)
    assert len(pauses.read_at_s) == 10
    assert [later - sooner for sooner, later in pairwise(pauses.read_at_s)] == pytest.approx([60.01] * 9)


@pytest.mark.parametrize(
    ("error", "before"),
    [
        (OutageError("throttled"), None),
        (AccessDeniedError("the role is older than the worker"), None),
        (AccessDeniedError("the role is older than the worker"), BY_ADA),
        (FatalError("the queue does not exist"), BY_ADA),
        (ValueError("a mistake"), BY_ADA),
    ],
)
async def test_a_tag_that_cannot_be_read_changes_nothing_and_is_logged_once_an_hour(
    error: Exception, before: Person | None
) -> None:
    queue, handler, pauses = FakeQueue(wait_s=9), FakeHandler(), FakePauses(before)
    async with running(queue, handler, limits(), pauses=pauses) as run:
        await asyncio.sleep(1)
        pauses.answer = error
        await asyncio.sleep(3700)
        assert run.consumer.pause.current == before
        assert run.consumer.health_problem() is None
        assert run.consumer.readiness_problem() is None
        assert run.events().count("pause_check.failed") == 2
        pauses.answer = before
        await asyncio.sleep(MINUTE_S)
    assert run.events().count("pause_check.recovered") == 1
    assert (queue.limits == []) == (before is not None)


async def test_a_worker_whose_first_look_fails_or_hangs_is_not_paused() -> None:
    for answer, takes_s in ((AccessDeniedError("no"), 0.0), (BY_ADA, 3600.0)):
        queue, handler, pauses = FakeQueue(messages(1), wait_s=9), FakeHandler(), FakePauses(answer)
        pauses.takes_s = takes_s
        async with running(queue, handler, limits(), pauses=pauses):
            await asyncio.sleep(11)
            assert handler.finished == ["m0"]


async def test_a_paused_worker_stops_at_once() -> None:
    pauses = FakePauses(BY_ADA)
    async with running(FakeQueue(messages(1), wait_s=9), FakeHandler(), limits(), pauses=pauses) as run:
        await asyncio.sleep(5)
        stopped_s = asyncio.get_running_loop().time()
        await run.stop()
        assert asyncio.get_running_loop().time() - stopped_s < 0.1


async def test_a_stop_does_not_wait_for_a_look_at_the_tag() -> None:
    pauses = FakePauses()
    pauses.takes_s = 9
    async with running(FakeQueue(messages(1), wait_s=9), FakeHandler(), limits(), pauses=pauses) as run:
        await asyncio.sleep(1)
        stopped_s = asyncio.get_running_loop().time()
        await run.stop()
        assert asyncio.get_running_loop().time() - stopped_s < 0.1


async def test_messages_held_by_an_outage_are_probed_while_paused() -> None:
    queue, handler, pauses = FakeQueue(messages(1), wait_s=9), FakeHandler(), FakePauses()
    handler.when("m0", *[OutageError("down")] * 100)
    timings = replace(QUICK, probe=Backoff(2, 2))
    async with running(queue, handler, limits(), timings, pauses=pauses) as run:
        await until(lambda: len(handler.began) > 1)
        pauses.answer = BY_ADA
        await asyncio.sleep(MINUTE_S)
        handler.behavior.clear()
        await asyncio.sleep(5)
        assert run.endings() == [("m0", "message.acknowledged", "handled")]
        asked = len(queue.limits)
        await asyncio.sleep(30)
        assert len(queue.limits) == asked


async def test_a_pause_holds_although_the_output_takes_lines_again() -> None:
    queue, lines, pauses = FakeQueue(messages(1), wait_s=9), FakeLines(), FakePauses(BY_ADA)
    lines.room.clear()
    async with running(queue, FakeHandler(), limits(), lines=lines, pauses=pauses):
        await asyncio.sleep(1)
        lines.room.set()
        await asyncio.sleep(100)
        assert queue.limits == []


async def test_a_pause_by_another_person_is_logged_and_lasts() -> None:
    queue, pauses = FakeQueue(wait_s=9), FakePauses(BY_ADA)
    async with running(queue, FakeHandler(), limits(), pauses=pauses) as run:
        await asyncio.sleep(1)
        pauses.answer = Person("bob", "2026-11-26T22:00:00Z")
        await asyncio.sleep(2 * MINUTE_S)
    assert lines_of(run, "consumer.paused") == [
        ("ada", "2026-11-26T21:08:18Z", "new prices"),
        ("bob", "2026-11-26T22:00:00Z", None),
    ]
    assert queue.limits == []


async def test_who_resumed_an_earlier_pause_is_not_named_again() -> None:
    queue, pauses = FakeQueue(wait_s=9), FakePauses(Person("ada", "2026-11-26T22:00:00Z"))
    pauses.resumed = BY_BOB
    async with running(queue, FakeHandler(), limits(), pauses=pauses) as run:
        await asyncio.sleep(1)
        pauses.answer = None  # The tag was removed by hand.
        await asyncio.sleep(MINUTE_S)
    assert lines_of(run, "consumer.resumed") == [(None, None, None)]


async def test_a_person_who_resumes_in_the_second_of_the_pause_is_named() -> None:
    pauses = FakePauses(BY_ADA)
    async with running(FakeQueue(wait_s=9), FakeHandler(), limits(), pauses=pauses) as run:
        await asyncio.sleep(1)
        pauses.answer, pauses.resumed = None, replace(BY_BOB, since=BY_ADA.since)
        await asyncio.sleep(MINUTE_S)
        assert lines_of(run, "consumer.resumed") == [("bob", BY_ADA.since, "they are there")]
