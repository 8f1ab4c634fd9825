"""The fulfillment worker: from a message to a fulfilled or an escalated order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from structlog.contextvars import bind_contextvars

from workers import clock
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.contracts import FulfillmentRequest, OutgoingEscalation, decode_fulfillment
from workers.domain.orders import FulfillmentDecision, Order, decide_fulfillment, shipment_id
from workers.domain.reasons import Reason, Source
from workers.errors import FatalError, OutageError, TransientError, UndecodableError, UnreadableOrderError
from workers.fulfillment.providers import Provider, RejectedError, usable_shipment_id
from workers.ports import DeadLetters, Escalations, Orders, Rejections

log = structlog.get_logger(__name__)

MAX_TRIALS = 3  # More than one: another message may crash the worker just then.
MAX_UNCONFIRMED = 1_000  # Writes nobody saw the answer to; most are in flight, the others come back before long.


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
    max_ship_s: float
    rejections: Rejections | None = None  # For the idempotency key that a provider is given; None: none are known.
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
        except Exception as error:
            attempts = await self.orders.count_attempt(
                request.order_id, request.execution_arn, f"{message.id}/{message.receive_count}"
            )
            if attempts is None or attempts < self.max_attempts:
                raise
            log.exception("order.attempts_exhausted", attempts=attempts)
            return await self._escalate_exhausted(message, request, attempts, error)

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        """
        Escalate an order whose message was delivered too often, once it is shown to be this very message that fails.

        A message that crashes its worker has deliveries counted for all in flight with it. So each is handled a
        few more times, alone, and that is written down before it begins: only who is at fault runs out of trials.
        """
        try:
            request = decode_fulfillment(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=request.order_id, execution_arn=request.execution_arn)
        trials = await self.orders.count_trial(
            request.order_id, request.execution_arn, f"{message.id}/{message.receive_count}"
        )
        if trials is None or trials <= MAX_TRIALS:
            try:
                return await self.handle(message)
            except UnreadableOrderError as error:  # Nothing can be counted on it.
                return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, f"Failed: {error}.")
        detail = f"Delivered {message.receive_count} times without an outcome; not handled again."
        return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, detail)

    async def _fulfill(self, message: Message, request: FulfillmentRequest) -> Acknowledged | DeadLettered:
        at = self._unconfirmed.get(message.id) or self.now()
        if self.provider is None:
            shipment = shipment_id(request.order_id)
        else:
            order = await self.orders.get(request.order_id)
            if order is None or decide_fulfillment(order, request.execution_arn) is not FulfillmentDecision.FULFILL:
                return replace(await self._conclude(message, request, order, at), used_downstream=False)
            if order.attempts >= self.max_attempts:
                return replace(await self._escalate_exhausted(message, request, order.attempts), used_downstream=False)
            request = request.model_copy(update={"execution_arn": order.execution_arn})  # A bare OrderId names none.
            if self.rejections is not None:
                order = replace(order, rejections=await self.rejections.count_rejections(order))
            try:
                shipment = await self._ship(self.provider, order)
            except RejectedError as error:
                detail = f"The provider refused: {error}"
                return await self._escalate(message, request, Reason.FULFILLMENT_REJECTED, detail)
        return await self._conclude(message, request, await self._write(message, request, shipment, at), at)

    async def _ship(self, provider: Provider, order: Order) -> str:
        """Call *provider*, whatever it does: only what its contract says comes out of here."""
        try:
            async with asyncio.timeout(self.max_ship_s):
                return usable_shipment_id(await provider.ship(order))
        except TimeoutError as error:
            raise TransientError("the provider did not answer in time") from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise TransientError("the provider cancelled its own call") from error
        except Exception:
            raise
        except BaseException as error:  # One of these would end the worker: sys.exit() in a provider, say.
            raise TransientError(f"the provider raised {type(error).__name__}") from error

    async def _write(self, message: Message, request: FulfillmentRequest, shipment: str, at: str) -> Order | None:
        try:
            return await self.orders.fulfill(request.order_id, request.execution_arn, shipment, at)
        except (OutageError, asyncio.CancelledError):
            # It may have been applied: an answer can be lost, and a cancelled request is under way all the same (its
            # receipt was lost, say). The same time in the next try tells our own write from another's.
            self._unconfirmed[message.id] = at
            if len(self._unconfirmed) > MAX_UNCONFIRMED:
                del self._unconfirmed[next(iter(self._unconfirmed))]
            raise

    async def _conclude(
        self, message: Message, request: FulfillmentRequest, order: Order | None, at: str
    ) -> Acknowledged:
        """Settle a message by what became of its order; one fulfilled *at* this very time is our own doing."""
        self._unconfirmed.pop(message.id, None)
        if order is not None and order.fulfilled_at == at:
            log.info("order.fulfilled", shipment_id=order.shipment_id)
            return Acknowledged(FulfillmentDecision.FULFILL)
        decision = decide_fulfillment(order, request.execution_arn)
        match decision:
            case FulfillmentDecision.NOT_FOUND:
                return await self._escalate(message, request, Reason.ORDER_NOT_FOUND, "No order with this OrderId.")
            case FulfillmentDecision.FULFILL:
                raise TransientError("the order changed while it was being fulfilled")
            case FulfillmentDecision.ALREADY_FULFILLED | FulfillmentDecision.SUPERSEDED:
                return Acknowledged(decision)

    async def _escalate_exhausted(
        self, message: Message, request: FulfillmentRequest, attempts: int, error: Exception | None = None
    ) -> Acknowledged:
        # Of an error that is not ours the text could be anything: the log has it, masked.
        last = str(error) if isinstance(error, TransientError) else type(error).__name__
        detail = f"Failed {attempts} times." if error is None else f"Failed {attempts} times; at last: {last}."
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
