"""What handlers need from the outside. `workers.aws` has the adapters. Every call may raise `OutageError`."""

from collections.abc import Mapping
from typing import Protocol

from workers.consumer.message import Message
from workers.contracts import OrderFinished, OutgoingEscalation, Reminder
from workers.domain.cases import Case, HandledReminder, SentNotification
from workers.domain.escalations import EscalationPlan
from workers.domain.orders import Order
from workers.domain.resolutions import ResolutionPlan
from workers.errors import UnreadableOrderError


class Orders(Protocol):
    """The order table."""

    async def get(self, order_id: str) -> Order | None: ...

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        """
        Mark a `RECEIVED` order of that execution (None: the current one) `FULFILLED`, in one conditional write.

        Returns the order as it is afterward, whether this call or another changed it; None if it is missing. If this
        call changed it, the returned order has at least the fields that were written.
        """

    async def count_attempt(self, order_id: str, execution_arn: str | None, attempt: str) -> int | None:
        """
        Count a failed attempt on a `RECEIVED` order of that execution; return the new number, None for other orders.

        If the same *attempt* is counted twice in a row, it counts once.
        """

    async def count_trial(self, order_id: str, execution_arn: str | None, trial: str) -> int | None:
        """Count a trial in the same way, before it begins: one try at a message that may crash workers."""

    async def take_back_trial(self, order_id: str, execution_arn: str | None, trial: str) -> bool:
        """
        Take *trial* back, if it is the last one counted and the order is still `RECEIVED`; return whether it was.

        Repeating the call changes nothing.
        """


class OrdersToShip(Protocol):
    """The order table and the case table, to read what a provider needs."""

    async def get_to_ship(self, order_id: str, execution_arn: str | None) -> Order | None:
        """
        Return the order with its `rejections`, None if it is missing. *execution_arn* is the one that a message names.

        As long as an execution is the order's current one, its `rejections` are the same.
        """


class MessageTrials(Protocol):
    """The trials of messages that may not belong to any order. They are counted by message id."""

    async def count_trial(self, message_id: str, trial: str) -> int:
        """Count *trial* and return the new number. The same *trial* twice in a row counts once."""

    async def take_back_trial(self, message_id: str, trial: str) -> bool:
        """Take *trial* back, if it is the last one counted; return whether it was. A repetition changes nothing."""


class CaseReader(Protocol):
    """The case table, to read one case."""

    async def get(self, case_id: str) -> Case | None: ...


class Cases(Protocol):
    """The case table, read and written together with the order table."""

    async def read(
        self, case_id: str, order_id: str | None, execution_case_id: str | None = None
    ) -> tuple[Case | None, Order | UnreadableOrderError | None, Case | None]:
        """
        Return a case, an order, and the case of an execution, if it has another id; None for what is missing.

        An unreadable order is returned as its error.
        """

    async def find_by_execution(self, execution_arn: str) -> str | None:
        """
        Return the id of the case whose newest execution is *execution_arn*, None if there is no such case.

        Of two, the case of an order wins over that of an execution.
        """

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        """Write the plan in one transaction. Raises `ConflictError` if order or case changed after they were read."""

    async def put(self, case: Case) -> None:
        """Write *case*. Raises `ConflictError` if it changed after it was read."""

    async def claim_reminder(self, case_id: str, handled: HandledReminder, forgotten_at: str) -> Case | None:
        """
        Record that a reminder is handled now; return the case.

        Returns None if there is nothing to remind of: the episode is over, or a worker has handled a later reminder, or
        a copy of this one, since *forgotten_at*. The same message may be handled again.
        """


class SentNotifications(Protocol):
    """The case table, to record notifications that were sent or given up."""

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        """Add *sent* to the case, unless the case was reopened after *case* was read."""


class ResolvableCases(CaseReader, Protocol):
    """The case table, to resolve cases."""

    async def put(self, case: Case) -> None:
        """Write *case*. Raises `ConflictError` if it changed after it was read."""

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        """Write the plan in one transaction. Raises `ConflictError` if order or case changed after they were read."""


class Executions(Protocol):
    """The order workflow, to start executions."""

    def arn(self, name: str) -> str:
        """Return the ARN of the execution *name*, started or not."""

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        """Start the execution *name* with *order* as its input, unless it exists; return its ARN."""


class Escalations(Protocol):
    """The escalation queue, to send to."""

    async def send(self, message: OutgoingEscalation | OrderFinished) -> None: ...


class Reminders(Protocol):
    """The escalation queue, to send what is to be handled later."""

    async def send(self, message: Reminder | OutgoingEscalation, *, delay_s: int) -> None:
        """Send *message*, to be received after *delay_s* seconds, at most 900."""


class DeadLetters(Protocol):
    """The dead-letter queue of the queue a worker consumes."""

    async def send(self, message: Message, *, reason: str, error: Exception | None = None) -> None:
        """Send a copy of *message*, body and attributes unchanged; further attributes name the reason and origin."""
