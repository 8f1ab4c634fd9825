"""The escalation worker: from a message to a case, and to the people who settle it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from structlog.contextvars import bind_contextvars
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from workers import clock
from workers.domain.escalations import (
    Case,
    Escalation,
    EscalationOutcome,
    EscalationPlan,
    Reason,
    Routing,
    Severity,
    plan_escalation,
)
from workers.errors import ConflictError, UndecodableError
from workers.handlers.contracts import decode_escalation
from workers.handlers.ports import Cases, DeadLetters, Orders
from workers.message import Acknowledged, DeadLettered, Message

log = structlog.get_logger(__name__)

MAX_TRIES = 5  # Two workers at one case settle it in two or three.
CONFLICT_BASE_S, CONFLICT_CAP_S = 0.02, 0.5
LOG_CHANNEL = "log"


@dataclass(slots=True, kw_only=True)
class EscalationHandler:
    """Writes order and case in one transaction, then routes, once per episode of the case."""

    queue_name: str
    orders: Orders
    cases: Cases
    dead_letters: DeadLetters
    now: Callable[[], str] = clock.now

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            escalation = decode_escalation(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=escalation.order_id, execution_arn=escalation.execution_arn)
        return Acknowledged(await self._escalate(escalation))

    async def give_up(self, message: Message) -> DeadLettered:
        await self.dead_letters.send(message, reason=f"delivered {message.receive_count} times without an outcome")
        return DeadLettered("delivered_too_often")

    async def _escalate(self, escalation: Escalation) -> EscalationOutcome:
        plan, case = await self._write(escalation)
        if plan.routes and case is not None:
            await self._route(case, escalation)
        return plan.outcome

    @retry(
        retry=retry_if_exception_type(ConflictError),
        stop=stop_after_attempt(MAX_TRIES),
        wait=wait_random_exponential(multiplier=CONFLICT_BASE_S, max=CONFLICT_CAP_S),
        reraise=True,
    )
    async def _write(self, escalation: Escalation) -> tuple[EscalationPlan, Case | None]:
        """Write what *escalation* leads to; return that and the case as it is now."""
        case = await self.cases.get(await self._case_id(escalation))
        order = None if escalation.order_id is None else await self.orders.get(escalation.order_id)
        plan = plan_escalation(escalation, order, case, self.now())
        if plan.case is not None:
            await self.cases.apply(plan, order)
        return plan, plan.case or case

    async def _case_id(self, escalation: Escalation) -> str:
        """Return the case an escalation belongs to: EventBridge knows an execution only, which may have one already."""
        if escalation.order_id is None and escalation.execution_arn is not None:
            return await self.cases.find_by_execution(escalation.execution_arn) or escalation.case_id
        return escalation.case_id

    async def _route(self, case: Case, escalation: Escalation) -> None:
        if case.is_routed(LOG_CHANNEL):
            return
        log.log(
            logging.ERROR if case.severity is Severity.CRITICAL else logging.WARNING,
            "escalation.routed",
            case_id=case.case_id,
            episode=case.episode,
            reasons=list(case.reasons),
            severity=case.severity,
            channels=[LOG_CHANNEL],
            source=escalation.source,
            detail=escalation.detail,
        )
        await self.cases.record_routing(case, Routing(channel=LOG_CHANNEL, episode=case.episode, at=self.now()))

    async def _dead_letter(self, message: Message, error: UndecodableError) -> DeadLettered:
        bind_contextvars(reason=str(error))
        await self.dead_letters.send(message, reason=f"{Reason.UNDECODABLE_MESSAGE}: {error}", error=error)
        await self._escalate(
            Escalation(
                message_id=message.id,
                order_id=None,
                reasons=(Reason.UNDECODABLE_MESSAGE,),
                detail=f"Undecodable: {error}. It is in the dead-letter queue.",
                queue=self.queue_name,
                origin_message_id=message.id,
            )
        )
        return DeadLettered("undecodable")
