"""What a message on the escalation queue does to its case and its order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from workers.domain.bounds import MAX_EPISODE_ORDERS, bounded
from workers.domain.cards import looks_like_card
from workers.domain.cases import (
    LOG_CHANNEL,
    Case,
    CaseState,
    Episode,
    Evidence,
    OrderCopy,
    SentNotification,
    stored_text,
)
from workers.domain.ids import execution_name, fingerprint, message_case_id
from workers.domain.merges import can_merge, merge
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source

MAX_DETAIL_CHARS = 1_000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """A decoded message of the escalation queue. All of its text is masked."""

    message_id: str
    order_id: str | None
    reasons: tuple[Reason, ...]
    source: Source | None = None
    detail: str | None = None
    execution_arn: str | None = None
    attempts: int | None = None
    queue: str | None = None
    origin_message_id: str | None = None
    has_waited: bool = False

    @property
    def case_id(self) -> str:
        """The order's id. Without an order: the execution's name. Without both: an id from the (original) message's."""
        if self.order_id is not None:
            return self.order_id
        return self.execution_case_id or message_case_id(self.origin_message_id or self.message_id)

    @property
    def execution_case_id(self) -> str | None:
        """The id of the case that an escalation gets if it names this execution only."""
        return None if self.execution_arn is None else execution_case_id(self.execution_arn)

    @property
    def may_wait(self) -> bool:
        """
        Whether this notice waits once before it opens a case.

        EventBridge does not know the order. The order's own case may be about to be opened, or its index behind.
        """
        return self.order_id is None and self.source is Source.EVENTBRIDGE and not self.has_waited

    def is_stale_sweep(self, order: Order | None) -> bool:
        """Whether the sweep found *order* stuck, but it is not any more. The sweep repeats itself until it is not."""
        stuck = order is not None and order.status is OrderStatus.RECEIVED and order.belongs_to(self.execution_arn)
        return self.source is Source.SWEEP and not stuck


def execution_case_id(execution_arn: str) -> str:
    """Return the id of the case about an execution whose order is unknown: the execution's name."""
    name = execution_name(execution_arn)
    # People choose the names of executions. A name that contains a card number must not become a key.
    return f"execution-{fingerprint(name, 16)}" if looks_like_card(name) else name


@dataclass(frozen=True, slots=True)
class Assessment:
    """The severity and the channels that the rules give an escalation."""

    severity: Severity
    channels: tuple[str, ...]


class EscalationOutcome(StrEnum):
    """The result of a message on the escalation queue. The values are the outcomes in the log."""

    ESCALATED = "escalated"
    ADDED_TO_CASE = "added_to_case"
    ORDER_ALREADY_FINAL = "order_already_final"
    SUPERSEDED = "superseded"
    POSTPONED = "postponed"
    # The results of a reminder: the episode is routed to all of its channels, or not yet.
    ROUTED = "routed"
    DEFERRED = "deferred"
    # The result of the report that a resubmitted order has ended.
    CASE_CLOSED = "case_closed"


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """What to write (nothing if `case` is None), and whether to route the case afterward."""

    outcome: EscalationOutcome
    escalates_order: bool
    case: Case | None
    routes: bool
    counts_rejection: bool = False  # If True, write only if the order still has the rejected execution.
    merged: Case | None = None  # The case of the escalation's execution, closed in the same transaction.


def plan_escalation(
    escalation: Escalation,
    order: Order | None,
    case: Case | None,
    now: str,
    assessment: Assessment,
    *,
    execution_case: Case | None = None,
) -> EscalationPlan:
    """
    Decide what *escalation* does to its *order* and *case* as they are now (None: missing).

    - An episode's channels come from the message that opened it, and only that message is routed. A later message
      can raise the severity.
    - *execution_case* is the case of the escalation's execution, opened before its order was known. It is merged into
      the order's case.
    """
    if escalation.is_stale_sweep(order) and not (case is not None and escalation.message_id in case.message_ids):
        return EscalationPlan(EscalationOutcome.SUPERSEDED, False, None, routes=False)
    if execution_case is None or not can_merge(execution_case, escalation.order_id, escalation.execution_arn):
        return _plan(escalation, order, case, now, assessment)
    if case is None and order is not None and order.is_final and order.belongs_to(escalation.execution_arn):
        return _plan(escalation, order, execution_case, now, assessment)  # No case is opened for a final order.
    plan = _plan(escalation, order, case, now, assessment)
    if plan.case is None:
        return plan
    merged, closed = merge(plan.case, execution_case, now, opens=plan.routes)
    return replace(plan, case=merged, merged=closed)


def _plan(
    escalation: Escalation, order: Order | None, case: Case | None, now: str, assessment: Assessment
) -> EscalationPlan:
    current = order is not None and order.belongs_to(escalation.execution_arn)
    if case is not None and escalation.message_id in case.message_ids:
        # The escalation was written earlier, before a crash or a lost response. Only the routing may be missing.
        opener = case.opened_by == escalation.message_id and case.state is CaseState.OPEN
        outcome = EscalationOutcome.ESCALATED if opener else EscalationOutcome.ADDED_TO_CASE
        return EscalationPlan(outcome, False, None, routes=opener)
    # A shipment that could not be recorded concerns a person most of all if the order is final.
    unrecorded = Reason.UNRECORDED_SHIPMENT in escalation.reasons
    final = current and order is not None and order.is_final
    if final and not unrecorded:
        added = None if case is None else _add(case, escalation, now, assessment)
        return EscalationPlan(EscalationOutcome.ORDER_ALREADY_FINAL, False, added, routes=False)
    escalates = current and order is not None and order.status is OrderStatus.RECEIVED
    rejected = _rejected_execution(escalation, order) if current else None
    counts = rejected is not None and (case is None or rejected not in case.rejected_executions)
    if case is None and escalation.may_wait:
        return EscalationPlan(EscalationOutcome.POSTPONED, False, None, routes=False)
    if case is None:
        opened = _add(_open(escalation, order, now, assessment), escalation, now, assessment, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, opened, routes=True, counts_rejection=counts)
    named = escalation.execution_arn
    new_to_case = unrecorded or named is None or named not in case.execution_arns
    if escalates or (case.state is CaseState.RESOLVED and new_to_case):
        reopened = _reopen(case, escalation, order, now, assessment)
        added = _add(reopened, escalation, now, assessment, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, added, routes=True, counts_rejection=counts)
    outcome = EscalationOutcome.ADDED_TO_CASE if case.state is CaseState.OPEN else EscalationOutcome.SUPERSEDED
    added = _add(case, escalation, now, assessment, rejected)
    return EscalationPlan(outcome, escalates, added, routes=False, counts_rejection=counts)


def _rejected_execution(escalation: Escalation, order: Order | None) -> str | None:
    """
    Return the order's current execution if *escalation* says that the provider definitely refused it.

    The number of refused executions is part of the next execution's idempotency key (`Order.idempotency_key`).

    - The case stores the refused executions, because a resubmission replaces the order's item.
    - It stores each execution, not their number, because an escalation may be sent twice.
    - It adds only the current execution. A late refusal of an earlier one would change the current one's key while its
      request may be in flight, and the order could ship twice. At worst, a refusal that is not counted makes the
      provider repeat the same refusal.

    So an execution's key never changes: while it is current, only its own refusal can be added, and that refusal counts
    only for the next execution.
    """
    if order is None or Reason.FULFILLMENT_REJECTED not in escalation.reasons:
        return None
    return order.execution_arn or escalation.origin_message_id or escalation.message_id


def _open(escalation: Escalation, order: Order | None, now: str, assessment: Assessment) -> Case:
    return Case(
        case_id=escalation.case_id,
        state=CaseState.OPEN,
        severity=assessment.severity,
        opened_at=now,
        opened_by=escalation.message_id,
        updated_at=now,
        order_id=escalation.order_id,
        order=None if order is None else OrderCopy.of(order),
        channels=assessment.channels,
        routed=_logged(assessment, 1, now),
    )


def _reopen(case: Case, escalation: Escalation, order: Order | None, now: str, assessment: Assessment) -> Case:
    """Return *case* in its next episode, with the current one in its history."""
    ended = Episode(
        number=case.episode,
        opened_at=case.opened_at,
        last_seen_at=case.last_seen_at,
        severity=case.severity,
        reasons=case.reasons,
        sources=case.sources,
        attempts=case.attempts,
        order=case.order,
    )
    return replace(
        case,
        state=CaseState.OPEN,
        episode=case.episode + 1,
        opened_at=now,
        opened_by=escalation.message_id,
        severity=assessment.severity,
        reasons=(),
        sources=(),
        attempts=None,
        order=None if order is None else OrderCopy.of(order),
        channels=assessment.channels,
        routed=(
            *case.routed,
            *_logged(assessment, case.episode + 1, now),
        ),
        episodes=(*_without_old_copies(case.episodes), ended),
        merged_into=None,
    )


def _without_old_copies(episodes: tuple[Episode, ...]) -> tuple[Episode, ...]:
    """Return *episodes* with the copies of the order that are still kept when another episode is added."""
    kept = len(episodes) - MAX_EPISODE_ORDERS + 1
    return tuple(replace(episode, order=None) if n < kept else episode for n, episode in enumerate(episodes))


def _logged(assessment: Assessment, episode: int, now: str) -> tuple[SentNotification, ...]:
    """
    Return the record that the log has got *episode*. It is written together with the case, which saves a request.

    The line is written after the case. If the worker crashes in between, the message that opened the episode is
    delivered again, and that delivery writes the line.
    """
    if LOG_CHANNEL not in assessment.channels:
        return ()
    return (SentNotification(channel=LOG_CHANNEL, episode=episode, at=now),)


def _add(case: Case, escalation: Escalation, now: str, assessment: Assessment, rejected: str | None = None) -> Case:
    """Return *case* with *escalation* added to it."""
    executions = _merge(case.execution_arns, [escalation.execution_arn] if escalation.execution_arn else [])
    added = replace(
        case,
        updated_at=now,
        order_id=case.order_id or escalation.order_id,
        severity=Severity.highest((case.severity, assessment.severity)),
        reasons=_merge(case.reasons, escalation.reasons),
        sources=_merge(case.sources, [escalation.source] if escalation.source else []),
        execution_arns=executions,
        rejected_executions=_merge(case.rejected_executions, [rejected] if rejected else []),
        message_ids=(*case.message_ids, escalation.message_id),
        evidence=(*case.evidence, _evidence(escalation, now)),
        attempts=case.attempts if escalation.attempts is None else escalation.attempts,
    )
    return bounded(added)


def _evidence(escalation: Escalation, now: str) -> Evidence:
    return Evidence(
        at=now,
        message_id=escalation.message_id,
        reasons=escalation.reasons,
        source=escalation.source,
        detail=escalation.detail,
        execution_arn=escalation.execution_arn,
        attempts=escalation.attempts,
        queue=stored_text(escalation.queue),
        origin_message_id=stored_text(escalation.origin_message_id),
    )


def _merge(old: Sequence[_T], new: Sequence[_T]) -> tuple[_T, ...]:
    return (*old, *(item for item in dict.fromkeys(new) if item not in old))
