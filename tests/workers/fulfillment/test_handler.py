import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from unittest.mock import AsyncMock

import pytest
import structlog
from structlog.typing import EventDict

from tests.workers.fakes import (
    ANOTHER,
    DOWN,
    EXECUTION,
    MESSAGE_ID,
    NOW,
    FakeDeadLetters,
    FakeEscalations,
    FakeOrders,
    FakeProvider,
    Journal,
    message,
    order,
)
from workers.consumer.message import Acknowledged, DeadLettered
from workers.contracts import OrderFinished, OutgoingEscalation
from workers.domain.orders import Order, OrderStatus, shipment_id
from workers.domain.reasons import Reason, Source
from workers.errors import (
    AccessDeniedError,
    FatalError,
    OutageError,
    PermanentError,
    TransientError,
    UnreadableOrderError,
)
from workers.fulfillment.handler import FulfillmentHandler
from workers.fulfillment.providers import RejectedError

BODY = json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION})
RESUBMITTED = json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION, "Resubmitted": True})
FINISHED = OrderFinished(OrderFinished="001", ExecutionArn=EXECUTION)
CARD = "4929123412345678"


class Bench:
    """A fulfillment handler and its fakes."""

    def __init__(self, *orders: Order, provider: bool = False) -> None:
        self.journal = Journal()
        self.orders = FakeOrders(self.journal, *orders)
        self.escalations = FakeEscalations(self.journal)
        self.dead_letters = FakeDeadLetters(self.journal)
        self.times = itertools.chain([NOW], (f"later-{n}" for n in itertools.count()))
        self.handler = FulfillmentHandler(
            queue_name="OrderFulfillmentQueue",
            orders=self.orders,
            orders_to_ship=self.orders,
            escalations=self.escalations,
            dead_letters=self.dead_letters,
            provider=FakeProvider(self.journal) if provider else None,
            max_attempts=5,
            max_ship_s=60,
            now=lambda: next(self.times),
        )

    async def handle(self, body: str = BODY, receive_count: int = 1) -> Acknowledged | DeadLettered:
        return await self.handler.handle(message(body, receive_count=receive_count))

    @property
    def status(self) -> OrderStatus:
        return self.orders.orders["001"].status


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def escalation(reason: str, detail: str, attempts: int | None = None) -> OutgoingEscalation:
    return OutgoingEscalation(
        order_id="001",
        reasons=(Reason(reason),),
        source=Source.FULFILLMENT,
        detail=detail,
        execution_arn=EXECUTION,
        attempts=attempts,
        queue="OrderFulfillmentQueue",
        origin_message_id=MESSAGE_ID,
    )


async def test_a_message_is_not_acknowledged_if_its_order_is_received_again_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(order("RECEIVED"))
    monkeypatch.setattr(bench.orders, "fulfill", AsyncMock(return_value=order("RECEIVED")))
    with pytest.raises(TransientError, match=r"^the order changed while it was being fulfilled$"):
        await bench.handle()


@pytest.mark.parametrize(("body", "named"), [(BODY, EXECUTION), ("001", None)])
async def test_a_received_order_is_fulfilled_in_one_write(logs: list[EventDict], body: str, named: str | None) -> None:
    bench = Bench(order("RECEIVED"))
    assert await bench.handle(body) == Acknowledged("fulfilled")
    assert bench.journal.steps[0] == ("orders.fulfill", "001", named, shipment_id("001"), NOW)
    assert bench.journal.names()[1:] == ([] if named else ["escalations.send_finished"])
    assert bench.status is OrderStatus.FULFILLED
    assert [(line["event"], line["shipment_id"]) for line in logs] == [("order.fulfilled", shipment_id("001"))]


@pytest.mark.parametrize("step", ["handle", "give_up"])
async def test_every_log_line_of_a_message_names_its_order_and_execution(step: str) -> None:
    structlog.contextvars.clear_contextvars()
    await getattr(Bench(order("RECEIVED")).handler, step)(message(BODY))
    assert structlog.contextvars.get_contextvars() == {"order_id": "001", "execution_arn": EXECUTION}


async def test_every_log_line_of_an_undecodable_message_says_why() -> None:
    structlog.contextvars.clear_contextvars()
    await Bench().handle("{")
    assert list(structlog.contextvars.get_contextvars()) == ["reason"]


@pytest.mark.parametrize("provider", [True, False])
@pytest.mark.parametrize(
    ("stored", "outcome"),
    [
        (order("FULFILLED", fulfilled_at="earlier"), "already_fulfilled"),
        (order("ESCALATED"), "superseded"),
        (order("CANCELLED"), "superseded"),
        (order("RECEIVED", execution_arn=ANOTHER), "superseded"),
        (order("FULFILLED", execution_arn=ANOTHER), "superseded"),
        (order("ESCALATED", execution_arn=ANOTHER), "superseded"),
    ],
)
async def test_any_other_order_is_not_changed_and_the_provider_is_not_called(
    logs: list[EventDict], stored: Order, outcome: str, provider: bool
) -> None:
    bench = Bench(stored, provider=provider)
    assert await bench.handle() == Acknowledged(outcome, used_downstream=not provider)
    assert bench.orders.orders["001"] == stored
    assert "provider.ship" not in bench.journal.names()
    assert bench.escalations.sent == []
    assert logs == []


@pytest.mark.parametrize("provider", [True, False])
async def test_a_missing_order_is_escalated(logs: list[EventDict], provider: bool) -> None:
    bench = Bench(provider=provider)
    assert await bench.handle() == Acknowledged("escalated", used_downstream=not provider)
    assert bench.escalations.sent == [escalation("ORDER_NOT_FOUND", "No order with this OrderId.")]
    assert [(line["event"], line["reasons"]) for line in logs] == [("escalation.sent", ["ORDER_NOT_FOUND"])]


async def test_the_provider_ships_before_the_order_is_marked() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    assert await bench.handle() == Acknowledged("fulfilled")
    assert bench.journal.steps == [
        ("orders.get", "001"),
        ("provider.ship", "001"),
        ("orders.fulfill", "001", EXECUTION, "shipment-of-001", NOW),
    ]


@pytest.mark.parametrize("kind", [RejectedError, PermanentError])
async def test_a_rejected_order_is_escalated_at_once(kind: type[PermanentError]) -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.journal.fail("provider.ship", kind(f"no such street, card {CARD}"))
    assert await bench.handle() == Acknowledged("escalated")
    (sent,) = bench.escalations.sent
    assert sent.reasons == (Reason.FULFILLMENT_REJECTED,)
    assert json.loads(sent.body())["Detail"] == "The provider refused: no such street, card ****"
    assert bench.status is OrderStatus.RECEIVED  # The escalation worker changes it, together with the case.
    assert bench.journal.names() == ["orders.get", "escalations.send"]


async def test_a_failed_attempt_is_counted_on_the_order_and_raised() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.journal.fail("provider.ship", ValueError("busy"))
    with pytest.raises(ValueError, match="busy"):
        await bench.handle()
    assert bench.journal.names() == ["orders.get", "orders.count_attempt"]
    assert bench.orders.orders["001"].attempts == 1
    assert bench.escalations.sent == []


class KeyAsShipment:
    async def ship(self, order: Order) -> str:
        return order.idempotency_key


async def test_the_idempotency_key_counts_earlier_refusals() -> None:
    bench = Bench(order("RECEIVED", rejections=2), provider=True)
    bench.handler.provider = KeyAsShipment()
    assert await bench.handle() == Acknowledged("fulfilled")
    assert bench.orders.orders["001"].shipment_id == "001-r2"


async def test_with_a_bare_order_id_the_escalation_names_the_current_execution() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.journal.fail("provider.ship", RejectedError("no"))
    assert await bench.handle("001") == Acknowledged("escalated")
    assert bench.escalations.sent == [escalation("FULFILLMENT_REJECTED", "The provider refused: no")]


async def test_a_refusal_counts_although_the_handler_was_cancelled_meanwhile() -> None:
    began = asyncio.Event()

    class RefusesLate:
        async def ship(self, order: Order) -> str:  # noqa: ARG002 - it refuses all.
            began.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise RejectedError("no") from None
            return "never"

    bench = Bench(order("RECEIVED"), provider=True)
    bench.handler.provider = RefusesLate()
    handling = asyncio.create_task(bench.handle())
    await began.wait()
    handling.cancel()
    assert await handling == Acknowledged("escalated")
    assert bench.escalations.sent == [escalation("FULFILLMENT_REJECTED", "The provider refused: no")]


async def test_the_last_error_is_quoted_if_it_is_one_of_ours() -> None:
    bench = Bench(order("RECEIVED", attempts=4), provider=True)
    bench.journal.fail("provider.ship", TransientError("the provider failed, HTTP 500: busy"))
    assert await bench.handle() == Acknowledged("escalated")
    detail = "Failed 5 times; last error: the provider failed, HTTP 500: busy."
    assert bench.escalations.sent == [escalation("FULFILLMENT_EXHAUSTED", detail, attempts=5)]


async def test_the_last_failed_attempt_is_escalated(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED", attempts=4), provider=True)
    bench.journal.fail("provider.ship", ValueError("busy"))
    assert await bench.handle() == Acknowledged("escalated")
    detail = "Failed 5 times; last error: value error."  # The text of a foreign error could be anything.
    assert bench.escalations.sent == [escalation("FULFILLMENT_EXHAUSTED", detail, attempts=5)]
    assert bench.journal.names() == ["orders.get", "orders.count_attempt", "escalations.send"]
    assert [(line["event"], line.get("attempts")) for line in logs] == [
        ("order.attempts_exhausted", 5),
        ("escalation.sent", None),
    ]


async def test_five_failed_attempts_exhaust_an_order_however_often_it_was_delivered() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.journal.fail("provider.ship", *[ValueError("busy")] * 5)
    for _ in range(4):
        with pytest.raises(ValueError, match="busy"):
            await bench.handle(receive_count=9)
    assert await bench.handle(receive_count=9) == Acknowledged("escalated")
    assert [escalation.attempts for escalation in bench.escalations.sent] == [5]


async def test_an_exhausted_order_is_escalated_again_without_another_attempt() -> None:
    bench = Bench(order("RECEIVED", attempts=5), provider=True)
    assert await bench.handle() == Acknowledged("escalated", used_downstream=False)
    assert bench.escalations.sent == [escalation("FULFILLMENT_EXHAUSTED", "Failed 5 times.", attempts=5)]
    assert bench.journal.names() == ["orders.get", "escalations.send"]


async def test_an_attempt_on_an_order_that_has_changed_does_not_count() -> None:
    bench = Bench(order("RECEIVED", execution_arn=ANOTHER, attempts=4))
    bench.journal.fail("orders.fulfill", ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await bench.handle()
    assert bench.orders.orders["001"].attempts == 4
    assert bench.escalations.sent == []


@pytest.mark.parametrize("error", [OutageError("down"), AccessDeniedError("denied"), FatalError("gone")])
async def test_an_outage_of_the_provider_counts_no_attempt(error: Exception) -> None:
    bench = Bench(order("RECEIVED", attempts=4), provider=True)
    bench.journal.fail("provider.ship", error)
    with pytest.raises(type(error)):
        await bench.handle()
    assert bench.journal.names() == ["orders.get"]
    assert bench.orders.orders["001"].attempts == 4


async def test_the_memory_for_writes_without_an_answer_is_bounded() -> None:
    bench = Bench(order("RECEIVED"))
    bench.handler._unconfirmed.update({str(n): NOW for n in range(998)})
    kept = []
    for message_id in ("a", "b", "c"):
        bench.journal.fail("orders.fulfill", DOWN)
        with pytest.raises(OutageError):
            await bench.handler.handle(message(BODY, message_id))
        kept.append((len(bench.handler._unconfirmed), next(iter(bench.handler._unconfirmed))))
    assert kept == [(999, "0"), (1000, "0"), (1000, "1")]


async def test_our_own_write_is_recognised_after_a_lost_response(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("orders.fulfill", DOWN, lost=True)
    with pytest.raises(OutageError):
        await bench.handle()
    assert await bench.handle() == Acknowledged("fulfilled")
    assert [line["event"] for line in logs] == ["order.fulfilled"]
    assert [step[-1] for step in bench.journal.steps] == [NOW, NOW]


async def test_another_workers_write_is_not_mistaken_for_ours(logs: list[EventDict]) -> None:
    bench = Bench(order("RECEIVED"))
    bench.journal.fail("orders.fulfill", DOWN)
    with pytest.raises(OutageError):
        await bench.handle()
    bench.orders.orders["001"] = order("FULFILLED", fulfilled_at="earlier")
    assert await bench.handle() == Acknowledged("already_fulfilled")
    assert logs == []


async def test_with_a_provider_our_own_write_is_recognised_and_nothing_ships_again(
    logs: list[EventDict],
) -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.journal.fail("orders.fulfill", DOWN, lost=True)
    with pytest.raises(OutageError):
        await bench.handle()
    assert await bench.handle() == Acknowledged("fulfilled", used_downstream=False)
    assert bench.journal.names().count("provider.ship") == 1
    assert [line["event"] for line in logs] == ["order.fulfilled"]


@pytest.mark.parametrize("body", ["{", "[]", '{"OrderId": 1}', CARD])
async def test_an_undecodable_message_is_dead_lettered_and_then_escalated(logs: list[EventDict], body: str) -> None:
    bench = Bench()
    assert await bench.handle(body) == DeadLettered("undecodable")
    assert bench.journal.names() == ["dead_letters.send", "escalations.send"]
    ((dead, reason, error),) = bench.dead_letters.sent
    assert (dead.body, error) == (body, "UndecodableError")
    assert reason.startswith(
        (
            "UNDECODABLE_MESSAGE: neither a JSON object nor an OrderId: ",
            "UNDECODABLE_MESSAGE: OrderId is a number, must ",
        )
    )
    (sent,) = bench.escalations.sent
    assert (sent.order_id, sent.execution_arn, sent.origin_message_id) == (None, None, MESSAGE_ID)
    assert sent.reasons == (Reason.UNDECODABLE_MESSAGE,)
    assert sent.detail == f"Undecodable: {reason.partition(': ')[2]}. It is in the dead-letter queue."
    assert CARD not in json.dumps([sent.body(), logs])


@pytest.mark.parametrize("step", ["dead_letters.send", "escalations.send"])
async def test_an_undecodable_message_is_not_settled_before_both_were_sent(step: str) -> None:
    bench = Bench()
    bench.journal.fail(step, DOWN)
    with pytest.raises(OutageError):
        await bench.handle("{")
    assert await bench.handle("{") == DeadLettered("undecodable")
    assert bench.journal.names()[-2:] == ["dead_letters.send", "escalations.send"]


async def test_a_message_is_not_settled_before_its_escalation_was_sent() -> None:
    bench = Bench()
    bench.journal.fail("escalations.send", DOWN)
    with pytest.raises(OutageError):
        await bench.handle()
    assert await bench.handle() == Acknowledged("escalated")
    assert len(bench.escalations.sent) == 1


async def test_a_message_delivered_too_often_gets_another_trial_first() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    assert await bench.handler.give_up(message(BODY, receive_count=11)) == Acknowledged("fulfilled")
    assert bench.journal.names()[0] == "orders.count_trial", "counted before it begins, because it may crash the worker"
    assert bench.escalations.sent == []


async def test_a_message_without_trials_left_is_escalated_without_handling() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.orders.trials["001"] = 3  # Each crashed its worker.
    structlog.contextvars.clear_contextvars()
    settlement = await bench.handler.give_up(message(BODY, receive_count=14))
    assert settlement == Acknowledged("escalated")
    assert structlog.contextvars.get_contextvars() == {"order_id": "001", "execution_arn": EXECUTION}
    assert bench.escalations.sent == [
        escalation("FULFILLMENT_EXHAUSTED", "Delivered 14 times without an outcome; not handled again.")
    ]
    assert bench.journal.names() == ["orders.count_trial", "escalations.send"]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("FULFILLED", "already_fulfilled"), ("ESCALATED", "superseded"), ("CANCELLED", "superseded")],
)
async def test_a_message_delivered_too_often_about_a_final_order_is_acknowledged(status: str, outcome: str) -> None:
    bench = Bench(order(status), provider=True)
    assert await bench.handler.give_up(message(BODY, receive_count=11)) == Acknowledged(outcome, used_downstream=False)
    assert bench.escalations.sent == []


async def test_an_undecodable_message_delivered_too_often_is_dead_lettered() -> None:
    bench = Bench()
    assert await bench.handler.give_up(message("{", receive_count=11)) == DeadLettered("undecodable")
    assert bench.journal.names() == ["dead_letters.send", "escalations.send"]


class OddProvider:
    """Breaks the contract of providers."""

    def __init__(self, behavior: Any) -> None:
        self.behavior = behavior

    async def ship(self, _order: Order) -> Any:
        if isinstance(self.behavior, BaseException):
            raise self.behavior
        if isinstance(self.behavior, float):
            await asyncio.sleep(self.behavior)
        return self.behavior


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        *((answer, "the provider answered without a usable ShipmentId") for answer in (None, 5, "", "x" * 129, "a b")),
        ("4929123412345678", "the provider answered without a usable ShipmentId"),
        (asyncio.CancelledError(), "the provider cancelled its own call"),
        (SystemExit(0), "the provider raised system exit"),
        (GeneratorExit(), "the provider raised generator exit"),
        (60.0, "the provider did not answer in time"),
    ],
)
async def test_anything_a_provider_does_is_only_a_failed_attempt(behavior: Any, reason: str) -> None:
    bench = Bench(order("RECEIVED"))
    bench.handler.provider = OddProvider(behavior)
    bench.handler.max_ship_s = 0.01
    with pytest.raises(TransientError, match=reason):
        await bench.handle()
    assert bench.journal.names() == ["orders.get", "orders.count_attempt"]
    assert bench.status == "RECEIVED"


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), TransientError(), SystemExit(1)])
async def test_a_stop_is_no_failed_attempt_although_the_provider_makes_an_error_of_it(error: BaseException) -> None:
    class Converting:
        async def ship(self, _order: Order) -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise error from None
            return "shipment"

    bench = Bench(order("RECEIVED"))
    bench.handler.provider = Converting()
    handling = asyncio.create_task(bench.handle())
    await asyncio.sleep(0.01)
    handling.cancel()
    await asyncio.wait([handling])
    assert handling.cancelled()
    assert bench.journal.names() == ["orders.get"]


async def test_an_unreadable_order_is_escalated_once_its_message_was_delivered_too_often() -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.orders.orders["001"] = order("ESCALATED")  # No trial can be counted on it.
    bench.journal.fail("orders.get", *[UnreadableOrderError("the order's Status is odd")] * 2)
    with pytest.raises(UnreadableOrderError):
        await bench.handle()
    assert await bench.handler.give_up(message(BODY, receive_count=11)) == Acknowledged("escalated")
    assert bench.escalations.sent == [escalation("FULFILLMENT_EXHAUSTED", "Failed: the order's Status is odd.")]


@pytest.mark.parametrize("provider", [True, False])
@pytest.mark.parametrize("stored", [order("RECEIVED"), order("FULFILLED"), order("CANCELLED")])
@pytest.mark.parametrize("body", [RESUBMITTED, "001"])
async def test_the_end_of_a_resubmitted_order_is_reported_before_its_message_is_acknowledged(
    body: str, stored: Order, provider: bool
) -> None:
    bench = Bench(stored, provider=provider)
    outcomes = {"RECEIVED": "fulfilled", "FULFILLED": "already_fulfilled", "CANCELLED": "superseded"}
    assert (await bench.handle(body)).outcome == outcomes[stored.status]
    assert bench.escalations.finished == [FINISHED]
    assert bench.journal.names()[-1] == "escalations.send_finished"


@pytest.mark.parametrize("provider", [True, False])
@pytest.mark.parametrize(
    ("body", "stored"),
    [
        (BODY, order("RECEIVED")),
        (BODY, order("FULFILLED")),
        (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION, "Resubmitted": False}), order("RECEIVED")),
        (RESUBMITTED, order("ESCALATED")),
        (RESUBMITTED, order("FULFILLED", execution_arn=ANOTHER)),
        ("001", order("ESCALATED")),
    ],
)
async def test_nothing_is_reported_of_a_new_order_or_of_one_that_has_not_ended(
    body: str, stored: Order, provider: bool
) -> None:
    bench = Bench(stored, provider=provider)
    await bench.handle(body)
    assert bench.escalations.finished == []


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
async def test_the_end_of_an_order_whose_case_was_opened_before_it_was_recorded_is_reported(status: str) -> None:
    """The message of such an order is that of a new one: no item was there that it could have replaced."""
    bench = Bench(order(status, has_open_case=True), provider=True)
    await bench.handle()
    assert bench.escalations.finished == [FINISHED]
    assert bench.journal.names()[-1] == "escalations.send_finished"


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("provider", [True, False])
async def test_a_report_that_fails_is_sent_by_the_next_delivery(
    logs: list[EventDict], provider: bool, lost: bool
) -> None:
    bench = Bench(order("RECEIVED"), provider=provider)
    bench.journal.fail("escalations.send_finished", DOWN, lost=lost)
    with pytest.raises(OutageError):
        await bench.handle(RESUBMITTED)
    assert await bench.handle(RESUBMITTED) == Acknowledged("already_fulfilled", used_downstream=not provider)
    assert bench.escalations.finished == [FINISHED] * (2 if lost else 1)
    assert [line["event"] for line in logs] == ["order.fulfilled"]


class ChangingProvider:
    """Ships an order; meanwhile the order becomes another one in the table."""

    def __init__(self, bench: Bench, becomes: Order | None) -> None:
        self.bench, self.becomes = bench, becomes

    async def ship(self, order: Order) -> str:
        self.bench.journal.write("provider.ship", order.order_id)
        if self.becomes is None:
            del self.bench.orders.orders[order.order_id]
        else:
            self.bench.orders.orders[order.order_id] = self.becomes
        return "S-1"


@pytest.mark.parametrize(
    ("becomes", "problem"),
    [
        (order("CANCELLED", cancelled_at="meanwhile"), "the order is CANCELLED now."),
        (order("CANCELLED"), "the order is CANCELLED now."),
        (order("ESCALATED"), "the order is ESCALATED now."),
        (order("FULFILLED", shipment_id="S-2"), "the order is already FULFILLED by another shipment."),
        (order("FULFILLED", execution_arn=ANOTHER), "the order is already FULFILLED by another shipment."),
        (order("RECEIVED", execution_arn=ANOTHER), "the order is RECEIVED now, in another execution."),
        (None, "the order is not in the table any more."),
    ],
)
async def test_a_shipment_that_cannot_be_recorded_is_escalated(becomes: Order | None, problem: str) -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.handler.provider = ChangingProvider(bench, becomes)
    assert await bench.handle() == Acknowledged("escalated")
    assert bench.escalations.sent == [escalation("UNRECORDED_SHIPMENT", f"Shipped as S-1, but {problem}")]
    assert bench.orders.orders.get("001") == becomes


@pytest.mark.parametrize("execution_arn", [EXECUTION, ANOTHER])
async def test_a_shipment_that_is_already_recorded_is_not_escalated(execution_arn: str) -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    shipped = order("FULFILLED", shipment_id="S-1", fulfilled_at="earlier", execution_arn=execution_arn)
    bench.handler.provider = ChangingProvider(bench, shipped)
    outcome = "already_fulfilled" if execution_arn == EXECUTION else "superseded"
    assert await bench.handle() == Acknowledged(outcome)
    assert bench.escalations.sent == []


async def test_without_a_provider_nothing_was_shipped() -> None:
    bench = Bench(order("CANCELLED", cancelled_at="meanwhile"))
    assert await bench.handle(receive_count=2) == Acknowledged("superseded")
    assert bench.escalations.sent == []


CANCELLED = order("CANCELLED", cancelled_at="meanwhile")


async def test_a_worker_killed_while_it_ships_a_cancelled_order_hides_no_shipment() -> None:
    """The next delivery finds the order cancelled, and cannot know whether the provider has shipped it."""
    bench = Bench(CANCELLED, provider=True)
    assert await bench.handle(receive_count=2) == Acknowledged("escalated", used_downstream=False)
    detail = "It was cancelled after its message had been delivered: it may have been shipped before."
    assert bench.escalations.sent == [escalation("UNRECORDED_SHIPMENT", detail)]
    assert "provider.ship" not in bench.journal.names()


@pytest.mark.parametrize(
    ("stored", "receive_count"),
    [(CANCELLED, 1), (order("CANCELLED"), 2), (order("CANCELLED", execution_arn=ANOTHER, cancelled_at="then"), 2)],
)
async def test_a_cancelled_order_that_was_not_being_shipped_is_superseded(stored: Order, receive_count: int) -> None:
    bench = Bench(stored, provider=True)
    assert await bench.handle(receive_count=receive_count) == Acknowledged("superseded", used_downstream=False)
    assert bench.escalations.sent == []


@pytest.mark.parametrize(
    ("error", "up", "last_error"),
    [
        (None, True, ""),
        (RejectedError("not in stock"), True, ""),
        (OutageError("the provider is down"), False, "the provider is down"),
        (TransientError("try again"), True, "try again"),
        (ValueError("of Ada"), True, "value error"),
    ],
)
async def test_the_handler_records_whether_the_provider_works(
    error: Exception | None, *, up: bool, last_error: str
) -> None:
    bench = Bench(order("RECEIVED"), provider=True)
    bench.handler.provider_calls.worked()
    if error is not None:
        bench.journal.fail("provider.ship", error)
    with suppress(OutageError, TransientError, ValueError):
        await bench.handle()
    calls = bench.handler.provider_calls
    assert (calls.up, calls.last_error, calls.down_since_s is None) == (up, last_error, up)
