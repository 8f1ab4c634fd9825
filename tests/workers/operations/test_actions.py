import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.queue_fakes import FakeQueue
from workers.operations import actions
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
from workers.operations.errors import OperationError
from workers.operations.hold import HOLD_S
from workers.operations.stack import Queue

if TYPE_CHECKING:
    from workers.operations.stack import Stack

RATE = 1e6
NOW = datetime(2026, 11, 22, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def stack_of(queue: FakeQueue, worker: str | None = "fulfillment", gone: str = "") -> "Stack":
    async def find_queue(name: str) -> Queue:
        if name == gone:
            raise OperationError("there is no such queue")
        if name == "a.queue":
            raise ValueError("this cannot be a queue")
        return Queue(name, "url", {}, "DLQ", "dlq-url", worker=worker)

    async def attributes(url: str) -> dict[str, str]:
        answer: dict[str, dict[str, str]] = await queue.call("get_queue_attributes", QueueUrl=url)
        return answer["Attributes"]

    stack = SimpleNamespace(sqs=queue.client, queue=find_queue, attributes=attributes, now=lambda: NOW)
    return cast("Stack", stack)


def results(report: ActionReport) -> list[tuple[str, str]]:
    return [(outcome.letter.id, outcome.result) for outcome in report.outcomes]


async def test_selected_letters_are_found_up_to_the_limit() -> None:
    queue, looked_at = FakeQueue("001", "002", "003", "004"), list[int]()
    async with held_queue(stack_of(queue), "Q") as source:
        found = await find(source, Selection(ids=("002", "003", "004")), 2, progress=looked_at.append)
        assert [letter.id for letter in found.letters] == ["002", "003"]
        assert (sum(looked_at), found.seen, found.approximate_count) == (3, 3, 4)
        assert found.limit == 2
        assert [outcome.result for outcome in dry_run(found, DISCARD)] == ["would be discarded"] * 2
    assert sorted(queue.visible) == ["001", "002", "003", "004"]


async def test_found_letters_are_sorted_oldest_first() -> None:
    queue = FakeQueue("young", "old", "unknown")
    queue.parts = {
        "young": {"Attributes": {"SentTimestamp": str(NOW_MS - 500)}},
        "old": {"Attributes": {"SentTimestamp": str(NOW_MS - 2_000)}},
    }
    async with held_queue(stack_of(queue), "Q") as source:
        found = await find(source, Selection(), 10)
    assert [letter.id for letter in found.letters] == ["old", "young", "unknown"]
    assert {letter.queue for letter in found.letters} == {"DLQ"}


async def test_the_age_of_letters_counts_from_now() -> None:
    queue = FakeQueue("001")
    queue.parts["001"] = {"Attributes": {"SentTimestamp": str(NOW_MS - 60_000)}}
    async with held_queue(stack_of(queue), "Q") as source:
        for age_s, count in ((59, 1), (60, 0)):
            queue.come_back(*queue.hidden)
            source.hold._seen.clear()
            found = await find(source, Selection(older_than=timedelta(seconds=age_s)), 10)
            assert len(found.letters) == count


async def test_the_number_of_letters_counts_hidden_and_delayed_ones() -> None:
    queue = FakeQueue("001")
    queue.hidden, queue.delayed = ["002", "003"], 4
    async with held_queue(stack_of(queue), "Q") as source:
        assert (await find(source, Selection(), 10)).approximate_count == 7
    assert queue.requests_of("get_queue_attributes") == [{"QueueUrl": "dlq-url"}]


async def test_counts_that_sqs_leaves_out_are_zero() -> None:
    queue = FakeQueue()
    queue.counts = {}
    async with held_queue(stack_of(queue), "Q") as source:
        assert source.approximate_count == 0


def test_a_report_is_empty_before_the_action_begins() -> None:
    report = ActionReport()
    assert (report.action, report.total, report.done, report.problems) == (None, 0, 0, 0)


async def test_the_number_of_letters_is_at_least_the_number_seen() -> None:
    queue = FakeQueue("001")
    async with held_queue(stack_of(queue), "Q") as source:
        queue.visible += ["002", "003"]
        assert (await find(source, Selection(), 10)).approximate_count == 3


async def test_letters_are_held_in_the_dead_letter_queue_and_replayed_as_they_were_sent() -> None:
    queue, trace = FakeQueue("001"), {"DataType": "String", "StringValue": "t-1"}
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    queue.parts["001"] = {
        "Body": '{"OrderId": "001"}',
        "Attributes": {"AWSTraceHeader": header},
        "MessageAttributes": {"trace": trace},
    }
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 10), replay_to(source), ActionReport(), rate=RATE)
    assert queue.requests_of("send_message") == [
        {
            "QueueUrl": "url",
            "MessageBody": '{"OrderId": "001"}',
            "MessageAttributes": {"trace": trace},
            "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}},
        }
    ]
    assert {request["QueueUrl"] for name, request in queue.requests if name != "send_message"} == {"dlq-url"}


async def test_letters_that_could_not_be_made_visible_are_reported() -> None:
    queue, warnings = FakeQueue("001"), list[str]()
    queue.refused = {"change_message_visibility_batch"}
    async with held_queue(stack_of(queue), "Q", warn=warnings.append) as source:
        await find(source, Selection(), 10)
    assert len(warnings) == 1


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


async def test_only_failures_in_a_row_end_the_action() -> None:
    queue, report = FakeQueue(*(f"{n:03}" for n in range(12))), ActionReport()

    def refuse_all_but_each_fifth() -> None:
        if queue.calls.count("delete_message") % 5:
            raise ClientError({"Error": {"Code": "InternalError"}}, "delete_message")

    queue.during["delete_message"] = refuse_all_but_each_fifth
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 20), DISCARD, report, rate=RATE)
    assert [result for _, result in results(report)] == ([*["failed"] * 4, "discarded"] * 3)[:12]


async def test_after_a_success_as_many_failures_are_tried_as_at_first() -> None:
    queue, report = FakeQueue(*(f"{n:03}" for n in range(8))), ActionReport()

    def refuse_all_but_the_first() -> None:
        if queue.calls.count("delete_message") > 1:
            raise ClientError({"Error": {"Code": "InternalError"}}, "delete_message")

    queue.during["delete_message"] = refuse_all_but_the_first
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 20), DISCARD, report, rate=RATE)
    expected = ["discarded", *["failed"] * MAX_FAILURES, "not tried", "not tried"]
    assert [result for _, result in results(report)] == expected


async def test_an_internal_error_ends_the_action() -> None:
    queue = FakeQueue("001")
    for queue.refused in ({"send_message"}, {"delete_message"}):
        queue.error, report = KeyError("bug"), ActionReport()
        with pytest.raises(KeyError, match="bug"):
            async with held_queue(stack_of(queue), "Q") as source:
                await act(await find(source, Selection(), 10), replay_to(source), report, rate=RATE)
        assert report.outcomes == []


async def test_a_letters_hold_is_extended_before_it_is_acted_on() -> None:
    queue, report, now = FakeQueue("001"), ActionReport(), 0.0
    async with held_queue(stack_of(queue), "Q") as source:
        source.hold._now_s = lambda: now
        found = await find(source, Selection(), 10)
        now = HOLD_S - 1
        await act(found, DISCARD, report, rate=RATE)
    assert queue.changed == [("001", HOLD_S)]


async def test_letters_are_acted_on_at_the_given_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, now, begun = FakeQueue("001", "002", "003"), 0.0, list[float]()

    async def sleep(delay_s: float) -> None:
        nonlocal now
        now += delay_s

    queue.during["delete_message"] = lambda: begun.append(now)
    monkeypatch.setattr(actions, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(actions, "time", SimpleNamespace(monotonic=lambda: now))
    async with held_queue(stack_of(queue), "Q") as source:
        await act(await find(source, Selection(), 10), DISCARD, ActionReport(), rate=4)
    assert begun == [0, 0.25, 0.5]


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


def redriven(source: str) -> dict[str, object]:
    return {"Body": "{}", "Attributes": {"DeadLetterQueueSourceArn": f"arn:aws:sqs:us-east-1:000000000000:{source}"}}


async def test_letters_of_another_queue_with_the_same_dead_letter_queue_are_left_alone() -> None:
    queue = FakeQueue("mine", "other", "gone", "odd", "unknown")
    queue.parts = {
        "mine": redriven("Q"),
        "other": redriven("Other"),
        "gone": redriven("Gone"),
        "odd": redriven("a.queue"),
    }
    async with held_queue(stack_of(queue, gone="Gone"), "Q") as source:
        found = await find(source, Selection(), 10)
        assert sorted(letter.id for letter in found.letters) == ["gone", "mine", "odd", "unknown"]
        assert found.seen == 5


async def test_a_letter_of_another_queue_than_ours_has_no_case_and_a_bare_body_is_no_order() -> None:
    labels = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in {"Reason": "UNDECODABLE_MESSAGE: no", "OriginMessageId": "o-1"}.items()
    }
    for worker, order_id, case_id in (("fulfillment", "001", "message-o-1"), (None, None, None)):
        queue = FakeQueue("m-1")
        queue.parts = {"m-1": {"Body": "001", "MessageAttributes": labels}}
        async with held_queue(stack_of(queue, worker), "Q") as source:
            (letter,) = (await find(source, Selection(), 10)).letters
        assert (letter.order_id, letter.case_id, letter.undecodable) == (order_id, case_id, True)
