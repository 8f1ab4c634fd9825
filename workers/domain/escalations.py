"""What an escalation case is, and what a message may do to it and to its order."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from workers.domain.cards import looks_like_card
from workers.domain.orders import Order, OrderStatus

MAX_MESSAGE_IDS = 100  # A case absorbs few messages; older ids cannot come back within SQS's retention in practice.
MAX_EVIDENCE = 50
MAX_DETAIL_CHARS = 1_000

_T = TypeVar("_T")


class Reason(StrEnum):
    INVALID_CARD_NUMBER = "INVALID_CARD_NUMBER"
    INVALID_PRICE = "INVALID_PRICE"
    MALFORMED_ORDER = "MALFORMED_ORDER"
    VERIFICATION_UNAVAILABLE = "VERIFICATION_UNAVAILABLE"
    WORKFLOW_FAILED = "WORKFLOW_FAILED"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    FULFILLMENT_REJECTED = "FULFILLMENT_REJECTED"
    FULFILLMENT_EXHAUSTED = "FULFILLMENT_EXHAUSTED"
    UNDECODABLE_MESSAGE = "UNDECODABLE_MESSAGE"
    UNSPECIFIED = "UNSPECIFIED"


class Source(StrEnum):
    WORKFLOW = "workflow"
    FULFILLMENT = "fulfillment"
    EVENTBRIDGE = "eventbridge"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class CaseState(StrEnum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


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
            name = self.execution_arn.rpartition(":")[2]
            # Whoever starts an execution chooses its name; one that holds a card number must not become a key.
            return f"execution-{hashlib.sha256(name.encode()).hexdigest()[:16]}" if looks_like_card(name) else name
        return f"message-{self.origin_message_id or self.message_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What one message said: kept on the case for the person who decides."""

    at: str
    message_id: str
    reasons: tuple[Reason, ...]
    source: Source | None
    detail: str | None
    execution_arn: str | None
    attempts: int | None
    queue: str | None
    origin_message_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """A notification that was sent: to which channel, for which episode, when."""

    channel: str
    episode: int
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How a person settled an episode."""

    action: str
    episode: int
    actor: str
    note: str
    at: str
    shipment_id: str | None = None
    execution_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An escalation case. An episode is one time it was opened; a reopened case keeps its history."""

    case_id: str
    state: CaseState
    severity: Severity
    opened_at: str
    updated_at: str
    order_id: str | None = None
    episode: int = 1
    reasons: tuple[Reason, ...] = ()
    sources: tuple[Source, ...] = ()
    execution_arns: tuple[str, ...] = ()
    rejected_executions: tuple[str, ...] = ()  # Those the provider definitely refused, each once.
    message_ids: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    routed: tuple[Routing, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    attempts: int | None = None
    opened_by: str | None = None  # The message that opened this episode, and so is the one to route it.
    version: int = 0

    def is_routed(self, channel: str) -> bool:
        """Tell whether this episode's notification went to *channel*."""
        return any(done.channel == channel and done.episode == self.episode for done in self.routed)


class EscalationOutcome(StrEnum):
    """How an escalation message ends; the values are the outcomes in the log."""

    ESCALATED = "escalated"
    ABSORBED = "absorbed"
    NOTED = "noted"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class EscalationPlan:
    """What to write. `case` is None where nothing is to be written at all."""

    outcome: EscalationOutcome
    escalates_order: bool
    case: Case | None
    routes: bool
    counts_rejection: bool = False  # To be written only while the order is still that execution's.


_SEVERITIES = {
    Reason.UNDECODABLE_MESSAGE: Severity.CRITICAL,
    Reason.WORKFLOW_FAILED: Severity.CRITICAL,
    Reason.VERIFICATION_UNAVAILABLE: Severity.CRITICAL,
}


def severity_of(reasons: Sequence[Reason]) -> Severity:
    """Return the severity of a case: critical where the system failed, a warning where the order is at fault."""
    found = {_SEVERITIES.get(reason, Severity.WARNING) for reason in reasons}
    return Severity.CRITICAL if Severity.CRITICAL in found else Severity.WARNING


def plan_escalation(escalation: Escalation, order: Order | None, case: Case | None, now: str) -> EscalationPlan:
    """Decide what *escalation* does to its order and its case, both as they are now (None: there is none)."""
    current = order is not None and order.belongs_to(escalation.execution_arn)
    if case is not None and escalation.message_id in case.message_ids:
        # Our own write, before a crash or a lost answer; what may be missing is the routing.
        opener = case.opened_by == escalation.message_id and case.state is CaseState.OPEN
        outcome = EscalationOutcome.ESCALATED if opener else EscalationOutcome.ABSORBED
        return EscalationPlan(outcome, False, None, routes=opener)
    if current and order is not None and order.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED}:
        noted = None if case is None else _add(case, escalation, now)
        return EscalationPlan(EscalationOutcome.NOTED, False, noted, routes=False)
    escalates = current and order is not None and order.status is OrderStatus.RECEIVED
    rejected = _rejected_execution(escalation, order) if current else None
    counts = rejected is not None and (case is None or rejected not in case.rejected_executions)
    if case is None:
        opened = _add(_open(escalation, now), escalation, now, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, opened, routes=True, counts_rejection=counts)
    new_to_case = escalation.execution_arn is None or escalation.execution_arn not in case.execution_arns
    if escalates or (case.state is CaseState.RESOLVED and new_to_case):
        reopened = replace(
            case,
            state=CaseState.OPEN,
            episode=case.episode + 1,
            opened_at=now,
            opened_by=escalation.message_id,
            reasons=(),
            sources=(),
        )
        added = _add(reopened, escalation, now, rejected)
        return EscalationPlan(EscalationOutcome.ESCALATED, escalates, added, routes=True, counts_rejection=counts)
    outcome = EscalationOutcome.ABSORBED if case.state is CaseState.OPEN else EscalationOutcome.SUPERSEDED
    added = _add(case, escalation, now, rejected)
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


def _open(escalation: Escalation, now: str) -> Case:
    return Case(
        case_id=escalation.case_id,
        state=CaseState.OPEN,
        severity=Severity.INFO,
        opened_at=now,
        opened_by=escalation.message_id,
        updated_at=now,
        order_id=escalation.order_id,
    )


def _add(case: Case, escalation: Escalation, now: str, rejected: str | None = None) -> Case:
    """Return *case* with what *escalation* says added to it."""
    reasons = _merge(case.reasons, escalation.reasons)
    return replace(
        case,
        updated_at=now,
        order_id=case.order_id or escalation.order_id,
        reasons=reasons,
        severity=severity_of(reasons),
        sources=_merge(case.sources, [escalation.source] if escalation.source else []),
        execution_arns=_merge(case.execution_arns, [escalation.execution_arn] if escalation.execution_arn else []),
        rejected_executions=_merge(case.rejected_executions, [rejected] if rejected else []),
        message_ids=(*case.message_ids, escalation.message_id)[-MAX_MESSAGE_IDS:],
        evidence=(*case.evidence, _evidence(escalation, now))[-MAX_EVIDENCE:],
        attempts=case.attempts if escalation.attempts is None else escalation.attempts,
    )


def _evidence(escalation: Escalation, now: str) -> Evidence:
    return Evidence(
        at=now,
        message_id=escalation.message_id,
        reasons=escalation.reasons,
        source=escalation.source,
        detail=escalation.detail,
        execution_arn=escalation.execution_arn,
        attempts=escalation.attempts,
        queue=escalation.queue,
        origin_message_id=escalation.origin_message_id,
    )


def _merge(held: Sequence[_T], new: Sequence[_T]) -> tuple[_T, ...]:
    return (*held, *(item for item in dict.fromkeys(new) if item not in held))
