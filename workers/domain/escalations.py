"""What an escalation case is, and what a message may do to it and to its order."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self, TypeVar

from workers.domain.cards import MASK, looks_like_card, mask
from workers.domain.ids import fingerprint
from workers.domain.orders import Order, OrderStatus

MAX_MESSAGE_IDS = 100  # A case absorbs few messages; older ids cannot come back within SQS's retention in practice.
# With these bounds a case stays below DynamoDB's 400 KB per item, even where every character takes four bytes.
MAX_EXECUTIONS = 100
MAX_EVIDENCE = 30
MAX_EPISODES = 20
MAX_RESOLUTIONS = 20
MAX_DETAIL_CHARS = 1_000
MAX_TEXT_CHARS = 256

_MASKED_CC = re.compile(rf"{re.escape(MASK)}|\*{{12}}[0-9]{{4}}", re.ASCII)

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

    @classmethod
    def highest(cls, severities: "Iterable[Severity]") -> "Severity":
        return max(severities, key=list(cls).index, default=cls.INFO)


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
            return f"execution-{fingerprint(name, 16)}" if looks_like_card(name) else name
        return f"message-{self.origin_message_id or self.message_id}"


@dataclass(frozen=True, slots=True)
class Assessment:
    """How bad an escalation is by the rules, and the channels it is to go to."""

    severity: Severity
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCopy:
    """The order as it was when it was escalated, masked: what a person needs to decide."""

    order_id: str
    status: OrderStatus
    execution_arn: str | None = None
    name: str | None = None
    item_name: str | None = None
    price: str | None = None
    cc: str | None = None
    created_at: str | None = None
    attempts: int = 0
    shipment_id: str | None = None

    @classmethod
    def of(cls, order: Order) -> Self:
        """Copy *order*. The table holds it masked already; who else wrote to that table, nobody knows."""
        return cls(
            order_id=order.order_id,
            status=order.status,
            execution_arn=order.execution_arn,
            name=_text(order.name),
            item_name=_text(order.item_name),
            price=_text(order.price),
            cc=order.cc if order.cc is None or _MASKED_CC.fullmatch(order.cc) else MASK,
            created_at=_text(order.created_at),
            attempts=order.attempts,
            shipment_id=_text(order.shipment_id),
        )


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
class Claim:
    """A resubmission that a person has begun: `execution_arn` is the execution that is theirs alone to start."""

    actor: str
    note: str
    at: str
    episode: int
    number: int  # Of the resubmissions begun in that episode.
    order_id: str
    execution_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """An earlier episode, as the next one found it. How a person settled it is among the case's resolutions."""

    number: int
    opened_at: str
    last_seen_at: str
    severity: Severity
    reasons: tuple[Reason, ...]
    sources: tuple[Source, ...]
    attempts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    An escalation case. An episode is one time it was opened; a reopened case keeps its history.

    Severity, reasons, sources, attempts, channels and the copy of the order are those of the current episode.
    """

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
    order: OrderCopy | None = None
    channels: tuple[str, ...] = ()
    routed: tuple[Routing, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    episodes: tuple[Episode, ...] = ()
    claim: Claim | None = None  # The newest; what became of it is for the resolutions and the order to say.
    attempts: int | None = None
    opened_by: str | None = None  # The message that opened this episode, and so is the one to route it.
    version: int = 0

    def is_routed(self, channel: str) -> bool:
        """Tell whether this episode's notification went to *channel*."""
        return any(done.channel == channel and done.episode == self.episode for done in self.routed)

    @property
    def unrouted(self) -> tuple[str, ...]:
        """The channels that this episode's notification has yet to go to."""
        return tuple(channel for channel in self.channels if not self.is_routed(channel))

    @property
    def first_seen_at(self) -> str:
        return self.episodes[0].opened_at if self.episodes else self.opened_at

    @property
    def last_seen_at(self) -> str:
        return self.evidence[-1].at if self.evidence else self.opened_at

    @property
    def opening(self) -> Evidence | None:
        """What the message that opened this episode said."""
        return next((each for each in self.evidence if each.message_id == self.opened_by), None)

    def resolution_of(self, episode: int) -> Resolution | None:
        """Return how a person settled *episode*, None where nobody has."""
        return next((each for each in reversed(self.resolutions) if each.episode == episode), None)

    def knows_resubmission(self, execution_arn: str | None) -> bool:
        """Tell whether the resubmission as that execution is among the case's resolutions."""
        return any(each.execution_arn == execution_arn for each in self.resolutions)


class EscalationOutcome(StrEnum):
    """How an escalation message ends; the values are the outcomes in the log."""

    ESCALATED = "escalated"
    ABSORBED = "absorbed"
    NOTED = "noted"
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
        outcome = EscalationOutcome.ESCALATED if opener else EscalationOutcome.ABSORBED
        return EscalationPlan(outcome, False, None, routes=opener)
    if current and order is not None and order.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED}:
        noted = None if case is None else _add(case, escalation, now, assessment)
        return EscalationPlan(EscalationOutcome.NOTED, False, noted, routes=False)
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
    outcome = EscalationOutcome.ABSORBED if case.state is CaseState.OPEN else EscalationOutcome.SUPERSEDED
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
        queue=_text(escalation.queue),
        origin_message_id=_text(escalation.origin_message_id),
    )


def _text(text: str | None) -> str | None:
    return None if text is None else mask(text)[:MAX_TEXT_CHARS]


def _merge(held: Sequence[_T], new: Sequence[_T]) -> tuple[_T, ...]:
    return (*held, *(item for item in dict.fromkeys(new) if item not in held))
