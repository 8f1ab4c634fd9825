"""The fulfillment worker: from a message to a fulfilled or an escalated order."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from structlog.contextvars import bind_contextvars

from workers import clock
from workers.domain.escalations import Reason, Source
from workers.domain.orders import FulfillmentDecision, Order, decide_fulfillment, shipment_id
from workers.errors import FatalError, OutageError, TransientError, UndecodableError
from workers.handlers.contracts import FulfillmentRequest, OutgoingEscalation, decode_fulfillment
from workers.handlers.ports import DeadLetters, Escalations, Orders
from workers.handlers.providers import Provider, RejectedError
from workers.message import Acknowledged, DeadLettered, Message

log = structlog.get_logger(__name__)

MAX_UNCONFIRMED = 1_000  # Writes whose answer was lost; each is in hand, so this is never reached in practice.


@dataclass(slots=True, kw_only=True)
class FulfillmentHandler:
    """
    Fulfills the order a message names, or escalates it.

    Without a provider the record is all there is to do: one conditional write, no read before it.
    """

    queue_name: str
    orders: Orders
    escalations: Escalations
    dead_letters: DeadLetters
    provider: Provider | None
    max_attempts: int
    now: Callable[[], str] = clock.now
    _unconfirmed: dict[str, str] = field(default_factory=dict)

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            request = decode_fulfillment(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=request.order_id, execution_arn=request.execution_arn)
        try:
            return await self._fulfill(message, request)
        except (OutageError, FatalError):
            raise
        except RejectedError as error:
            return await self._escalate(message, request, Reason.FULFILLMENT_REJECTED, f"The provider refused: {error}")
        except Exception:
            attempts = await self.orders.count_attempt(request.order_id, request.execution_arn)
            if attempts is None or attempts < self.max_attempts:
                raise
            log.exception("order.exhausted", attempts=attempts)
            return await self._escalate_exhausted(message, request, attempts)

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            request = decode_fulfillment(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=request.order_id, execution_arn=request.execution_arn)
        detail = f"Delivered {message.receive_count} times without an outcome; not handled again."
        return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, detail)

    async def _fulfill(self, message: Message, request: FulfillmentRequest) -> Acknowledged | DeadLettered:
        if self.provider is None:
            shipment = shipment_id(request.order_id)
        else:
            order = await self.orders.get(request.order_id)
            decision = decide_fulfillment(order, request.execution_arn)
            if order is None or decision is not FulfillmentDecision.FULFILL:
                return await self._conclude(message, request, decision)
            if order.attempts >= self.max_attempts:
                return await self._escalate_exhausted(message, request, order.attempts)
            shipment = await self.provider.ship(order)
        at = self._unconfirmed.pop(message.id, None) or self.now()
        order = await self._write(message, request, shipment, at)
        if order is not None and order.fulfilled_at == at:
            log.info("order.fulfilled", shipment_id=order.shipment_id)
            return Acknowledged(FulfillmentDecision.FULFILL)
        return await self._conclude(message, request, decide_fulfillment(order, request.execution_arn))

    async def _write(self, message: Message, request: FulfillmentRequest, shipment: str, at: str) -> Order | None:
        try:
            return await self.orders.fulfill(request.order_id, request.execution_arn, shipment, at)
        except OutageError:
            # It may have been applied. The same time in the next try tells our own write from another's.
            self._unconfirmed[message.id] = at
            if len(self._unconfirmed) > MAX_UNCONFIRMED:
                del self._unconfirmed[next(iter(self._unconfirmed))]
            raise

    async def _conclude(
        self, message: Message, request: FulfillmentRequest, decision: FulfillmentDecision
    ) -> Acknowledged:
        """Settle a message whose order is not to be fulfilled now."""
        match decision:
            case FulfillmentDecision.NOT_FOUND:
                return await self._escalate(message, request, Reason.ORDER_NOT_FOUND, "No order with this OrderId.")
            case FulfillmentDecision.FULFILL:
                raise TransientError("the order changed while it was being fulfilled")
            case FulfillmentDecision.ALREADY_FULFILLED | FulfillmentDecision.SUPERSEDED:
                return Acknowledged(decision)

    async def _escalate_exhausted(self, message: Message, request: FulfillmentRequest, attempts: int) -> Acknowledged:
        detail = f"Failed {attempts} times."
        return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, detail, attempts)

    async def _escalate(
        self, message: Message, request: FulfillmentRequest, reason: Reason, detail: str, attempts: int | None = None
    ) -> Acknowledged:
        await self.escalations.send(
            OutgoingEscalation(
                order_id=request.order_id,
                reasons=(reason,),
                source=Source.FULFILLMENT,
                detail=detail,
                execution_arn=request.execution_arn,
                attempts=attempts,
                queue=self.queue_name,
                origin_message_id=message.id,
            )
        )
        log.warning("escalation.sent", reasons=[reason])
        return Acknowledged("escalated")

    async def _dead_letter(self, message: Message, error: UndecodableError) -> DeadLettered:
        bind_contextvars(reason=str(error))
        await self.dead_letters.send(message, reason=f"{Reason.UNDECODABLE_MESSAGE}: {error}", error=error)
        await self.escalations.send(
            OutgoingEscalation(
                order_id=None,
                reasons=(Reason.UNDECODABLE_MESSAGE,),
                source=Source.FULFILLMENT,
                detail=f"Undecodable: {error}. It is in the dead-letter queue.",
                queue=self.queue_name,
                origin_message_id=message.id,
            )
        )
        return DeadLettered("undecodable")
