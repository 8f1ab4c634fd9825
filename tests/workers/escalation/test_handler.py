import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from tests.workers.fakes import (
    ANOTHER,
    DOWN,
    EXECUTION,
    MESSAGE_ID,
    NO_WAIT,
    NOW,
    FakeCases,
    FakeChannel,
    FakeDeadLetters,
    FakeMessageTrials,
    FakeOrders,
    FakeReminders,
    Journal,
    message,
    order,
)
from workers.consumer.message import Acknowledged, DeadLettered
from workers.domain.cases import Case, CaseState, OrderCopy, Resolution, SentNotification
from workers.domain.escalations import execution_case_id
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule, Rules
from workers.errors import ConflictError, OutageError, TransientError, UnreadableOrderError
from workers.escalation.conflicts import MAX_TRIES
from workers.escalation.handler import MAX_LOGGED, REMINDER_BACKOFF, EscalationHandler
from workers.escalation.router import Router
from workers.escalation.rules.reader import EscalationRules

CARD = "4929123412345678"


class Bench:
    """An escalation handler and its fakes."""

    def __init__(self, *orders: Order, rules: Rules | None = None, channels: Sequence[str] = ()) -> None:
        self.journal = Journal()
        self.orders = FakeOrders(self.journal, *orders)
        self.cases = FakeCases(self.journal, self.orders)
        self.dead_letters = FakeDeadLetters(self.journal)
        self.reminders = FakeReminders(self.journal)
        self.trials = FakeMessageTrials(self.journal)
        self.channels = {name: FakeChannel(name, self.journal) for name in channels}
        self.handler = EscalationHandler(
            queue_name="EscalationQueue",
            cases=self.cases,
            dead_letters=self.dead_letters,
            reminders=self.reminders,
            trials=self.trials,
            rules=rules or EscalationRules.read(None, {}).rules,
            router=self.router(),
            now=lambda: NOW,
            conflict_backoff=NO_WAIT,
        )

    async def handle(self, body: str, message_id: str = "m1", receive_count: int = 1) -> Acknowledged | DeadLettered:
        return await self.handler.handle(message(body, message_id, receive_count))

    def recover(self) -> None:
        """End the pause of failed channels, by a router that has seen no failure."""
        self.handler.router = self.router()

    def router(self) -> Router:
        return Router(list(self.channels.values()), self.cases, now=lambda: NOW, retry_backoff=NO_WAIT)

    @property
    def status(self) -> OrderStatus:
        return self.orders.orders["001"].status

    @property
    def case(self) -> Case:
        """The only case, apart from those that were merged into it."""
        (case,) = (case for case in self.cases.cases.values() if case.merged_into is None)
        return case


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def notice(**changes: Any) -> str:
    return json.dumps(
        {
            "OrderId": "001",
            "Reasons": ["INVALID_PRICE"],
            "Source": "workflow",
            "Detail": "The order's details are not proper.",
            "ExecutionArn": EXECUTION,
        }
        | changes
    )


ABORTED = json.dumps(
    {
        "OrderId": None,
        "Reasons": ["WORKFLOW_FAILED"],
        "Source": "eventbridge",
        "ExecutionArn": EXECUTION,
        "Detail": "Execution one ended ABORTED.",
    }
)


def routed(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "escalation.routed"]


async def test_order_and_case_are_written_before_the_case_is_routed(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert bench.journal.names() == ["cases.get", "orders.get", "cases.apply"]
    assert bench.status is OrderStatus.ESCALATED
    assert (bench.case.case_id, bench.case.state, bench.case.message_ids) == ("001", CaseState.OPEN, ("m1",))
    assert bench.case.routed == (SentNotification(channel="log", episode=1, at=NOW),)
    assert routed(logs) == [
        {
            "event": "escalation.routed",
            "log_level": "warning",
            "case_id": "001",
            "episode": 1,
            "reasons": [Reason.INVALID_PRICE],
            "severity": Severity.WARNING,
            "channels": ["log"],
            "source": Source.WORKFLOW,
            "detail": "The order's details are not proper.",
        }
    ]


async def test_every_log_line_of_a_message_names_its_order_and_execution() -> None:
    structlog.contextvars.clear_contextvars()
    await Bench(order("RECEIVED")).handle(notice())
    assert structlog.contextvars.get_contextvars() == {"order_id": "001", "execution_arn": EXECUTION}


async def test_every_log_line_of_a_reminder_names_its_order_and_execution() -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OutageError("down")] * 3)
    await bench.handle(notice())
    structlog.contextvars.clear_contextvars()
    await bench.handle(reminder())
    assert structlog.contextvars.get_contextvars() == {"order_id": "001", "execution_arn": EXECUTION}


async def test_every_log_line_of_an_undecodable_message_says_why() -> None:
    structlog.contextvars.clear_contextvars()
    await Bench().handle("{")
    assert list(structlog.contextvars.get_contextvars()) == ["reason"]


async def test_a_redelivered_message_changes_nothing_but_its_episode_is_logged_again(logs: list[EventDict]) -> None:
    """The worker may have crashed after the write and before the line."""
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    before = bench.case
    for deliveries in (2, 3):
        assert await bench.handle(notice(), receive_count=deliveries) == Acknowledged("escalated")
        assert bench.case == before
        assert len(routed(logs)) == deliveries
    assert routed(logs) == [routed(logs)[0]] * 3


async def test_only_the_message_that_opened_the_episode_logs_it_again(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    await bench.handle(notice())
    for delivery in (1, 2):
        await bench.handle(notice(Reasons=["INVALID_CARD_NUMBER"]), "m2", delivery)
        await bench.handle(reminder(), "m3", delivery)
    assert len(routed(logs)) == 1
    bench.cases.cases["001"] = replace(bench.case, state=CaseState.RESOLVED)
    assert await bench.handle(notice(), receive_count=2) == Acknowledged("added_to_case")
    assert len(routed(logs)) == 1


async def test_a_new_episode_is_logged_and_recorded_too(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    bench.cases.cases["001"] = replace(bench.case, state=CaseState.RESOLVED)
    bench.orders.orders["001"] = order("RECEIVED", execution_arn=ANOTHER)
    for delivery in (1, 2):
        assert await bench.handle(notice(ExecutionArn=ANOTHER), "m2", delivery) == Acknowledged("escalated")
    assert [line["episode"] for line in routed(logs)] == [1, 2, 2]
    assert [(sent.channel, sent.episode) for sent in bench.case.routed] == [("log", 1), ("log", 2)]
    assert "cases.record_sent" not in bench.journal.names()


async def test_calls_for_one_delivery_write_one_line(logs: list[EventDict]) -> None:
    """In an outage, the handler is called again and again for the same delivery."""
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("cases.record_sent", *[DOWN] * 6)
    for _ in range(3):
        with pytest.raises(OutageError):
            await bench.handle(notice())
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert len(routed(logs)) == 1
    await bench.handle(notice(), receive_count=2)
    assert len(routed(logs)) == 2


async def test_a_case_that_version_1_did_not_log_is_logged_once_and_recorded(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    logs.clear()
    bench.cases.cases["001"] = replace(bench.case, routed=())
    assert await bench.handle(notice(), receive_count=2) == Acknowledged("escalated")
    assert len(routed(logs)) == 1
    assert bench.case.routed == (SentNotification(channel="log", episode=1, at=NOW),)


async def test_another_message_about_an_escalated_order_is_added_to_its_case(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    assert await bench.handle(notice(Reasons=["INVALID_CARD_NUMBER"]), "m2") == Acknowledged("added_to_case")
    assert bench.case.message_ids == ("m1", "m2")
    assert bench.case.reasons == (Reason.INVALID_PRICE, Reason.INVALID_CARD_NUMBER)
    assert len(routed(logs)) == 1


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
async def test_a_message_about_a_final_order_opens_and_routes_nothing(logs: list[EventDict], status: str) -> None:
    bench = Bench(order(status))
    assert await bench.handle(notice()) == Acknowledged("order_already_final")
    assert bench.cases.cases == {}
    assert bench.status == OrderStatus(status)
    assert routed(logs) == []


async def test_a_message_about_a_final_order_is_added_to_its_case(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    bench.orders.orders["001"] = order("FULFILLED")
    assert await bench.handle(notice(), "m2") == Acknowledged("order_already_final")
    assert [evidence.message_id for evidence in bench.case.evidence] == ["m1", "m2"]
    assert len(routed(logs)) == 1


@pytest.mark.parametrize("orders", [(), (order("RECEIVED", execution_arn=ANOTHER),)])
async def test_an_order_that_is_missing_or_of_another_execution_only_gets_a_case(
    logs: list[EventDict], orders: tuple[Order, ...]
) -> None:
    bench = Bench(*orders)
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert bench.case.case_id == "001"
    assert list(bench.orders.orders.values()) == list(orders)
    assert len(routed(logs)) == 1


async def test_a_bare_order_id_escalates_the_order_as_it_is_now(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    assert await bench.handle("001") == Acknowledged("escalated")
    assert bench.status is OrderStatus.ESCALATED
    assert bench.case.reasons == (Reason.UNSPECIFIED,)
    assert len(routed(logs)) == 1


async def test_a_notice_about_an_execution_is_added_to_its_case(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    assert await bench.handle(ABORTED, "m2") == Acknowledged("added_to_case")
    assert (bench.case.case_id, bench.case.order_id) == ("001", "001")
    assert bench.case.sources == (Source.WORKFLOW, Source.EVENTBRIDGE)
    assert len(routed(logs)) == 1


@pytest.mark.parametrize("conflicts", [1, 4])
async def test_after_a_conflict_the_case_is_read_and_written_again(logs: list[EventDict], conflicts: int) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("cases.apply", *[ConflictError("changed")] * conflicts)
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert bench.journal.names().count("orders.get") == conflicts + 1
    assert len(routed(logs)) == 1


async def test_lasting_conflicts_are_left_to_another_delivery(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("cases.apply", *[ConflictError("changed")] * MAX_TRIES)
    with pytest.raises(TransientError):
        await bench.handle(notice())
    assert bench.cases.cases == {}
    assert routed(logs) == []


@pytest.mark.parametrize("lost", [True, False])
async def test_an_outage_during_the_write_routes_once(logs: list[EventDict], lost: bool) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("cases.apply", DOWN, lost=lost)
    with pytest.raises(OutageError):
        await bench.handle(notice())
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert bench.case.message_ids == ("m1",)
    assert len(routed(logs)) == 1


async def test_a_notification_that_was_not_recorded_is_sent_again() -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("cases.record_sent", DOWN)
    with pytest.raises(OutageError):
        await bench.handle(notice())
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert sorted(len(channel.sent) for channel in bench.channels.values()) == [1, 2]
    assert bench.case.unrouted == ()


async def test_an_undecodable_message_is_dead_lettered_then_gets_a_case(logs: list[EventDict]) -> None:
    bench = Bench()
    body = f'{{"OrderId": "{CARD}"'
    assert await bench.handler.handle(message(body)) == DeadLettered("undecodable")
    assert bench.journal.names() == ["dead_letters.send", "cases.get", "cases.apply"]
    ((dead, reason, error),) = bench.dead_letters.sent
    assert (dead.body, error) == (body, "UndecodableError")
    what = "neither a JSON object nor an OrderId: invalid JSON, EOF while parsing an object at line 1 column 30"
    assert reason == f"UNDECODABLE_MESSAGE: {what}"
    assert (bench.case.case_id, bench.case.severity) == (f"message-{MESSAGE_ID}", Severity.CRITICAL)
    assert CARD not in json.dumps([str(bench.case), logs])


async def test_a_redelivered_undecodable_message_keeps_its_case(logs: list[EventDict]) -> None:
    bench = Bench()
    await bench.handler.handle(message("{"))
    await bench.handler.handle(message("{"))
    assert bench.case.message_ids == (MESSAGE_ID,)
    assert len(routed(logs)) == 1


RULES = Rules((Rule(severity=Severity.WARNING, channels=("chat", "pager")),))


def reminder(episode: int = 1, tries: int = 1, case_id: str = "001") -> str:
    return json.dumps({"CaseId": case_id, "Episode": episode, "Tries": tries})


async def test_a_failed_channel_stays_unrouted_and_a_reminder_is_sent(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OutageError("down")] * 3)
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert bench.status is OrderStatus.ESCALATED
    assert bench.case.unrouted == ("chat",)
    ((sent, delay_s),) = bench.reminders.sent
    assert json.loads(sent.body()) == {"CaseId": "001", "Episode": 1, "Tries": 1}
    assert 1 <= delay_s <= 6
    assert bench.journal.names()[-1] == "reminders.send"
    (line,) = [line for line in logs if line["event"] == "routing.deferred"]
    assert (line["case_id"], line["channels"], line["tries"]) == ("001", ["chat"], 1)


async def test_a_reminder_comes_after_a_second_at_least() -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat"])
    bench.handler.reminder_backoff = NO_WAIT
    bench.journal.fail("chat", *[OutageError("down")] * 3)
    await bench.handle(notice())
    assert [delay_s for _, delay_s in bench.reminders.sent] == [1]


async def test_a_reminder_sends_only_the_missing_notifications_and_is_the_last(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("chat", *[OutageError("down")] * 3)
    await bench.handle(notice())
    bench.recover()
    assert await bench.handle(reminder(), "m2") == Acknowledged("routed")
    assert bench.case.unrouted == ()
    assert [len(bench.channels[name].sent) for name in ("chat", "pager")] == [1, 1]
    assert len(bench.reminders.sent) == 1
    assert len(routed(logs)) == 1
    assert await bench.handle(reminder(), "m2") == Acknowledged("routed")  # Redelivered: nothing is sent again.
    assert [len(bench.channels[name].sent) for name in ("chat", "pager")] == [1, 1]


async def test_reminders_continue_with_backoff_while_the_channel_is_down() -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat"])
    bench.journal.fail("chat", *[OutageError("down")] * 1000)
    await bench.handle(notice())
    for tries in range(1, 30):
        bench.recover()
        assert await bench.handle(reminder(tries=tries), f"r{tries}") == Acknowledged("deferred")
    assert [sent.tries for sent, _ in bench.reminders.sent] == list(range(1, 31))
    delays_s = [delay_s for _, delay_s in bench.reminders.sent]
    assert all(1 <= delay_s <= 1 + min(300, 5 * 2**n) for n, delay_s in enumerate(delays_s))
    assert max(delays_s) > 100


@pytest.mark.parametrize("change", [{"state": CaseState.RESOLVED}, {"episode": 2}])
async def test_a_reminder_of_a_finished_episode_does_nothing(change: dict[str, Any]) -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat"])
    bench.journal.fail("chat", *[OutageError("down")] * 3)
    await bench.handle(notice())
    bench.cases.cases["001"] = replace(bench.case, **change)
    bench.recover()
    assert await bench.handle(reminder(), "m2") == Acknowledged("superseded")
    assert bench.channels["chat"].sent == []
    assert len(bench.reminders.sent) == 1


async def test_a_reminder_of_a_missing_case_does_nothing() -> None:
    assert await Bench().handle(reminder(), "m2") == Acknowledged("superseded")


async def test_a_reminder_with_a_wrong_field_is_dead_lettered() -> None:
    bench = Bench()
    assert await bench.handle('{"CaseId": 5, "Episode": 1}') == DeadLettered("undecodable")
    assert [reason for _, reason, _ in bench.dead_letters.sent] == [
        "UNDECODABLE_MESSAGE: CaseId is a number, must be a string of 1 to 2048 characters"
    ]


async def test_a_redelivered_escalation_sends_only_the_missing_notifications(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    bench.journal.fail("reminders.send", DOWN)  # Stopped before the acknowledgment.
    bench.journal.fail("pager", *[OutageError("down")] * 3)
    with pytest.raises(OutageError):
        await bench.handle(notice())
    bench.recover()
    assert await bench.handle(notice()) == Acknowledged("escalated")
    assert [len(bench.channels[name].sent) for name in ("chat", "pager")] == [1, 1]
    assert bench.case.unrouted == ()
    assert len(routed(logs)) == 1
    assert bench.reminders.sent == []


async def test_the_rules_decide_the_severity_and_channels_of_the_case() -> None:
    bench = Bench(order("RECEIVED"), rules=RULES, channels=["chat", "pager"])
    await bench.handle(notice(Reasons=["WORKFLOW_FAILED"]))
    assert (bench.case.severity, bench.case.channels) == (Severity.WARNING, ("log", "chat", "pager"))
    assert [sent.channel for sent in bench.case.routed] == ["log", "chat", "pager"]


async def test_the_case_has_a_copy_of_the_order() -> None:
    escalated = order("RECEIVED", name="Ann", item_name=f"Card {CARD}", price="-1", cc="************5678", attempts=2)
    bench = Bench(escalated)
    await bench.handle(notice())
    assert bench.case.order == OrderCopy(
        order_id="001",
        status=OrderStatus.RECEIVED,
        execution_arn=EXECUTION,
        name="Ann",
        item_name="Card ****",
        price="-1",
        cc="************5678",
        attempts=2,
    )


async def test_a_message_delivered_too_often_gets_another_trial_first() -> None:
    bench = Bench(order("RECEIVED"))
    assert await bench.handler.give_up(message(notice(), "m1", receive_count=11)) == Acknowledged("escalated")
    assert bench.journal.steps[0] == ("trials.count_trial", "m1"), "before it begins, because it may crash the worker"
    assert bench.dead_letters.sent == []


async def test_a_message_delivered_too_often_goes_to_the_dead_letter_queue_unread() -> None:
    bench = Bench(order("RECEIVED"))
    bench.trials.counted["m1"] = ["m1/11", "m1/12", "m1/13"]  # Each crashed its worker.
    settlement = await bench.handler.give_up(message(notice(), "m1", receive_count=14))
    assert settlement == DeadLettered("delivered_too_often")
    assert bench.journal.steps == [("trials.count_trial", "m1"), ("dead_letters.send", "m1")]
    assert [reason for _, reason, _ in bench.dead_letters.sent] == ["delivered 14 times without an outcome"]


async def test_forty_stops_send_no_escalation_to_the_dead_letter_queue() -> None:
    bench = Bench(order("RECEIVED"))
    for stop in range(40):
        stopped = message(notice(), "m1", receive_count=11 + stop)
        bench.journal.fail("cases.get", OutageError("down"))  # It holds the message until the stop.
        with pytest.raises(OutageError):
            await bench.handler.give_up(stopped)
        await bench.handler.take_back(stopped)
    assert await bench.handler.give_up(message(notice(), "m1", receive_count=51)) == Acknowledged("escalated")
    assert bench.dead_letters.sent == []


async def test_a_reminder_delivered_too_often_gets_its_trials_too() -> None:
    bench = Bench(order("RECEIVED"), channels=["log"])
    await bench.handle(notice())
    reminder = json.dumps({"CaseId": "001", "Episode": 1, "Tries": 1})
    settlement = await bench.handler.give_up(message(reminder, "m2", receive_count=11))
    assert settlement != DeadLettered("delivered_too_often")
    assert bench.trials.counted == {"m2": ["m2/11"]}


async def test_simultaneous_messages_about_one_order_do_not_conflict() -> None:
    bench = Bench(order("RECEIVED"))
    bodies = [json.dumps({"OrderId": "001", "Reasons": ["INVALID_PRICE"]})] * 50
    settlements = await asyncio.gather(*(bench.handle(body, message_id=f"m{n}") for n, body in enumerate(bodies)))
    assert sorted(settlement.outcome for settlement in settlements) == ["added_to_case"] * 49 + ["escalated"]
    assert len(bench.cases.cases["001"].message_ids) == 50


async def test_an_unreadable_order_gets_a_case_and_is_not_changed(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("orders.get", UnreadableOrderError("odd"))
    assert await bench.handle(json.dumps({"OrderId": "001", "Reasons": ["WORKFLOW_FAILED"]})) == Acknowledged(
        "escalated"
    )
    assert bench.orders.orders["001"].status is OrderStatus.RECEIVED
    assert bench.cases.cases["001"].state is CaseState.OPEN
    assert {"event": "order.unreadable", "log_level": "warning", "reason": "odd"} in logs


FINISHED = json.dumps({"OrderFinished": "001", "ExecutionArn": ANOTHER})


async def escalated_and_resubmitted(status: str = "FULFILLED") -> Bench:
    """Return a handler whose order was escalated, then taken over by another execution."""
    bench = Bench(order("RECEIVED"))
    await bench.handle(notice())
    bench.orders.orders["001"] = order(status, execution_arn=ANOTHER)
    return bench


@pytest.mark.parametrize("body", [FINISHED, json.dumps({"OrderFinished": "001"})])
async def test_the_end_of_a_resubmitted_order_closes_its_case(logs: list[EventDict], body: str) -> None:
    bench = await escalated_and_resubmitted()
    earlier = Resolution(action="close", episode=0, actor="ann", note="-", at=NOW)
    bench.cases.cases["001"] = replace(bench.case, resolutions=(earlier,))
    assert await bench.handle(body, "m2") == Acknowledged("case_closed")
    assert bench.case.state is CaseState.RESOLVED
    _, resolution = bench.case.resolutions
    assert (resolution.action, resolution.actor, resolution.episode) == ("resubmitted", "workflow", 1)
    assert resolution.execution_arn == ANOTHER
    assert [line for line in logs if line["event"] == "case.closed"] == [
        {"log_level": "info", "event": "case.closed", "case_id": "001", "episode": 1, "action": "resubmitted"}
    ]


async def test_a_report_about_an_order_that_cannot_be_read_changes_nothing() -> None:
    bench = await escalated_and_resubmitted()
    bench.journal.fail("orders.get", UnreadableOrderError("odd"))
    assert await bench.handle(FINISHED, "m2") == Acknowledged("superseded")
    assert bench.case.state is CaseState.OPEN


async def test_a_repeated_report_of_the_end_changes_nothing() -> None:
    bench = await escalated_and_resubmitted()
    await bench.handle(FINISHED, "m2")
    closed = bench.case
    assert await bench.handle(FINISHED, "m3") == Acknowledged("superseded")
    assert bench.case == closed


async def test_a_report_whose_write_was_lost_or_was_in_conflict_is_applied_once() -> None:
    bench = await escalated_and_resubmitted()
    bench.journal.fail("cases.put", ConflictError("changed"))
    bench.journal.fail("cases.put", DOWN, lost=True)
    with pytest.raises(OutageError):
        await bench.handle(FINISHED, "m2")
    assert await bench.handle(FINISHED, "m2", 2) == Acknowledged("superseded")
    assert len(bench.case.resolutions) == 1


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED"])
async def test_a_report_about_an_order_that_has_not_ended_is_not_believed(status: str) -> None:
    bench = await escalated_and_resubmitted(status)
    assert await bench.handle(FINISHED, "m2") == Acknowledged("superseded")
    assert bench.case.state is CaseState.OPEN


async def test_a_report_about_an_order_without_a_case_or_without_an_order_is_acknowledged() -> None:
    assert await Bench(order("FULFILLED", execution_arn=ANOTHER)).handle(FINISHED) == Acknowledged("superseded")
    assert await Bench().handle(FINISHED) == Acknowledged("superseded")


@pytest.mark.parametrize("body", ['{"OrderFinished": "4929123412345678"}', '{"OrderFinished": null}'])
async def test_a_report_with_wrong_fields_is_dead_lettered(body: str) -> None:
    assert await Bench().handle(body) == DeadLettered("undecodable")


async def test_the_execution_before_points_to_the_case_of_the_order() -> None:
    bench = Bench(order("ESCALATED"))
    await bench.handle(notice())
    await bench.handle(notice(ExecutionArn=ANOTHER), message_id="m2")
    assert bench.case.execution_arns == (EXECUTION, ANOTHER)
    assert bench.cases.cases[execution_case_id(EXECUTION)].merged_into == bench.case.case_id


async def test_each_newer_execution_leaves_one_pointer() -> None:
    bench, third = Bench(order("ESCALATED")), f"{ANOTHER}-again"
    for number, execution_arn in enumerate((EXECUTION, ANOTHER, ANOTHER, third, third)):
        await bench.handle(notice(ExecutionArn=execution_arn), message_id=f"m{number}")
    pointers = [case_id for name, case_id, *_ in bench.journal.steps if name == "cases.put"]
    assert pointers == [execution_case_id(EXECUTION), execution_case_id(ANOTHER)]


async def test_another_message_of_the_same_execution_leaves_no_pointer() -> None:
    bench = Bench(order("ESCALATED"))
    await bench.handle(notice())
    await bench.handle(notice(), message_id="m2")
    assert list(bench.cases.cases) == [bench.case.case_id]


def test_the_waits_of_reminders_double_up_to_five_minutes() -> None:
    assert [REMINDER_BACKOFF.max_wait_s(tries) for tries in (1, 2, 6, 7, 20)] == [5, 10, 160, 300, 300]


async def test_the_memory_for_logged_deliveries_is_bounded() -> None:
    bench = Bench(order("RECEIVED"))
    bench.handler._logged.update({f"m/{n}": None for n in range(998)})
    kept = []
    for receive_count in (1, 2, 3):
        await bench.handle(notice(), receive_count=receive_count)
        kept.append((len(bench.handler._logged), next(iter(bench.handler._logged))))
    assert kept == [(999, "m/0"), (1000, "m/0"), (1000, "m/1")]
    assert MAX_LOGGED == 1_000
