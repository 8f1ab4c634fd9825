"""An escalation case: what happened to an order, and what was done about it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from workers.domain.cards import mask, masked_card_number
from workers.domain.orders import MAX_TEXT_CHARS, Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source


class CaseState(StrEnum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


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
            name=stored_text(order.name),
            item_name=stored_text(order.item_name),
            price=stored_text(order.price),
            cc=None if order.cc is None else masked_card_number(order.cc),
            created_at=stored_text(order.created_at),
            attempts=order.attempts,
            shipment_id=stored_text(order.shipment_id),
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
class SentNotification:
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
    routed: tuple[SentNotification, ...] = ()
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


def stored_text(text: str | None) -> str | None:
    """Return *text* as a case stores it: masked, then cut."""
    return None if text is None else mask(text)[:MAX_TEXT_CHARS]
