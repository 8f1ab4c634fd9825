"""Notices about an execution, and the case of its order: one case, one notification, however they come."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from tests.workers.escalation.test_handler import ABORTED, RULES, Bench, notice, routed
from tests.workers.fakes import ANOTHER, DOWN, EXECUTION, order
from workers.consumer.message import Acknowledged
from workers.contracts import OutgoingEscalation
from workers.domain.cases import Case, CaseState, Claim
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import ConflictError, OutageError, TransientError
from workers.escalation.notifications import RefusedError


class MergingBench(Bench):
    """A handler whose clock ticks."""

    def __init__(self, *orders: Order, **options: Any) -> None:
        super().__init__(*orders, **options)
        self.second = 0
        self.handler.now = self.now

    def now(self) -> str:
        self.second += 1
        return f"2026-11-22T11:00:{self.second:02}.000000Z"

    async def open_execution_case(self, first: str = "e1", copy: str = "e2") -> None:
        """Handle EventBridge's notice, and its copy after the wait."""
        assert await self.handle(ABORTED, first) == Acknowledged("postponed")
        assert await self.handle(self.waited, copy) == Acknowledged("escalated")

    @property
    def waited(self) -> str:
        return self.reminders.postponed[-1][0].body()

    @property
    def execution_case(self) -> Case:
        return self.cases.cases["one"]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


async def test_a_notice_about_an_execution_without_a_case_waits_once_then_opens_one(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    assert await bench.handle(ABORTED, "e1") == Acknowledged("postponed")
    assert bench.cases.cases == {}
    expected = OutgoingEscalation(
        order_id=None,
        reasons=(Reason.WORKFLOW_FAILED,),
        source=Source.EVENTBRIDGE,
        detail="Execution one ended ABORTED.",
        execution_arn=EXECUTION,
        waiting_message_id="e1",
    )
    assert bench.reminders.postponed == [(expected, 60)]
    assert await bench.handle(bench.waited, "e2") == Acknowledged("escalated")
    assert (bench.case.case_id, bench.case.order_id, bench.case.message_ids) == ("one", None, ("e1",))
    assert bench.status is OrderStatus.RECEIVED  # The execution's order is unknown.
    assert [line["case_id"] for line in routed(logs)] == ["one"]
    assert {"event": "notice.postponed", "log_level": "info", "delay_s": 60} in logs
    assert len(bench.reminders.postponed) == 1


async def test_a_notice_that_waits_keeps_what_it_says() -> None:
    bench = MergingBench()
    more = {"Attempts": 2, "Queue": "OrderFulfillmentQueue", "OriginMessageId": "o1"}
    assert await bench.handle(json.dumps(json.loads(ABORTED) | more), "e1") == Acknowledged("postponed")
    assert json.loads(bench.waited) == json.loads(ABORTED) | more | {"WaitingMessageId": "e1"}


async def test_a_notice_that_finds_its_case_does_not_wait() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.handle(notice())
    assert await bench.handle(ABORTED, "e1") == Acknowledged("added_to_case")
    assert bench.reminders.postponed == []


async def test_a_malformed_order_does_not_wait() -> None:
    malformed = json.dumps(json.loads(ABORTED) | {"Source": "workflow", "Reasons": ["MALFORMED_ORDER"]})
    assert await MergingBench().handle(malformed) == Acknowledged("escalated")


@pytest.mark.parametrize("lost", [True, False])
async def test_a_notice_that_is_sent_twice_before_its_acknowledgment_counts_once(
    logs: list[EventDict], lost: bool
) -> None:
    bench = MergingBench()
    bench.journal.fail("reminders.postpone", DOWN, lost=lost)
    with pytest.raises(OutageError):
        await bench.handle(ABORTED, "e1")
    assert await bench.handle(ABORTED, "e1", 2) == Acknowledged("postponed")
    for number, (copy, _) in enumerate(bench.reminders.postponed):
        await bench.handle(copy.body(), f"copy-{number}")
    assert bench.case.message_ids == ("e1",)
    assert len(bench.case.evidence) == len(routed(logs)) == 1


async def test_a_duplicate_notice_opens_no_second_case(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    for message_id in ("e1", "e2"):
        assert await bench.handle(ABORTED, message_id) == Acknowledged("postponed")
    outcomes = [(await bench.handle(copy.body(), "copy")).outcome for copy, _ in bench.reminders.postponed]
    assert outcomes == ["escalated", "added_to_case"]
    assert len(bench.cases.cases) == len(routed(logs)) == 1


async def test_the_orders_case_takes_over_the_case_of_its_execution(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    opened_at = bench.execution_case.opened_at
    assert await bench.handle(notice(), "m1") == Acknowledged("escalated")
    assert bench.status is OrderStatus.ESCALATED
    assert (bench.execution_case.state, bench.execution_case.merged_into) == (CaseState.RESOLVED, "001")
    (resolution,) = bench.execution_case.resolutions
    assert (resolution.action, resolution.actor) == ("merged", "workflow")
    assert resolution.note == "It is about order 001: see case 001."
    assert (bench.case.case_id, bench.case.state, bench.case.order_id) == ("001", CaseState.OPEN, "001")
    assert [evidence.message_id for evidence in bench.case.evidence] == ["e1", "m1"]
    assert bench.case.message_ids == ("e1", "m1")
    assert bench.case.reasons == (Reason.WORKFLOW_FAILED, Reason.INVALID_PRICE)
    assert (bench.case.severity, bench.case.opened_at) == (Severity.CRITICAL, opened_at)
    assert [line["case_id"] for line in routed(logs)] == ["one"]
    assert [(line["case_id"], line["merged"]) for line in logs if line["event"] == "case.merged"] == [("001", "one")]


async def test_an_execution_is_notified_once_in_each_channel(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OSError()] * 3)
    await bench.open_execution_case()
    assert (len(bench.channels["pager"].sent), len(bench.channels["chat"].sent)) == (1, 0)
    bench.recover()
    await bench.handle(notice(), "m1")
    assert (len(bench.channels["pager"].sent), len(bench.channels["chat"].sent)) == (1, 1)
    assert bench.case.unrouted == ()
    assert len(routed(logs)) == 1
    ((reminder, _),) = bench.reminders.sent
    assert reminder.case_id == "one"
    assert await bench.handle(reminder.body(), "r1") == Acknowledged("superseded")
    assert len(bench.channels["chat"].sent) == 1


async def test_a_merged_episode_keeps_which_notification_was_given_up() -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[RefusedError("HTTP 422", blames_content=True)] * 2)
    await bench.open_execution_case()
    ((reminder, _),) = bench.reminders.sent
    assert await bench.handle(reminder.body(), "r1") == Acknowledged("routed")
    await bench.handle(notice(), "m1")
    assert {(sent.channel, sent.given_up) for sent in bench.case.routed} == {
        ("log", None),
        ("pager", None),
        ("chat", "HTTP 422"),
    }


async def test_a_merge_that_is_interrupted_is_finished_by_the_next_delivery(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OSError()] * 3)
    await bench.open_execution_case()
    bench.recover()
    bench.journal.fail("cases.apply", ConflictError("changed"))
    bench.journal.fail("cases.apply", DOWN, lost=True)
    with pytest.raises(OutageError):
        await bench.handle(notice(), "m1")
    merged = bench.case
    assert await bench.handle(notice(), "m1", 2) == Acknowledged("escalated")
    assert bench.case.evidence == merged.evidence
    assert (len(bench.channels["pager"].sent), len(bench.channels["chat"].sent)) == (1, 1)
    assert len(routed(logs)) == 1


async def test_the_line_of_a_case_that_was_merged_before_it_was_logged_is_not_lost(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.handle(ABORTED, "e1")
    bench.journal.fail("cases.apply", DOWN, lost=True)  # The worker crashes before it writes the line.
    with pytest.raises(OutageError):
        await bench.handle(bench.waited, "e2")
    await bench.handle(notice(), "m1")
    assert routed(logs) == []
    assert await bench.handle(bench.waited, "e2", 2) == Acknowledged("added_to_case")
    assert [line["case_id"] for line in routed(logs)] == ["one"]


async def test_a_notice_merges_the_two_cases_that_it_finds() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    execution_case = bench.cases.cases.pop("one")
    await bench.handle(notice(), "m1")
    bench.cases.cases["one"] = execution_case  # As if both had been opened at once.
    assert await bench.handle(ABORTED, "e9") == Acknowledged("added_to_case")
    assert bench.execution_case.merged_into == "001"
    assert set(bench.case.message_ids) == {"m1", "e1", "e9"}


async def test_a_notice_about_a_merged_execution_goes_to_the_orders_case() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.handle(notice(), "m1")
    assert await bench.handle(ABORTED, "e9") == Acknowledged("added_to_case")
    assert "e9" in bench.case.message_ids
    assert "e9" not in bench.execution_case.message_ids


async def test_a_late_notice_about_an_earlier_execution_goes_to_the_orders_case(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.handle(notice())
    bench.orders.orders["001"] = order("RECEIVED", execution_arn=ANOTHER)
    assert await bench.handle(notice(ExecutionArn=ANOTHER), "m2") == Acknowledged("escalated")
    assert await bench.handle(ABORTED, "e1") == Acknowledged("added_to_case")
    assert "e1" in bench.case.message_ids
    assert (bench.case.episode, len(routed(logs))) == (2, 2)
    assert [case_id for case_id, case in bench.cases.cases.items() if case.state is CaseState.OPEN] == ["001"]


async def test_a_pointer_that_is_there_already_changes_nothing() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.handle(notice())
    bench.orders.orders["001"] = order("RECEIVED", execution_arn=ANOTHER)
    bench.journal.fail("cases.apply", DOWN)
    with pytest.raises(OutageError):
        await bench.handle(notice(ExecutionArn=ANOTHER), "m2")
    pointer = bench.execution_case
    assert await bench.handle(notice(ExecutionArn=ANOTHER), "m2", 2) == Acknowledged("escalated")
    assert bench.execution_case == pointer


async def test_a_case_is_merged_once(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.handle(notice(), "m1")
    merged = bench.execution_case
    assert await bench.handle(notice(), "m2") == Acknowledged("added_to_case")
    assert bench.execution_case == merged
    assert [evidence.message_id for evidence in bench.case.evidence] == ["e1", "m1", "m2"]
    assert [line["event"] for line in logs].count("case.merged") == 1


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
async def test_an_escalation_of_a_final_order_is_noted_on_the_case_of_its_execution(status: str) -> None:
    bench = MergingBench(order(status))
    await bench.open_execution_case()
    assert await bench.handle(notice(), "m1") == Acknowledged("order_already_final")
    assert (bench.case.case_id, bench.case.order_id, bench.case.message_ids) == ("one", "001", ("e1", "m1"))


async def test_a_case_of_another_order_is_not_merged_though_an_execution_has_its_id() -> None:
    named = EXECUTION.rpartition(":")[0] + ":002"
    bench = MergingBench(order("RECEIVED", "002", named), order("RECEIVED", execution_arn=named))
    await bench.handle(notice(OrderId="002", ExecutionArn=named), "m1")
    await bench.handle(notice(ExecutionArn=named), "m2")
    assert {case_id: case.state for case_id, case in bench.cases.cases.items()} == {"001": "OPEN", "002": "OPEN"}


async def test_a_case_of_an_execution_with_the_same_name_of_another_state_machine_is_not_merged() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.handle(notice(ExecutionArn=EXECUTION.replace(":Orders:", ":Others:")), "m1")
    assert bench.execution_case.merged_into is None


async def test_the_newest_execution_of_a_merged_case_stays_the_newest() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.cases.put(replace(bench.execution_case, execution_arns=(EXECUTION, ANOTHER)))
    await bench.handle(notice(), "m1")
    assert bench.case.execution_arns == (ANOTHER, EXECUTION)


async def test_an_order_whose_id_is_the_name_of_another_orders_execution_gets_its_own_case() -> None:
    named = EXECUTION.rpartition(":")[0] + ":002"
    bench = MergingBench(order("RECEIVED", execution_arn=named))
    await bench.handle(notice(ExecutionArn=named), "m1")
    bench.orders.orders["001"] = order("RECEIVED", execution_arn=ANOTHER)
    await bench.handle(notice(ExecutionArn=ANOTHER), "m2")
    assert bench.cases.cases["002"].merged_into == "001"
    assert await bench.handle(notice(OrderId="002"), "m3") == Acknowledged("escalated")
    own = bench.cases.cases["002"]
    assert (own.state, own.order_id, own.merged_into) == (CaseState.OPEN, "002", None)


async def test_an_execution_that_is_named_like_its_order_needs_no_pointer() -> None:
    named = EXECUTION.rpartition(":")[0] + ":001"
    bench = MergingBench(order("RECEIVED", execution_arn=named))
    await bench.handle(notice(ExecutionArn=named), "m1")
    bench.orders.orders["001"] = order("RECEIVED", execution_arn=ANOTHER)
    await bench.handle(notice(ExecutionArn=ANOTHER), "m2")
    assert "cases.put" not in bench.journal.names()


async def test_a_notice_whose_merged_case_was_deleted_stays_with_the_case_of_its_execution() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.handle(notice(), "m1")
    del bench.cases.cases["001"]
    assert await bench.handle(ABORTED, "e9") == Acknowledged("superseded")
    assert "e9" in bench.execution_case.message_ids


async def test_a_resubmission_that_a_person_has_begun_is_finished_before_its_case_is_merged() -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    claim = Claim(actor="ada", note="x", at="", episode=1, number=1, order_id="001", execution_arn=ANOTHER)
    await bench.cases.put(replace(bench.execution_case, claim=claim))
    await bench.handle(notice(), "m1")
    assert (bench.execution_case.state, bench.execution_case.merged_into) == (CaseState.OPEN, None)
    assert bench.cases.cases["001"].state is CaseState.OPEN


async def test_an_execution_with_a_case_that_a_person_has_closed_is_notified_again(logs: list[EventDict]) -> None:
    bench = MergingBench(order("RECEIVED"))
    await bench.open_execution_case()
    await bench.cases.put(replace(bench.execution_case, state=CaseState.RESOLVED))
    assert await bench.handle(notice(), "m1") == Acknowledged("escalated")
    assert [line["case_id"] for line in routed(logs)] == ["one", "001"]
    assert bench.case.reasons == (Reason.INVALID_PRICE,)
    assert bench.execution_case.merged_into == "001"


async def test_reminders_do_not_multiply_though_each_is_sent_and_delivered_twice() -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OSError()] * 1_000)
    await bench.handle(notice())
    await bench.handle(notice(), receive_count=2)  # The worker crashed before the acknowledgment.
    number = 0
    for tries in range(1, 6):
        due = [sent for sent, _ in bench.reminders.sent if sent.tries == tries]
        assert len(due) == 2
        outcomes = []
        for sent in due:  # The first copy is delivered twice.
            number += 1
            outcomes += [(await bench.handle(sent.body(), f"r{number}")).outcome for _ in range(1 + (sent is due[0]))]
        assert outcomes == ["deferred", "deferred", "superseded"]


async def test_a_reminder_that_comes_after_a_long_silence_is_welcome() -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OSError()] * 1_000)
    await bench.handle(notice())
    ((first, _),) = bench.reminders.sent
    assert await bench.handle(first.body(), "r1") == Acknowledged("deferred")
    assert await bench.handle(first.body(), "replayed") == Acknowledged("superseded")
    bench.handler.now = lambda: "2026-11-22T12:00:00.000000Z"
    assert await bench.handle(first.body(), "replayed") == Acknowledged("deferred")


@pytest.mark.parametrize("error", [TransientError("busy"), DOWN])
async def test_a_reminder_whose_handling_fails_is_handled_again(error: Exception) -> None:
    bench = MergingBench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OSError()] * 3)
    await bench.handle(notice())
    ((first, _),) = bench.reminders.sent
    bench.recover()
    bench.journal.fail("cases.record_sent", error)
    with pytest.raises(type(error)):
        await bench.handle(first.body(), "r1")
    assert await bench.handle(first.body(), "r1", 2) == Acknowledged("routed")
    assert bench.case.unrouted == ()
