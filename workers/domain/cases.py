"""An escalation case: what went wrong with an order, who was notified, and how it was resolved."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from workers.domain.cards import mask, masked_card_number
from workers.domain.characters import sendable
from workers.domain.orders import MAX_TEXT_CHARS, Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source

MAX_GIVEN_UP_CHARS = 24  # Of up to 200 notifications on a case.
LOG_CHANNEL = "log"  # Always the first channel: an escalation is in the log even if every other channel fails.


class CaseState(StrEnum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCopy:
    """A masked copy of the order at the time of its escalation, for the person who resolves the case."""

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
        """Copy and mask *order*. The workflow stores it masked, but something else may have written to the table."""
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
    """What one message said, for the person who resolves the case."""

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
    """A notification that its channel has accepted, or that was given up because the channel refuses it."""

    channel: str
    episode: int
    at: str
    given_up: str | None = None  # Why it was given up. Older workers do not know this field: they count it as sent.


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """How a person resolved an episode."""

    action: str
    episode: int
    actor: str
    note: str
    at: str
    shipment_id: str | None = None
    execution_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A resubmission that a person has begun. Only that person may start the execution `execution_arn`."""

    actor: str
    note: str
    at: str
    episode: int
    number: int  # Counts the resubmissions begun in that episode, from 1.
    order_id: str
    execution_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """
    An earlier episode, as it was when the next one began. Its resolution is in the case's `resolutions`.

    `order` is its copy of the order: a resubmission replaces the order's item, and the next episode the case's copy.
    """

    number: int
    opened_at: str
    last_seen_at: str
    severity: Severity
    reasons: tuple[Reason, ...]
    sources: tuple[Source, ...]
    attempts: int | None = None
    order: OrderCopy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """How many entries of a case were dropped, so that it stays bounded."""

    evidence: int = 0
    message_ids: int = 0
    execution_arns: int = 0
    rejected_executions: int = 0
    routed: int = 0
    resolutions: int = 0
    episodes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HandledReminder:
    """The newest reminder that a worker has handled. Copies of it, and earlier ones, do nothing."""

    episode: int
    tries: int
    message_id: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """
    An escalation case. Each time it is opened, a new episode begins; a reopened case keeps its history.

    Severity, reasons, sources, attempts, channels and the copy of the order belong to the current episode.
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
    rejected_executions: tuple[str, ...] = ()  # The executions that the provider definitely refused.
    message_ids: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    order: OrderCopy | None = None
    channels: tuple[str, ...] = ()
    routed: tuple[SentNotification, ...] = ()
    resolutions: tuple[Resolution, ...] = ()
    episodes: tuple[Episode, ...] = ()
    claim: Claim | None = None  # The newest claim. Its result is in the resolutions and the order.
    attempts: int | None = None
    opened_by: str | None = None  # The id of the message that opened this episode. Handling that message routes it.
    merged_into: str | None = None  # The id of the order's case, if this was one of its executions.
    reminder: HandledReminder | None = None
    dropped: Dropped | None = None
    version: int = 0

    def is_routed(self, channel: str) -> bool:
        """Return whether this episode's notification was sent to *channel*, or given up."""
        return any(sent.channel == channel and sent.episode == self.episode for sent in self.routed)

    @property
    def is_logged_by_opener(self) -> bool:
        """Whether the message that opened this episode writes its log line. A merged episode was logged before."""
        logged = (sent for sent in self.routed if sent.channel == LOG_CHANNEL and sent.episode == self.episode)
        sent, opening = next(logged, None), self.opening
        return sent is not None and (opening is None or sent.at == opening.at)

    @property
    def unrouted(self) -> tuple[str, ...]:
        """The channels that still have to get this episode's notification."""
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
        return next((evidence for evidence in self.evidence if evidence.message_id == self.opened_by), None)

    def resolution_of(self, episode: int) -> Resolution | None:
        """Return the newest resolution of *episode*, or None if it has none."""
        return next((resolution for resolution in reversed(self.resolutions) if resolution.episode == episode), None)

    @property
    def resolved_at(self) -> str | None:
        """When the case was resolved; None while it is open. Later messages change only `updated_at`."""
        if self.state is CaseState.OPEN:
            return None
        resolution = self.resolution_of(self.episode)
        return self.updated_at if resolution is None else resolution.at

    def has_resubmission(self, execution_arn: str | None) -> bool:
        """Return whether `resolutions` has the resubmission that started *execution_arn*."""
        return any(resolution.execution_arn == execution_arn for resolution in self.resolutions)


def stored_text(text: str | None) -> str | None:
    """Return *text* as a case stores it: masked first, then cut. Notifications and reminders may quote it."""
    return None if text is None else sendable(mask(text))[:MAX_TEXT_CHARS]
