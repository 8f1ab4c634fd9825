import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from tests.workers.operations.queue_fakes import FakeQueue
from workers.operations.actions import (
    DISCARD,
    MAX_FAILURES,
    ActionReport,
    Outcome,
    act,
    dry_run,
    find,
    held_queue,
    replay_to,
)
from workers.operations.dead_letters import Selection
from workers.operations.hold import HOLD_S
from workers.operations.stack import Queue

if TYPE_CHECKING:
    from workers.operations.stack import Stack

RATE = 1e6


def stack_of(queue: FakeQueue) -> "Stack":
    async def find_queue(name: str) -> Queue:
        return Queue(name, "url", {}, "DLQ", "dlq-url")

    async def attributes(_url: str) -> dict[str, str]:
        answer: dict[str, dict[str, str]] = await queue.call("get_queue_attributes")
        return answer["Attributes"]

    now = datetime(2026, 11, 22, tzinfo=UTC)
    stack = SimpleNamespace(sqs=queue.client, queue=find_queue, attributes=attributes, now=lambda: now)
    return cast("Stack", stack)


def results(report: ActionReport) -> list[tuple[str, str]]:
    return [(outcome.letter.id, outcome.result) for outcome in report.outcomes]


async def test_selected_letters_are_found_up_to_the_limit() -> None:
    queue, looked_at = FakeQueue("001", "002", "003", "004"), list[int]()
    async with held_queue(stack_of(queue), "Q") as source:
        found = await find(source, Selection(ids=("002", "003", "004")), 2, progress=looked_at.append)
        assert [letter.id for letter in found.letters] == ["002", "003"]
        assert (sum(looked_at), found.seen, found.approximate_count) == (3, 4, 4)
        assert [outcome.result for outcome in dry_run(found, DISCARD)] == ["would be discarded"] * 2
    assert sorted(queue.visible) == ["001", "002", "003", "004"]


async def test_a_replayed_letter_is_deleted_after_its_queue_took_it() -> None:
    queue, report, done = FakeQueue("001", "002"), ActionReport(), list[int]()
    async with held_queue(stack_of(queue), "Q") as source:
        found = await find(source, Selection(ids=("001",)), 10)
        await act(found, replay_to(source), report, rate=RATE, progress=done.append)
    assert queue.calls[-3:] == ["send_message", "delete_message", "change_message_visibility_batch"]
    assert (results(report), report.done, report.problems, done) == ([("001", "replayed")], 1, 0, [1])
    assert (queue.sent, queue.visible, queue.hidden) == (["001"], ["002"], [])


@pytest.mark.parametrize(
    ("refused", "result", "sent"),
    [("send_message", "failed", []), ("delete_message", "replayed, not removed", ["001"])],
)
async def test_a_letter_that_failed_stays(refused: str, result: str, sent: list[str]) -> None:
    queue, report = FakeQueue("001"), ActionReport()
    queue.refused = {refused}
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 10), replay_to(source), report, rate=RATE)
    assert report.outcomes == [Outcome(report.outcomes[0].letter, result, f"AWS refused {refused} (InternalError)")]
    assert (report.done, report.problems, queue.sent, queue.visible) == (0, 1, sent, ["001"])


async def test_a_letter_that_is_not_held_any_more_is_skipped() -> None:
    queue, report = FakeQueue("001", "002"), ActionReport()
    async with held_queue(stack_of(queue), "Q") as source:
        found = await find(source, Selection(), 10)
        queue.hidden.remove("001")
        del source.hold._receipts["001"], source.hold._held_until["001"]
        await act(found, DISCARD, report, rate=RATE)
    assert results(report) == [("001", "skipped"), ("002", "discarded")]


@pytest.mark.parametrize("action", ["replay", "discard"])
async def test_after_a_pause_longer_than_the_hold_no_letter_is_sent_deleted_or_given_away(action: str) -> None:
    queue, report, now = FakeQueue("001", "002"), ActionReport(), 0.0
    async with held_queue(stack_of(queue), "Q") as source:
        source.hold._now_s = lambda: now
        found = await find(source, Selection(), 10)
        now = HOLD_S  # SQS would accept the old receipts.
        await act(found, replay_to(source) if action == "replay" else DISCARD, report, rate=RATE)
    assert results(report) == [("001", "skipped"), ("002", "skipped")]
    assert (queue.sent, queue.hidden, queue.changed) == ([], ["001", "002"], [])


@pytest.mark.parametrize(
    ("refused", "result", "left"),
    [(set[str](), "replayed, removal uncertain", []), ({"delete_message"}, "replayed, not removed", ["001"])],
    ids=["old receipts accepted", "refused"],
)
async def test_a_letter_whose_hold_runs_out_while_it_is_sent_is_deleted_and_reported(
    refused: set[str], result: str, left: list[str]
) -> None:
    queue, report, now = FakeQueue("001"), ActionReport(), 0.0

    def suspend() -> None:
        nonlocal now
        now = HOLD_S

    queue.during["send_message"], queue.refused = suspend, refused
    async with held_queue(stack_of(queue), "Q") as source:
        source.hold._now_s = lambda: now
        await act(await find(source, Selection(), 10), replay_to(source), report, rate=RATE)
    assert (results(report), report.problems, queue.calls.count("delete_message")) == ([("001", result)], 1, 1)
    assert (queue.sent, queue.hidden, queue.changed) == (["001"], left, [])


async def test_after_many_failures_in_a_row_the_rest_is_not_tried() -> None:
    queue, report = FakeQueue(*(f"{n:03}" for n in range(8))), ActionReport()
    queue.refused = {"delete_message"}
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 10), DISCARD, report, rate=RATE)
    assert [result for _, result in results(report)] == ["failed"] * MAX_FAILURES + ["not tried"] * 3
    assert queue.calls.count("delete_message") == MAX_FAILURES


async def test_a_cancelled_action_finishes_its_letter_and_starts_no_other() -> None:
    queue, report = FakeQueue("001", "002", "003"), ActionReport()
    queue.pause("send_message")

    async def replay() -> None:
        async with held_queue(stack_of(queue), "Q") as source:
            await act(await find(source, Selection(), 10), replay_to(source), report, rate=RATE)

    task = asyncio.create_task(replay())
    await queue.reached("send_message")
    task.cancel()
    await asyncio.sleep(0)
    queue.resume("send_message")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (queue.sent, sorted(queue.visible), queue.hidden) == (["001"], ["002", "003"], [])
    assert (report.done, report.total) == (1, 3)
