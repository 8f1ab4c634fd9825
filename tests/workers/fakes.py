"""The handlers' ports in memory. All of them record their steps in one journal, in order."""

from dataclasses import dataclass, field, replace
from typing import Any

from workers.backoff import Backoff
from workers.consumer.message import Message
from workers.contracts import OrderFinished, OutgoingEscalation, Reminder
from workers.domain.cases import Case, CaseState, HandledReminder, SentNotification
from workers.domain.escalations import EscalationPlan, execution_case_id
from workers.domain.orders import Order, OrderStatus
from workers.errors import ConflictError, OutageError, UnreadableOrderError
from workers.escalation.notifications import Notification

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"
MESSAGE_ID = "12345678-1234-1234-1234-123456789012"
NOW = "2026-11-22T11:00:00.000000Z"
NO_WAIT = Backoff(0, 0)


def order(
    status: str = "RECEIVED", order_id: str = "001", execution_arn: str | None = EXECUTION, **fields: Any
) -> Order:
    return Order(order_id, OrderStatus(status), execution_arn, **fields)


def message(body: str, message_id: str = MESSAGE_ID, receive_count: int = 1) -> Message:
    return Message(id=message_id, receipt_handle="receipt", body=body, receive_count=receive_count)


@dataclass
class Journal:
    """The steps in order. After `fail(step, error)` the next such step raises; with `lost` after it was applied."""

    steps: list[tuple[Any, ...]] = field(default_factory=list)
    failures: dict[str, list[tuple[Exception, bool]]] = field(default_factory=dict)

    def fail(self, step: str, *errors: Exception, lost: bool = False) -> None:
        self.failures.setdefault(step, []).extend((error, lost) for error in errors)

    def write(self, step: str, *details: Any) -> Exception | None:
        """Record a step. Raises its planned error, or returns a `lost` one, to be raised after the step was applied."""
        errors = self.failures.get(step)
        if not errors:
            self.steps.append((step, *details))
            return None
        error, lost = errors.pop(0)
        if not lost:
            raise error
        self.steps.append((step, *details))
        return error

    def names(self) -> list[str]:
        return [step for step, *_ in self.steps]


class FakeOrders:
    def __init__(self, journal: Journal, *orders: Order) -> None:
        self.journal = journal
        self.orders = {order.order_id: order for order in orders}
        self.trials: dict[str, int] = {}
        self.last_trials: dict[str, str] = {}

    async def get(self, order_id: str) -> Order | None:
        self.journal.write("orders.get", order_id)
        return self.orders.get(order_id)

    async def get_to_ship(self, order_id: str, execution_arn: str | None) -> Order | None:  # noqa: ARG002
        return await self.get(order_id)

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        lost = self.journal.write("orders.fulfill", order_id, execution_arn, shipment_id, at)
        order = self.orders.get(order_id)
        if order is not None and order.status is OrderStatus.RECEIVED and order.belongs_to(execution_arn):
            order = replace(
                order, status=OrderStatus.FULFILLED, shipment_id=shipment_id, fulfilled_at=at, has_open_case=False
            )
            self.orders[order_id] = order
        if lost is not None:
            raise lost
        return order

    async def count_trial(self, order_id: str, execution_arn: str | None, trial: str) -> int | None:
        self.journal.write("orders.count_trial", order_id, execution_arn)
        order = self.orders.get(order_id)
        if order is None or order.status is not OrderStatus.RECEIVED or not order.belongs_to(execution_arn):
            return None
        if self.last_trials.get(order_id) != trial:
            self.trials[order_id] = self.trials.get(order_id, 0) + 1
            self.last_trials[order_id] = trial
        return self.trials[order_id]

    async def take_back_trial(self, order_id: str, execution_arn: str | None, trial: str) -> bool:
        self.journal.write("orders.take_back_trial", order_id, execution_arn)
        order = self.orders.get(order_id)
        received = order is not None and order.status is OrderStatus.RECEIVED and order.belongs_to(execution_arn)
        if not received or self.last_trials.get(order_id) != trial:
            return False
        self.trials[order_id] -= 1
        del self.last_trials[order_id]
        return True

    async def count_attempt(self, order_id: str, execution_arn: str | None, attempt: str) -> int | None:  # noqa: ARG002
        self.journal.write("orders.count_attempt", order_id, execution_arn)
        order = self.orders.get(order_id)
        if order is None or order.status is not OrderStatus.RECEIVED or not order.belongs_to(execution_arn):
            return None
        self.orders[order_id] = replace(order, attempts=order.attempts + 1)
        return order.attempts + 1


class FakeMessageTrials:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.counted: dict[str, list[str]] = {}

    async def count_trial(self, message_id: str, trial: str) -> int:
        self.journal.write("trials.count_trial", message_id)
        counted = self.counted.setdefault(message_id, [])
        if trial not in counted:
            counted.append(trial)
        return len(counted)

    async def take_back_trial(self, message_id: str, trial: str) -> bool:
        self.journal.write("trials.take_back_trial", message_id)
        counted = self.counted.get(message_id, [])
        if trial not in counted:
            return False
        counted.remove(trial)
        return True


class FakeCases:
    """Applies plans as the table does: a plan for another version of the case is a conflict."""

    def __init__(self, journal: Journal, orders: FakeOrders, *cases: Case) -> None:
        self.journal = journal
        self.orders = orders
        self.cases = {case.case_id: case for case in cases}

    async def get(self, case_id: str) -> Case | None:
        self.journal.write("cases.get", case_id)
        return self.cases.get(case_id)

    async def read(
        self, case_id: str, order_id: str | None, execution_case_id: str | None = None
    ) -> tuple[Case | None, Order | UnreadableOrderError | None, Case | None]:
        case = await self.get(case_id)
        other = None if execution_case_id in {None, case_id} else self.cases.get(execution_case_id or "")
        try:
            return case, None if order_id is None else await self.orders.get(order_id), other
        except UnreadableOrderError as error:
            return case, error, other

    async def find_by_execution(self, execution_arn: str) -> str | None:
        found = [case.case_id for case in self.cases.values() if case.execution_arns[-1:] == (execution_arn,)]
        found.sort(key=lambda case_id: case_id == execution_case_id(execution_arn))
        return found[0] if found else None

    async def claim_reminder(self, case_id: str, handled: HandledReminder, forgotten_at: str) -> Case | None:
        self.journal.write("cases.claim_reminder", case_id, handled.tries)
        case = self.cases.get(case_id)
        if case is None or case.state is not CaseState.OPEN or case.episode != handled.episode:
            return None
        last = case.reminder
        if last is not None and last.at >= forgotten_at and last.episode >= handled.episode:
            same = (last.tries, last.message_id) == (handled.tries, handled.message_id)
            if last.tries >= handled.tries and not same:
                return None
        self.cases[case_id] = replace(case, reminder=handled, version=case.version + 1)
        return self.cases[case_id]

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        assert plan.case is not None
        lost = self.journal.write("cases.apply", plan.case.case_id, plan.outcome)
        stored = self.cases.get(plan.case.case_id)
        if plan.case.version != (0 if stored is None else stored.version):
            raise ConflictError("changed")
        if plan.merged is not None and plan.merged.version != self.cases[plan.merged.case_id].version:
            raise ConflictError("changed")
        for case in (plan.case, plan.merged):
            if case is not None:
                self.cases[case.case_id] = replace(case, version=case.version + 1)
        if plan.escalates_order:
            assert order is not None
            self.orders.orders[order.order_id] = replace(order, status=OrderStatus.ESCALATED)
        if lost is not None:
            raise lost

    async def put(self, case: Case) -> None:
        lost = self.journal.write("cases.put", case.case_id)
        stored = self.cases.get(case.case_id)
        if case.version != (0 if stored is None else stored.version):
            raise ConflictError("changed")
        self.cases[case.case_id] = replace(case, version=case.version + 1)
        if lost is not None:
            raise lost

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        self.journal.write("cases.record_sent", case.case_id, sent)
        stored = self.cases[case.case_id]
        self.cases[case.case_id] = replace(stored, routed=(*stored.routed, sent), version=stored.version + 1)


class FakeEscalations:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[OutgoingEscalation] = []
        self.finished: list[OrderFinished] = []

    async def send(self, message: OutgoingEscalation | OrderFinished) -> None:
        if isinstance(message, OrderFinished):
            lost = self.journal.write("escalations.send_finished", message.order_id)
            self.finished.append(message)
        else:
            lost = self.journal.write("escalations.send", *message.reasons)
            self.sent.append(message)
        if lost is not None:
            raise lost


class FakeReminders:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[tuple[Reminder, int]] = []
        self.postponed: list[tuple[OutgoingEscalation, int]] = []

    async def send(self, message: Reminder | OutgoingEscalation, *, delay_s: int) -> None:
        if isinstance(message, OutgoingEscalation):
            lost = self.journal.write("reminders.postpone", message.waiting_message_id)
            self.postponed.append((message, delay_s))
        else:
            lost = self.journal.write("reminders.send", message.case_id)
            self.sent.append((message, delay_s))
        if lost is not None:
            raise lost


class FakeChannel:
    """Accepts notifications; after `journal.fail(name, error)` it fails once."""

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.journal = journal
        self.sent: list[Notification] = []

    async def send(self, notification: Notification) -> None:
        lost = self.journal.write(self.name, notification.id)
        self.sent.append(notification)
        if lost is not None:
            raise lost


class FakeDeadLetters:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[tuple[Message, str, str | None]] = []

    async def send(self, message: Message, *, reason: str, error: Exception | None = None) -> None:
        self.journal.write("dead_letters.send", message.id)
        self.sent.append((message, reason, None if error is None else type(error).__name__))


class FakeProvider:
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    async def ship(self, order: Order) -> str:
        self.journal.write("provider.ship", order.order_id)
        return f"shipment-of-{order.order_id}"


DOWN = OutageError("down")
