"""The fulfillment worker: fulfills or escalates the order of a message."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from structlog.contextvars import bind_contextvars

from workers import clock
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.contracts import FulfillmentRequest, OrderFinished, OutgoingEscalation, decode_fulfillment
from workers.domain.orders import (
    FulfillmentDecision,
    Order,
    decide_fulfillment,
    is_cancelled_in_progress,
    shipment_id,
    unrecorded_shipment,
)
from workers.domain.reasons import Reason, Source
from workers.errors import (
    FatalError,
    OutageError,
    PermanentError,
    TransientError,
    UndecodableError,
    UnreadableOrderError,
    plain_name,
)
from workers.fulfillment.providers import Provider, usable_shipment_id
from workers.ports import DeadLetters, Escalations, Orders, OrdersToShip
from workers.service_calls import PROVIDER, ServiceCalls
from workers.trials import MAX_TRIALS, TrialCounter, trial_id

log = structlog.get_logger(__name__)

# Messages whose write got no response. Most of them are in flight; the others will soon be received again.
MAX_UNCONFIRMED = 1_000


@dataclass(slots=True, kw_only=True)
class FulfillmentHandler:
    """
    Fulfills the order of a message, or escalates it.

    Without a provider this is one conditional write, with no read before it.

    A person may cancel or resolve an order while it is being shipped. Then the shipment cannot be recorded, and is
    escalated. If the worker crashes before that, the next delivery finds the order cancelled and cannot know what the
    provider has done: it escalates that.
    """

    queue_name: str
    orders: Orders
    orders_to_ship: OrdersToShip  # Used only with a provider.
    escalations: Escalations
    dead_letters: DeadLetters
    provider: Provider | None
    max_attempts: int
    max_ship_s: float
    provider_calls: ServiceCalls = field(default_factory=lambda: ServiceCalls(PROVIDER))
    now: Callable[[], str] = clock.now
    _counter: TrialCounter = field(default_factory=TrialCounter)
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
        Give a few trials to a message that was delivered too often, then escalate its order.

        A message that crashes its worker also raises the receive counts of all other messages in flight. So does every
        stop of a worker. Therefore each message that was delivered too often gets `MAX_TRIALS` trials, in which it is
        handled alone. A trial is counted before it begins. Only a message that crashes its worker, or fails, uses up
        its trials.
        """
        try:
            request = decode_fulfillment(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=request.order_id, execution_arn=request.execution_arn)
        trial = trial_id(message)
        counting = self.orders.count_trial(request.order_id, request.execution_arn, trial)
        trials = await self._counter.count(trial, counting)
        if trials is None or trials <= MAX_TRIALS:
            try:
                return await self.handle(message)
            except UnreadableOrderError as error:  # No trials can be counted on such an order.
                return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, f"Failed: {error}.")
        detail = f"Delivered {message.receive_count} times without an outcome; not handled again."
        return await self._escalate(message, request, Reason.FULFILLMENT_EXHAUSTED, detail)

    async def take_back(self, message: Message) -> None:
        try:
            request = decode_fulfillment(message)
        except UndecodableError:
            return  # No trials are counted.
        trial = trial_id(message)
        order = request.order_id, request.execution_arn
        await self._counter.take_back(trial, lambda: self.orders.take_back_trial(*order, trial))

    async def _fulfill(self, message: Message, request: FulfillmentRequest) -> Acknowledged | DeadLettered:
        at = self._unconfirmed.get(message.id) or self.now()
        if self.provider is None:
            shipment = shipment_id(request.order_id)
        else:
            order = await self.orders_to_ship.get_to_ship(request.order_id, request.execution_arn)
            if order is None or decide_fulfillment(order, request.execution_arn) is not FulfillmentDecision.FULFILL:
                if message.receive_count > 1 and is_cancelled_in_progress(order, request.execution_arn):
                    detail = "It was cancelled after its message had been delivered: it may have been shipped before."
                    escalated = await self._escalate(message, request, Reason.UNRECORDED_SHIPMENT, detail)
                    return replace(escalated, used_downstream=False)
                return replace(await self._conclude(message, request, order, at), used_downstream=False)
            if order.attempts >= self.max_attempts:
                return replace(await self._escalate_exhausted(message, request, order.attempts), used_downstream=False)
            if request.execution_arn is None or order.has_open_case:
                # A bare OrderId, or an order whose case was opened before the order was ever recorded.
                request = request.model_copy(update={"execution_arn": order.execution_arn, "resubmitted": True})
            try:
                shipment = await self._ship(self.provider, order)
            except PermanentError as error:
                detail = f"The provider refused: {error}"
                return await self._escalate(message, request, Reason.FULFILLMENT_REJECTED, detail)
        order = await self._write(message, request, shipment, at)
        if self.provider is not None and (problem := unrecorded_shipment(order, request.execution_arn, shipment)):
            self._unconfirmed.pop(message.id, None)
            return await self._escalate(message, request, Reason.UNRECORDED_SHIPMENT, problem)
        return await self._conclude(message, request, order, at)

    async def _ship(self, provider: Provider, order: Order) -> str:
        """Call *provider*, and record whether it works."""
        try:
            shipment = await self._call(provider, order)
        except PermanentError:  # It has answered.
            self.provider_calls.worked()
            raise
        except Exception as error:
            self.provider_calls.failed(error, down=isinstance(error, OutageError))
            raise
        self.provider_calls.worked()
        return shipment

    async def _call(self, provider: Provider, order: Order) -> str:
        """Call *provider*. Whatever it does, this method returns or raises only what the provider contract allows."""
        try:
            async with asyncio.timeout(self.max_ship_s):
                return usable_shipment_id(await provider.ship(order))
        except PermanentError:
            raise
        except BaseException as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # Some libraries turn a cancellation into another error, which would count as a failed attempt.
                raise asyncio.CancelledError from error
            match error:
                case TimeoutError():
                    raise TransientError("the provider did not answer in time") from error
                case asyncio.CancelledError():
                    raise TransientError("the provider cancelled its own call") from error
                case Exception():
                    raise
                case _:  # It would end the worker: for example, a provider that calls sys.exit().
                    raise TransientError(f"the provider raised {plain_name(error)}") from error

    async def _write(self, message: Message, request: FulfillmentRequest, shipment: str, at: str) -> Order | None:
        try:
            return await self.orders.fulfill(request.order_id, request.execution_arn, shipment, at)
        except (OutageError, asyncio.CancelledError):
            # The write may have been applied: its response was lost, or the handler was cancelled (lost receipt) after
            # the request was sent. The next try uses the same time, so that we recognize our own write.
            self._unconfirmed[message.id] = at
            if len(self._unconfirmed) > MAX_UNCONFIRMED:
                del self._unconfirmed[next(iter(self._unconfirmed))]
            raise

    async def _conclude(
        self, message: Message, request: FulfillmentRequest, order: Order | None, at: str
    ) -> Acknowledged:
        """Settle a message by the state of its order. If the order was fulfilled at exactly *at*, we fulfilled it."""
        self._unconfirmed.pop(message.id, None)
        if order is not None and order.fulfilled_at == at:
            log.info("order.fulfilled", shipment_id=order.shipment_id)
            decision = FulfillmentDecision.FULFILL
        else:
            decision = decide_fulfillment(order, request.execution_arn)
            if decision is FulfillmentDecision.NOT_FOUND:
                return await self._escalate(message, request, Reason.ORDER_NOT_FOUND, "No order with this OrderId.")
            if decision is FulfillmentDecision.FULFILL:
                raise TransientError("the order changed while it was being fulfilled")
        if order is not None:
            await self._report_end(request, order)
        return Acknowledged(decision)

    async def _report_end(self, request: FulfillmentRequest, order: Order) -> None:
        """
        Report that a final order has ended, if it may have an open case.

        It may if it was resubmitted, if its message is bare, or if an open case was read with it.
        The escalation worker closes the case. The report is sent before the message is acknowledged, so that a crash in
        between repeats it. A new order needs none.
        """
        may_have_case = request.resubmitted or request.execution_arn is None or order.has_open_case
        if may_have_case and order.is_final and order.belongs_to(request.execution_arn):
            finished = OrderFinished(OrderFinished=order.order_id, ExecutionArn=order.execution_arn)
            await self.escalations.send(finished)

    async def _escalate_exhausted(
        self, message: Message, request: FulfillmentRequest, attempts: int, error: Exception | None = None
    ) -> Acknowledged:
        # The text of an error that is not ours could be anything. It is only in the log, masked.
        detail = f"Failed {attempts} times."
        if error is not None:
            last = str(error) if isinstance(error, TransientError) else plain_name(error)
            detail = f"Failed {attempts} times; last error: {last}."
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
