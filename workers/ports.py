"""What the handlers need from outside; `workers.aws` has the adapters. Every call may raise `OutageError`."""

from collections.abc import Mapping
from typing import Protocol

from workers.consumer.message import Message
from workers.contracts import OutgoingEscalation, Reminder
from workers.domain.cases import Case, SentNotification
from workers.domain.escalations import EscalationPlan
from workers.domain.orders import Order
from workers.domain.resolutions import ResolutionPlan


class Orders(Protocol):
    """The order table."""

    async def get(self, order_id: str) -> Order | None: ...

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        """
        Mark a `RECEIVED` order of that execution (None: the current one) `FULFILLED`, in one conditional write.

        Returns the order as it is afterwards, whoever made it so; None where there is none. Of our own write it tells
        what was written.
        """

    async def count_attempt(self, order_id: str, execution_arn: str | None, attempt: str) -> int | None:
        """
        Count a failed attempt on a `RECEIVED` order of that execution, and return how many there are now.

        The same *attempt* twice in a row counts once.
        """

    async def count_trial(self, order_id: str, execution_arn: str | None, trial: str) -> int | None:
        """Count likewise, before it begins, a try by which a message that may crash workers is put to the test."""


class CaseReader(Protocol):
    """The case table, to read one case."""

    async def get(self, case_id: str) -> Case | None: ...


class Cases(CaseReader, Protocol):
    """The case table, written together with the order table."""

    async def find_by_execution(self, execution_arn: str) -> str | None:
        """Return the id of the case that *execution_arn* was the last to add to."""

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        """Write the plan in one transaction; `ConflictError` where order or case has changed since they were read."""


class SentNotifications(Protocol):
    """The case table, as the router needs it."""

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        """Add *sent* to the case, unless it has been reopened since."""


class Rejections(Protocol):
    """What is known of a provider's earlier refusals; the case table knows it."""

    async def count_rejections(self, order: Order) -> int:
        """Return how many executions of *order* before its current one the provider definitely refused."""


class ResolvableCases(CaseReader, Protocol):
    """The case table, to resolve cases."""

    async def put(self, case: Case) -> None:
        """Write *case*; `ConflictError` where it has changed since it was read."""

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        """Write the plan in one transaction; `ConflictError` where order or case has changed since they were read."""


class OpenOrders(Protocol):
    """The index of open orders."""

    async def received_before(self, at: str) -> list[str]:
        """Return the ids of the orders that have been `RECEIVED` since before *at*, RFC 3339."""


class Executions(Protocol):
    """The order workflow, to start."""

    def arn(self, name: str) -> str:
        """Return the ARN that the execution *name* has or would have."""

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        """Start the execution *name* with *order* as its input, unless there is one; return its ARN."""


class Escalations(Protocol):
    """The escalation queue, to send to."""

    async def send(self, escalation: OutgoingEscalation) -> None: ...


class Reminders(Protocol):
    """The escalation queue, to send reminders to."""

    async def send(self, reminder: Reminder, *, delay_s: int) -> None:
        """Have *reminder* received in *delay_s* seconds, 900 at most."""


class DeadLetters(Protocol):
    """The dead-letter queue of the queue a worker consumes."""

    async def send(self, message: Message, *, reason: str, error: Exception | None = None) -> None:
        """Copy *message* there, body and attributes verbatim, with the reason and its origin as further attributes."""
