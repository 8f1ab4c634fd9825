"""The escalation worker: writes a message to its case and notifies people."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog
from structlog.contextvars import bind_contextvars

from workers import clock
from workers.backoff import Backoff
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.contracts import OrderFinished, Reminder, decode_escalation, decode_order_finished, decode_reminder
from workers.domain.cases import LOG_CHANNEL, Case, CaseState
from workers.domain.escalations import Escalation, EscalationOutcome, EscalationPlan, plan_escalation
from workers.domain.orders import Order
from workers.domain.reasons import Reason
from workers.domain.resolutions import close_finished
from workers.domain.routing import Rules
from workers.errors import UndecodableError, UnreadableOrderError
from workers.escalation.conflicts import CONFLICT_BACKOFF, retry_conflicts
from workers.escalation.router import Router
from workers.ports import Cases, DeadLetters, MessageTrials, Reminders
from workers.trials import MAX_TRIALS, TrialCounter, trial_id

log = structlog.get_logger(__name__)

# A channel's recovery is noticed at most the cap late. SQS can delay a message by up to 900 s.
REMINDER_BACKOFF = Backoff(base_s=5.0, cap_s=300.0)
# Deliveries whose log line was written. Only those in flight matter.
MAX_LOGGED = 1_000


@dataclass(slots=True, kw_only=True)
class EscalationHandler:
    """
    Writes order and case in one transaction, then logs each episode of the case and routes it once.

    If a channel fails, the worker acknowledges the escalation and sends a reminder: a delayed message to its own queue.
    Any worker may receive the reminder. That worker sends the notifications that are still missing and, if a channel
    still fails, the next reminder. Reminders also end when the case is resolved.

    The alternatives are worse:

    - Releasing the escalation would use up its few deliveries: after an hour without a channel it would be in the
      dead-letter queue.
    - A timer in memory would be lost with the worker.
    """

    queue_name: str
    cases: Cases
    dead_letters: DeadLetters
    reminders: Reminders
    trials: MessageTrials
    rules: Rules
    router: Router
    now: Callable[[], str] = clock.now
    conflict_backoff: Backoff = CONFLICT_BACKOFF
    reminder_backoff: Backoff = REMINDER_BACKOFF
    _counter: TrialCounter = field(default_factory=TrialCounter)
    _logged: dict[str, None] = field(default_factory=dict)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            if reminder := decode_reminder(message):
                return Acknowledged(await self._handle_reminder(reminder))
            if finished := decode_order_finished(message):
                return Acknowledged(await self._close_case(finished))
            escalation = decode_escalation(message)
        except UndecodableError as error:
            return await self._dead_letter(message, error)
        bind_contextvars(order_id=escalation.order_id, execution_arn=escalation.execution_arn)
        return Acknowledged(await self._escalate(escalation, message.receive_count))

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        """
        Give a message that was delivered too often a few more tries, then send it to the dead-letter queue, undecoded.

        Stops and crashes raise the receive counts of all messages in flight. So a high receive count alone does not
        mean that this message is the problem.
        """
        trial = trial_id(message)
        trials = await self._counter.count(trial, self.trials.count_trial(message.id, trial))
        if trials is None or trials <= MAX_TRIALS:
            return await self.handle(message)
        await self.dead_letters.send(message, reason=f"delivered {message.receive_count} times without an outcome")
        return DeadLettered("delivered_too_often")

    async def take_back(self, message: Message) -> None:
        trial = trial_id(message)
        await self._counter.take_back(trial, lambda: self.trials.take_back_trial(message.id, trial))

    async def _escalate(self, escalation: Escalation, receive_count: int) -> EscalationOutcome:
        # Write one message of a case at a time. Then conflicts come only from other workers, even if this worker has a
        # hundred messages about one order.
        async with self._locks.setdefault(escalation.case_id, asyncio.Lock()):
            plan, case = await self._write(escalation)
        if plan.routes and case is not None:
            self._log(case, f"{escalation.message_id}/{receive_count}")
            await self._route(case, tries=0)
        return plan.outcome

    def _log(self, case: Case, delivery: str) -> None:
        """
        Write the log line of an episode, after the case. *delivery* is one of the message that opened the episode.

        The case already records the line, so only these deliveries make up for a crash in between: each writes it. If
        an outage has the handler called again for the same delivery, the line is not repeated.
        """
        if delivery not in self._logged and case.is_routed(LOG_CHANNEL):
            self.router.log(case)
            self._logged[delivery] = None
            if len(self._logged) > MAX_LOGGED:
                del self._logged[next(iter(self._logged))]

    @retry_conflicts
    async def _write(self, escalation: Escalation) -> tuple[EscalationPlan, Case | None]:
        """Write the plan for *escalation*; return the plan and the case as it is afterward."""
        case, order = await self._read(escalation)
        assessment = self.rules.assess(escalation.reasons, escalation.source)
        plan = plan_escalation(escalation, order, case, self.now(), assessment)
        if plan.case is not None:
            await self.cases.apply(plan, order)
        return plan, plan.case or case

    async def _read(self, escalation: Escalation) -> tuple[Case | None, Order | None]:
        """Return the case and the order of an escalation. An unreadable order counts as missing: it is not changed."""
        case, order = await self.cases.read(await self._case_id(escalation), escalation.order_id)
        if isinstance(order, UnreadableOrderError):
            log.warning("order.unreadable", reason=str(order))
            return case, None
        return case, order

    async def _case_id(self, escalation: Escalation) -> str:
        """Return the id of the escalation's case. EventBridge names only an execution; it may have a case already."""
        if escalation.order_id is None and escalation.execution_arn is not None:
            return await self.cases.find_by_execution(escalation.execution_arn) or escalation.case_id
        return escalation.case_id

    async def _route(self, case: Case, tries: int) -> EscalationOutcome:
        """Route *case*; send a reminder if a channel did not get its notification."""
        unrouted = await self.router.route(case)
        if not unrouted:
            return EscalationOutcome.ROUTED
        delay_s = 1 + round(self.reminder_backoff.wait_s(tries + 1))
        reminder = Reminder(CaseId=case.case_id, Episode=case.episode, Tries=tries + 1)
        await self.reminders.send(reminder, delay_s=delay_s)
        log.info("routing.deferred", case_id=case.case_id, channels=list(unrouted), tries=tries + 1, delay_s=delay_s)
        return EscalationOutcome.DEFERRED

    async def _handle_reminder(self, reminder: Reminder) -> EscalationOutcome:
        case, _ = await self.cases.read(reminder.case_id, None)
        if case is None or case.state is not CaseState.OPEN or case.episode != reminder.episode:
            return EscalationOutcome.SUPERSEDED
        bind_contextvars(order_id=case.order_id, execution_arn=case.opening and case.opening.execution_arn)
        return await self._route(case, reminder.tries)

    @retry_conflicts
    async def _close_case(self, finished: OrderFinished) -> EscalationOutcome:
        """Close the case of an order that a later execution has finished. A repeated report changes nothing."""
        bind_contextvars(order_id=finished.order_id, execution_arn=finished.execution_arn)
        case, order = await self.cases.read(finished.order_id, finished.order_id)
        if isinstance(order, UnreadableOrderError):
            order = None
        closed = close_finished(case, order, finished.execution_arn, self.now())
        if closed is None:
            return EscalationOutcome.SUPERSEDED
        await self.cases.put(closed)
        resolution = closed.resolutions[-1]
        log.info("case.closed", case_id=closed.case_id, episode=closed.episode, action=resolution.action)
        return EscalationOutcome.CASE_CLOSED

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
            ),
            message.receive_count,
        )
        return DeadLettered("undecodable")
