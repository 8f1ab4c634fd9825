"""What an escalation case is, and what a message may do to it and to its order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from workers.domain.cards import looks_like_card
from workers.domain.cases import Case, CaseState, Episode, Evidence, OrderCopy, stored_text
from workers.domain.ids import execution_name, fingerprint, message_case_id
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source

MAX_MESSAGE_IDS = 100  # A case absorbs few messages; older ids cannot come back within SQS's retention in practice.
# With these bounds a case stays below DynamoDB's 400 KB per item, even where every character takes four bytes.
MAX_EXECUTIONS = 100
MAX_EVIDENCE = 30
MAX_EPISODES = 20
MAX_RESOLUTIONS = 20
MAX_DETAIL_CHARS = 1_000


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """One message of the escalation queue, decoded. All text in it is masked already."""

    message_id: str
    order_id: str | None
    reasons: tuple[Reason, ...]
    source: Source | None = None
    detail: str | None = None
    execution_arn: str | None = None
    attempts: int | None = None
    queue: str | None = None
    origin_message_id: str | None = None

    @property
    def case_id(self) -> str:
        """The order's id, else the execution's name, else the message's."""
        if self.order_id is not None:
            return self.order_id
        if self.execution_arn is not None:
            name = execution_name(self.execution_arn)
            # Whoever starts an execution chooses its name; one that holds a card number must not become a key.
            return f"execution-{fingerprint(name, 16)}" if looks_like_card(name) else name
        return message_case_id(self.origin_message_id or self.message_id)


@dataclass(frozen=True, slots=True)
class Assessment:
    """How bad an escalation is by the rules, and the channels it is to go to."""

    severity: Severity
    channels: tuple[str, ...]


class EscalationOutcome(StrEnum):
    """How an escalation message ends; the values are the outcomes in the log."""

    ESCALATED = "escalated"
    ADDED_TO_CASE = "added_to_case"
    ORDER_ALREADY_FINAL = "order_already_final"
    SUPERSEDED = "superseded"
    # How a reminder ends that an episode is not routed to all of its channels yet.
    ROUTED = "routed"
    DEFERRED = "deferred"


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """What to write. `case` is None where nothing is to be written at all."""

    outcome: EscalationOutcome
    escalates_order: bool
    case: Case | None
    routes: bool
    counts_rejection: bool = False  # To be written only while the order is still that execution's.


def plan_escalation(
    escalation: Escalation, order: Order | None, case: Case | None, now: str, assessment: Assessment
) -> EscalationPlan:
    """
    Decide what *escalation* does to its order and its case, both as they are now (None: there is none).

    The channels of an episode are those of the message that opened it, which alone is routed. A later one may raise the
    severity.
    """
    current = order is not None and order.belongs_to(escalation.execution_arn)
    if case is not None and escalation.message_id in case.message_ids:
        # Our own write, before a crash or a lost answer; what may be missing is the routing.
        opener = case.opened_by == escalation.message_id and case.state is CaseState.OPEN
        outcome = EscalationOutcome.ESCALATED if opener else EscalationOutcome.ADDED_TO_CASE
        return EscalationPlan(outcome, False, None, routes=opener)
    if current and order is not None and order.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED}:
        noted = None if case is None else _add(case, escalation, now, assessment)
        return EscalationPlan(EscalationOutcome.ORDER_ALREADY_FINAL, False, noted, routes=False)
    escalates = current and order is not None and order.status is OrderStatus.RECEIVED
    rejected = _rejected_execution(escalation, order) if current else None
    counts = rejected is not None and (case is None or rejected not in case.rejected_executions)
    if case is None:
        opened = _add(_open(escalation, order, now, assessment), escalation, now, assessment, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, opened, routes=True, counts_rejection=counts)
    new_to_case = escalation.execution_arn is None or escalation.execution_arn not in case.execution_arns
    if escalates or (case.state is CaseState.RESOLVED and new_to_case):
        reopened = _reopen(case, escalation, order, now, assessment)
        added = _add(reopened, escalation, now, assessment, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, added, routes=True, counts_rejection=counts)
    outcome = EscalationOutcome.ADDED_TO_CASE if case.state is CaseState.OPEN else EscalationOutcome.SUPERSEDED
    added = _add(case, escalation, now, assessment, rejected)
    return EscalationPlan(outcome, escalates, added, routes=False, counts_rejection=counts)


def _rejected_execution(escalation: Escalation, order: Order | None) -> str | None:
    """
    Return the execution that the provider definitely refused, if that is what *escalation* says of the current one.

    Their number makes the idempotency key of the next execution. It is kept here because the case lives on, while a
    resubmission replaces the order's item; by execution, because an escalation may be sent twice; and only while that
    execution is the current one, because a refusal that comes in late must not change the key of the execution after
    it, whose request may be under way: it could ship twice. (Not counted, it is at worst answered from a cache, with
    the same refusal.) So an execution's key never changes: while it is current only its own refusal can be added, and
    that one counts for the next.
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
    )


def _reopen(case: Case, escalation: Escalation, order: Order | None, now: str, assessment: Assessment) -> Case:
    """Return *case* in its next episode; the one before becomes history."""
    ended = Episode(
        number=case.episode,
        opened_at=case.opened_at,
        last_seen_at=case.last_seen_at,
        severity=case.severity,
        reasons=case.reasons,
        sources=case.sources,
        attempts=case.attempts,
    )
    episodes = (*case.episodes, ended)
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
        routed=tuple(done for done in case.routed if done.episode > case.episode - MAX_EPISODES),
        # The first one stays: it tells since when there has been trouble.
        episodes=episodes if len(episodes) <= MAX_EPISODES else (episodes[0], *episodes[1 - MAX_EPISODES :]),
    )


def _add(case: Case, escalation: Escalation, now: str, assessment: Assessment, rejected: str | None = None) -> Case:
    """Return *case* with what *escalation* says added to it."""
    executions = _merge(case.execution_arns, [escalation.execution_arn] if escalation.execution_arn else [])
    return replace(
        case,
        updated_at=now,
        order_id=case.order_id or escalation.order_id,
        severity=Severity.highest((case.severity, assessment.severity)),
        reasons=_merge(case.reasons, escalation.reasons),
        sources=_merge(case.sources, [escalation.source] if escalation.source else []),
        execution_arns=executions[-MAX_EXECUTIONS:],
        rejected_executions=_merge(case.rejected_executions, [rejected] if rejected else []),
        message_ids=(*case.message_ids, escalation.message_id)[-MAX_MESSAGE_IDS:],
        evidence=_bounded((*case.evidence, _evidence(escalation, now)), case.opened_by),
        attempts=case.attempts if escalation.attempts is None else escalation.attempts,
    )


def _bounded(evidence: tuple[Evidence, ...], opened_by: str | None) -> tuple[Evidence, ...]:
    """Return *evidence* without the oldest, if that is too many; what opened the episode is kept for the next one."""
    kept = [each for each in evidence if each.message_id == opened_by][:1]
    others = [each for each in evidence if each not in kept]
    return evidence if len(evidence) <= MAX_EVIDENCE else (*kept, *others[len(kept) - MAX_EVIDENCE :])


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


def _merge(held: Sequence[_T], new: Sequence[_T]) -> tuple[_T, ...]:
    return (*held, *(item for item in dict.fromkeys(new) if item not in held))
