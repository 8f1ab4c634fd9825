import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict

from tests.workers.consumer.fakes import (
    LOST,
    QUICK,
    REFUSED,
    TIMEOUT_S,
    FakeClock,
    FakeQueue,
    RecordedBackoff,
    RecordedOutage,
    message,
    turns,
    until,
)
from workers.consumer.acknowledger import Acknowledger
from workers.consumer.delivery import Cancellation
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Acknowledged, DeadLettered, Released, Settlement
from workers.consumer.ports import Refusal
from workers.consumer.slots import Slots
from workers.consumer.timings import Timings
from workers.errors import FatalError, OutageError
from workers.metrics import Metrics, Outages

HANDLED = Acknowledged("handled")


class Stage:
    """A running acknowledger."""

    def __init__(self, queue: FakeQueue, timings: Timings, logs: list[EventDict], outages: Outages | None) -> None:
        self.queue = queue
        self.logs = logs
        self.clock = FakeClock()
        self.in_flight = InFlight(Slots(0), 60, Metrics(), now_s=self.clock)
        self.acknowledger = Acknowledger(queue, self.in_flight, timings, outages)
        self.task = asyncio.create_task(self.acknowledger.run())

    def settle(self, message_id: str, settlement: Settlement = HANDLED, receipt: str = "") -> None:
        delivery = self.in_flight.take(message(message_id, receipt), self.clock.now_s)
        assert delivery is not None
        self.acknowledger.settle(delivery, settlement)

    def endings(self) -> list[tuple[str, str, str]]:
        return [(e["message_id"], e["event"], e["outcome"]) for e in self.logs if e["event"].startswith("message.")]

    async def close(self) -> None:
        self.acknowledger.close()
        async with asyncio.timeout(TIMEOUT_S):
            await self.task


@contextlib.asynccontextmanager
async def acknowledging(
    queue: FakeQueue, timings: Timings = QUICK, outages: Outages | None = None
) -> AsyncIterator[Stage]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        stage = Stage(queue, timings, logs, outages)
        await turns()
        try:
            yield stage
        finally:
            stage.task.cancel()
            await asyncio.wait([stage.task])


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


async def test_deletes_in_batches_of_ten(queue: FakeQueue) -> None:
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=60.0)) as stage:
        for n in range(25):
            stage.settle(f"m{n}")
        await until(lambda: len(stage.endings()) == 20)
        assert queue.deletes == [[f"r-m{n}" for n in range(10)], [f"r-m{n}" for n in range(10, 20)]]


async def test_a_batch_that_is_not_full_is_sent_after_a_short_wait(queue: FakeQueue) -> None:
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=0.01)) as stage:
        stage.settle("a")
        stage.settle("b")
        await turns()
        assert queue.deletes == []
        await until(lambda: len(stage.endings()) == 2)
        stage.settle("c")
        await until(lambda: len(stage.endings()) == 3)
    assert queue.deletes == [["r-a", "r-b"], ["r-c"]]


async def test_each_message_is_released_with_its_own_delay(queue: FakeQueue) -> None:
    async with acknowledging(queue) as stage:
        stage.settle("a", Released("transient", 30))
        stage.settle("b", Released("stopping"))
        await until(lambda: len(stage.endings()) == 2)
    assert queue.changes == [[("r-a", 30), ("r-b", 0)]]
    assert queue.deletes == []


@pytest.mark.parametrize(
    ("settlement", "event"),
    [
        (Acknowledged("fulfilled"), "message.acknowledged"),
        (DeadLettered("undecodable"), "message.dead_lettered"),
        (Released("transient", 5), "message.released"),
    ],
)
async def test_writes_the_last_line_once_the_request_was_accepted(
    queue: FakeQueue, settlement: Settlement, event: str
) -> None:
    queue.outage = OutageError("down")
    async with acknowledging(queue) as stage:
        stage.settle("m", settlement)
        await until(lambda: len(queue.deletes) + len(queue.changes) >= 3)
        assert stage.endings() == []
        assert len(stage.in_flight) == 1
        queue.outage = None
        await until(lambda: len(stage.endings()) == 1)
        assert stage.endings() == [("m", event, settlement.outcome)]
        assert len(stage.in_flight) == 0


async def test_remembers_handled_messages_before_they_are_deleted(queue: FakeQueue) -> None:
    queue.outage = OutageError("down")
    async with acknowledging(queue) as stage:
        stage.settle("handled")
        stage.settle("released", Released("transient", 5))
        assert stage.in_flight.was_handled("handled")
        assert not stage.in_flight.was_handled("released")


async def test_only_refused_entries_are_sent_again(queue: FakeQueue) -> None:
    queue.refuse("r-b", REFUSED, REFUSED)
    async with acknowledging(queue) as stage:
        for message_id in "abc":
            stage.settle(message_id)
        await until(lambda: len(stage.endings()) == 3)
    assert queue.deletes == [["r-a", "r-b", "r-c"], ["r-b"], ["r-b"]]
    assert [(message_id, event) for message_id, event, _ in stage.endings()] == [
        ("a", "message.acknowledged"),
        ("c", "message.acknowledged"),
        ("b", "message.acknowledged"),
    ]


@pytest.mark.parametrize("answer", [REFUSED, LOST, OutageError("down")])
async def test_a_refused_delete_is_tried_again_with_the_newest_receipt(
    queue: FakeQueue, answer: Refusal | Exception
) -> None:
    async with acknowledging(queue) as stage:
        queue.refuse("r1", answer)
        queue.answering.clear()
        stage.settle("m", receipt="r1")
        await until(lambda: bool(queue.deletes))
        assert stage.in_flight.take(message("m", "r2"), stage.clock.now_s) is None
        queue.answering.set()
        await until(lambda: len(stage.endings()) == 1)
        assert stage.endings() == [("m", "message.acknowledged", "handled")]
    assert queue.deleted == ["r1", "r2"]


async def test_a_message_received_again_during_its_release_is_released_again(queue: FakeQueue) -> None:
    async with acknowledging(queue) as stage:
        queue.answering.clear()
        stage.settle("m", Released("stopping"), receipt="r1")
        await until(lambda: bool(queue.changes))
        assert stage.in_flight.take(message("m", "r2"), stage.clock.now_s) is None
        queue.answering.set()
        await until(lambda: len(stage.endings()) == 1)
    assert queue.changed == [("r1", 0), ("r2", 0)]
    assert stage.endings() == [("m", "message.released", "stopping")]


@pytest.mark.parametrize("settlement", [HANDLED, Released("transient", 5)])
async def test_a_message_whose_receipt_is_lost_is_abandoned(queue: FakeQueue, settlement: Settlement) -> None:
    queue.refuse("r-m", LOST)
    async with acknowledging(queue) as stage:
        stage.settle("m", settlement)
        await until(lambda: len(stage.endings()) == 1)
        assert stage.endings() == [("m", "message.abandoned", "receipt_lost")]
    assert len(queue.deletes) + len(queue.changes) == 1


async def test_closing_flushes_the_pending_entries(queue: FakeQueue) -> None:
    queue.refuse("r-a", REFUSED)
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=60.0)) as stage:
        stage.settle("a")
        stage.settle("b", Released("stopping"))
        await stage.close()
        assert sorted(stage.endings()) == [
            ("a", "message.acknowledged", "handled"),
            ("b", "message.released", "stopping"),
        ]


async def test_the_flush_is_bounded(queue: FakeQueue) -> None:
    queue.outage = OutageError("down")
    async with acknowledging(queue, replace(QUICK, flush_s=0.05)) as stage:
        stage.settle("m")
        await stage.close()
        assert stage.endings() == []
        assert [line["event"] for line in stage.logs] == ["delete.failed", "acknowledger.flush_expired"]
        assert stage.logs[-1]["flush_s"] == 0.05


async def test_ends_when_the_queue_is_gone(queue: FakeQueue) -> None:
    queue.outage = FatalError("the queue does not exist")
    async with acknowledging(queue) as stage:
        stage.settle("m")
        with pytest.raises(ExceptionGroup) as raised:
            async with asyncio.timeout(TIMEOUT_S):
                await stage.task
        assert raised.group_contains(FatalError, match="the queue does not exist")


async def test_failed_requests_are_tried_again_with_backoff(queue: FakeQueue) -> None:
    backoff = RecordedBackoff()
    queue.refuse("r-m", OutageError("down"), REFUSED, OutageError("down"))
    async with acknowledging(queue, replace(QUICK, acknowledge_retry=backoff)) as stage:
        stage.settle("m")
        await until(lambda: len(stage.endings()) == 1)
    assert backoff.attempts == [1, 2, 3]


ANSWERS = pytest.mark.parametrize("accepted", [True, False], ids=["old receipts accepted", "refused"])


@ANSWERS
async def test_a_release_that_waits_until_its_time_has_run_out_is_not_sent(queue: FakeQueue, *, accepted: bool) -> None:
    queue.outdate("r-late", accepted=accepted)
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=60.0)) as stage:
        stage.settle("late", Released("transient", 5))
        stage.clock.now_s += 60
        stage.settle("in_time", Released("stopping"))
        await stage.close()
        assert sorted(stage.endings()) == [
            ("in_time", "message.released", "stopping"),
            ("late", "message.abandoned", "receipt_lost"),
        ]
        assert len(stage.in_flight) == 0
    assert queue.changed == [("r-in_time", 0)]


@ANSWERS
async def test_a_release_is_tried_again_until_its_time_has_run_out(queue: FakeQueue, *, accepted: bool) -> None:
    queue.outage = OutageError("down")
    async with acknowledging(queue) as stage:
        stage.settle("m", Released("transient", 5))
        await until(lambda: len(queue.changes) >= 3)
        queue.outdate("r-m", accepted=accepted)
        stage.clock.now_s += 60
        asked = len(queue.changes)
        await until(lambda: len(stage.endings()) == 1)
        queue.outage = None
        await turns()
        assert stage.endings() == [("m", "message.abandoned", "receipt_lost")]
        assert "release.recovered" not in [line["event"] for line in stage.logs]  # Nothing shows that it works again.
    assert len(queue.changes) == asked


async def test_a_message_whose_receipt_was_lost_before_is_not_released(queue: FakeQueue) -> None:
    async with acknowledging(queue) as stage:
        delivery = stage.in_flight.take(message("m"), stage.clock.now_s)
        assert delivery is not None
        delivery.cancel(Cancellation.RECEIPT_LOST)  # SQS said so.
        stage.acknowledger.settle(delivery, Released("stopping"))
        await until(lambda: len(stage.endings()) == 1)
        assert stage.endings() == [("m", "message.abandoned", "receipt_lost")]
    assert queue.changes == []


@pytest.mark.parametrize("settlement", [HANDLED, DeadLettered("undecodable")])
@pytest.mark.parametrize(("accepted", "ending"), [(True, None), (False, ("m", "message.abandoned", "receipt_lost"))])
async def test_a_handled_message_is_deleted_although_its_time_has_run_out(
    queue: FakeQueue, settlement: Acknowledged | DeadLettered, ending: tuple[str, str, str] | None, *, accepted: bool
) -> None:
    queue.outdate("r-m", accepted=accepted)
    async with acknowledging(queue) as stage:
        stage.settle("m", settlement)
        stage.clock.now_s += 600
        await until(lambda: len(stage.endings()) == 1)
        event = "message.acknowledged" if settlement is HANDLED else "message.dead_lettered"
        assert stage.endings() == [ending or ("m", event, settlement.outcome)]
    assert queue.deleted == ["r-m"]


async def test_refused_entries_are_counted_with_their_codes(queue: FakeQueue) -> None:
    queue.refuse("r-a", REFUSED)
    queue.refuse("r-b", Refusal("Throttled", receipt_lost=False))
    queue.refuse("r-c", REFUSED)
    async with acknowledging(queue) as stage:
        for message_id in "abcd":
            stage.settle(message_id)
        await until(lambda: len(stage.endings()) == 4)
        (line,) = [line for line in stage.logs if line["event"] == "delete.failed"]
    assert line["reason"] == "entries refused: 3 (InternalError, Throttled)"


async def test_a_message_received_again_during_its_delete_is_no_refusal(queue: FakeQueue) -> None:
    async with acknowledging(queue) as stage:
        queue.answering.clear()
        stage.settle("m", receipt="r1")
        await until(lambda: bool(queue.deletes))
        stage.in_flight.take(message("m", "r2"), stage.clock.now_s)
        queue.answering.set()
        await until(lambda: len(stage.endings()) == 1)
        (line,) = [line for line in stage.logs if line["event"] == "delete.failed"]
    assert line["reason"] == "entries refused: 1"


async def test_log_lines_of_a_batch_do_not_have_the_ids_of_one_message(queue: FakeQueue) -> None:
    queue.refuse("r-m0", OutageError("down"))
    async with acknowledging(queue) as stage:
        with structlog.contextvars.bound_contextvars(message_id="m9"):
            for n in range(10):
                stage.settle(f"m{n}")
        await until(lambda: len(stage.endings()) == 10)
    assert ["message_id" in line for line in stage.logs if line["event"] == "delete.failed"] == [False]


async def test_a_cancelled_acknowledger_sends_nothing_more(queue: FakeQueue) -> None:
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=60.0)) as stage:
        stage.task.cancel()
        await asyncio.wait([stage.task])
        assert stage.task.cancelled()
        for n in range(10):
            stage.settle(f"m{n}")
        await turns()
        assert stage.endings() == []
    assert queue.deletes == []


async def test_the_timer_of_a_full_batch_does_not_cut_the_next_one_short(queue: FakeQueue) -> None:
    async with acknowledging(queue, replace(QUICK, max_batch_wait_s=0.05)) as stage:
        stage.settle("m0")
        first = stage.acknowledger._deletes._timer
        assert first is not None
        for n in range(1, 10):
            stage.settle(f"m{n}")
        assert first.cancelled()
        stage.settle("m10")
        timer = stage.acknowledger._deletes._timer
        stage.settle("m11")
        assert stage.acknowledger._deletes._timer is timer, "the wait counts from the first entry"
        await until(lambda: len(stage.endings()) == 12)
    assert [len(batch) for batch in queue.deletes] == [10, 2]


class RecordedOutages(Outages):
    """Outages whose stages record what they are told."""

    def stage(self, name: str, **_: Any) -> RecordedOutage:
        RECORDED[name] = RecordedOutage()
        return RECORDED[name]


RECORDED: dict[str, RecordedOutage] = {}


async def test_each_batch_that_fails_is_one_row_of_its_stages_outage(queue: FakeQueue) -> None:
    RECORDED.clear()
    queue.refuse("r-m", OutageError("down"), REFUSED)
    queue.refuse("r-n", OutageError("down"))
    async with acknowledging(queue, QUICK, RecordedOutages(CollectorRegistry())) as stage:
        stage.settle("m")
        stage.settle("n", Released("transient"))
        await stage.close()
    assert RECORDED.keys() == {"delete", "release"}
    rows = {name: [(event, reason) for event, _, reason in outage.rows] for name, outage in RECORDED.items()}
    assert rows == {
        "delete": [("failed", "down"), ("failed", "entries refused: 1 (InternalError)"), ("ended", "")],
        "release": [("failed", "down"), ("ended", "")],
    }
    assert {len({key for _, key, _ in outage.rows}) for outage in RECORDED.values()} == {1}


async def test_failures_of_deletes_and_releases_are_counted_apart(queue: FakeQueue) -> None:
    queue.refuse("r-m", OutageError("down"))
    queue.refuse("r-n", OutageError("down"), OutageError("down"))
    async with acknowledging(queue) as stage:
        stage.settle("m")
        stage.settle("n", Released("transient"))
        await until(lambda: len(stage.endings()) == 2)
        lines = {line["event"]: line["failures"] for line in stage.logs if line["event"].endswith("recovered")}
    assert lines == {"delete.recovered": 1, "release.recovered": 2}


async def test_the_flush_waits_for_requests_that_are_under_way(queue: FakeQueue) -> None:
    queue.answering.clear()
    async with acknowledging(queue) as stage:
        stage.settle("m")
        await until(lambda: bool(queue.deletes))
        stage.acknowledger.close()
        await turns()
        assert not stage.task.done()
        queue.answering.set()
        async with asyncio.timeout(TIMEOUT_S):
            await stage.task
        assert len(stage.endings()) == 1
        assert "acknowledger.flush_expired" not in [line["event"] for line in stage.logs]


async def test_an_answer_about_fewer_entries_than_were_sent_is_an_error(queue: FakeQueue) -> None:
    async with acknowledging(queue) as stage:
        stage.acknowledger._queue = ShortAnswers()
        stage.settle("a")
        stage.settle("b")
        await asyncio.wait([stage.task], timeout=TIMEOUT_S)
        assert stage.endings() in ([], [("a", "message.acknowledged", "handled")])
        with pytest.raises(ExceptionGroup) as raised:
            stage.task.result()
    assert raised.group_contains(ValueError)


class ShortAnswers(FakeQueue):
    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        return (await super().delete(receipt_handles))[1:]


@pytest.mark.usefixtures("at_debug")
async def test_each_batch_and_each_wait_has_a_log_line(queue: FakeQueue) -> None:
    queue.refuse("r-m", REFUSED)
    queue.answering.clear()
    async with acknowledging(queue, replace(QUICK, acknowledge_retry=RecordedBackoff(fixed_s=2.0))) as stage:
        stage.settle("m")
        await until(lambda: bool(queue.deletes))
        await asyncio.sleep(1.2345)
        queue.answering.set()
        await until(lambda: len(stage.endings()) == 1)
        await turns()
        lines = [line for line in stage.logs if line["event"] in ("batch.settled", "retry.scheduled")]
    settled, scheduled, again = lines
    assert settled.pop("duration_ms") == 1234.5
    assert settled.pop("reason") == "entries refused: 1 (InternalError)"
    assert settled == {"event": "batch.settled", "stage": "delete", "entries": 1, "failed": 1, "attempt": 1} | DEBUG
    assert scheduled == {"event": "retry.scheduled", "stage": "delete", "delay_ms": 2000} | DEBUG
    assert (again["attempt"], again["failed"], again["reason"]) == (2, 0, None)


DEBUG = {"log_level": "debug"}
