"""The escalation worker: writes a message to its case and notifies people."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog
from structlog.contextvars import bind_contextvars

from workers import clock
from workers.backoff import Backoff
from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.contracts import (
    OrderFinished,
    OutgoingEscalation,
    Reminder,
    decode_escalation,
    decode_order_finished,
    decode_reminder,
)
from workers.domain.cases import Case, HandledReminder
from workers.domain.escalations import (
    Escalation,
    EscalationOutcome,
    EscalationPlan,
    execution_case_id,
    plan_escalation,
)
from workers.domain.merges import pointer
from workers.domain.orders import Order
from workers.domain.reasons import Reason, Source
from workers.domain.resolutions import close_finished
from workers.domain.routing import Rules
from workers.errors import ConflictError, UndecodableError, UnreadableOrderError
from workers.escalation.conflicts import CONFLICT_BACKOFF, retry_conflicts
from workers.escalation.router import Router
from workers.ports import Cases, DeadLetters, MessageTrials, Reminders
from workers.trials import MAX_TRIALS, TrialCounter, trial_id

log = structlog.get_logger(__name__)

# A channel's recovery is noticed at most the cap late. SQS can delay a message by up to 900 s.
REMINDER_BACKOFF = Backoff(base_s=5.0, cap_s=300.0)
# If no reminder of an episode was handled for so long, there is none: the longest wait, and time in the queue.
FORGOTTEN_S = 1_800.0
# EventBridge's notice of a failed execution often comes before the workflow's own escalation is handled.
NOTICE_WAIT_S = 60
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
    notice_wait_s: int = NOTICE_WAIT_S
    _counter: TrialCounter = field(default_factory=TrialCounter)
    _logged: dict[str, None] = field(default_factory=dict)
    _locks: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            if reminder := decode_reminder(message):
                return Acknowledged(await self._handle_reminder(reminder, message.id))
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
            plan, case, unlogged = await self._write(escalation)
        delivery = f"{escalation.message_id}/{receive_count}"
        if unlogged is not None:
            self._log(unlogged, delivery)
        if plan.merged is not None:
            log.info("case.merged", case_id=plan.merged.merged_into, merged=plan.merged.case_id)
        if plan.outcome is EscalationOutcome.POSTPONED:
            await self._postpone(escalation)
        if plan.routes and case is not None:
            self._log(case, delivery)
            await self._route(case, tries=0)
        return plan.outcome

    async def _postpone(self, escalation: Escalation) -> None:
        """Send a notice to be handled again later. If it is sent twice, the second one is recognized by its id."""
        again = OutgoingEscalation(
            order_id=None,
            reasons=escalation.reasons,
            source=Source.EVENTBRIDGE,
            detail=escalation.detail,
            execution_arn=escalation.execution_arn,
            attempts=escalation.attempts,
            queue=escalation.queue,
            origin_message_id=escalation.origin_message_id,
            waiting_message_id=escalation.message_id,
        )
        await self.reminders.send(again, delay_s=self.notice_wait_s)
        log.info("notice.postponed", delay_s=self.notice_wait_s)

    def _log(self, case: Case, delivery: str) -> None:
        """
        Write the log line of an episode, after the case. *delivery* is one of the message that opened the episode.

        The case already records the line, so only these deliveries make up for a crash in between: each writes it. If
        an outage has the handler called again for the same delivery, the line is not repeated.
        """
        if delivery not in self._logged and case.is_logged_by_opener:
            self.router.log(case)
            self._logged[delivery] = None
            if len(self._logged) > MAX_LOGGED:
                del self._logged[next(iter(self._logged))]

    @retry_conflicts
    async def _write(self, escalation: Escalation) -> tuple[EscalationPlan, Case | None, Case | None]:
        """
        Write the plan for *escalation*. Return the plan, and the case as it is afterward.

        Also return the case that this message has opened, if that was merged since: its log line may be missing.
        """
        case, order, execution_case = await self._read(escalation)
        assessment = self.rules.assess(escalation.reasons, escalation.source)
        plan = plan_escalation(escalation, order, case, self.now(), assessment, execution_case=execution_case)
        if plan.case is not None:
            await self._point_to(plan.case, case)
            await self.cases.apply(plan, order)
        merged = execution_case is not None and execution_case.merged_into is not None
        opened_it = execution_case is not None and execution_case.opened_by == escalation.message_id
        return plan, plan.case or case, execution_case if merged and opened_it else None

    async def _point_to(self, case: Case, before: Case | None) -> None:
        """
        Leave a pointer to *case* under the id of its newest execution before, if it has a newer one now.

        Otherwise a late notice about that execution would open a second case. This comes before the case is written: a
        crash in between leaves a pointer that is right anyway.
        """
        newest = before.execution_arns[-1:] if before is not None else ()
        if case.order_id is None or newest == case.execution_arns[-1:]:
            return
        for execution_arn in newest:
            case_id = execution_case_id(execution_arn)
            if case_id != case.case_id:
                with contextlib.suppress(ConflictError):  # The execution has a case, or a pointer.
                    await self.cases.put(pointer(case, case_id, execution_arn, self.now()))

    async def _read(self, escalation: Escalation) -> tuple[Case | None, Order | None, Case | None]:
        """
        Return the case and the order of an escalation, and the case under its execution's id.

        An unreadable order counts as missing: it is not changed.
        """
        if escalation.order_id is None and escalation.execution_arn is not None:
            # EventBridge names only an execution. A case may list it already.
            case_id = await self.cases.find_by_execution(escalation.execution_arn) or escalation.case_id
            case, _, execution_case = await self.cases.read(case_id, None, escalation.execution_case_id)
            if case is not None and case.merged_into is not None:
                order_case, _, _ = await self.cases.read(case.merged_into, None)
                if order_case is not None:  # Someone may have deleted it.
                    case, execution_case = order_case, case
            return case, None, execution_case
        case, order, execution_case = await self.cases.read(
            escalation.case_id, escalation.order_id, escalation.execution_case_id
        )
        if isinstance(order, UnreadableOrderError):
            log.warning("order.unreadable", reason=str(order))
            order = None
        return case, order, execution_case

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

    async def _handle_reminder(self, reminder: Reminder, message_id: str) -> EscalationOutcome:
        """
        Route the episode of a reminder again, unless a copy of the reminder, or a later one, was handled.

        So reminders do not multiply, even if each one is sent or delivered twice. If there was none for long, the last
        one was lost, and any is welcome.
        """
        handled = HandledReminder(episode=reminder.episode, tries=reminder.tries, message_id=message_id, at=self.now())
        forgotten_at = clock.earlier(handled.at, FORGOTTEN_S)
        case = await self.cases.claim_reminder(reminder.case_id, handled, forgotten_at)
        if case is None:
            return EscalationOutcome.SUPERSEDED
        bind_contextvars(order_id=case.order_id, execution_arn=case.opening and case.opening.execution_arn)
        return await self._route(case, reminder.tries)

    @retry_conflicts
    async def _close_case(self, finished: OrderFinished) -> EscalationOutcome:
        """Close the case of an order that a later execution has finished. A repeated report changes nothing."""
        bind_contextvars(order_id=finished.order_id, execution_arn=finished.execution_arn)
        case, order, _ = await self.cases.read(finished.order_id, finished.order_id)
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
