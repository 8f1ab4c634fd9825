"""The notification about an escalation, and the port of the channels that send it."""

from dataclasses import dataclass
from typing import Any, Protocol

from workers.domain.cards import mask_all
from workers.domain.cases import Case
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import TransientError

# Chat tools would read these characters as markup, or as a mention of everyone. A detail may quote text from outside.
_INERT = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "@\u200b"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """The notification about one episode of a case for one channel."""

    channel: str
    channels: tuple[str, ...]
    case_id: str
    episode: int
    severity: Severity
    reasons: tuple[Reason, ...]
    opened_at: str
    order_id: str | None = None
    source: Source | None = None
    detail: str | None = None
    execution_arn: str | None = None
    attempts: int | None = None

    @classmethod
    def of(cls, case: Case, channel: str) -> "Notification":
        """Return the notification about the case's current episode for *channel*."""
        opening = case.opening
        return cls(
            channel=channel,
            channels=case.channels,
            case_id=case.case_id,
            episode=case.episode,
            severity=case.severity,
            reasons=case.reasons,
            opened_at=case.opened_at,
            order_id=case.order_id,
            source=opening.source if opening else None,
            detail=opening.detail if opening else None,
            execution_arn=opening.execution_arn if opening else None,
            attempts=case.attempts,
        )

    @property
    def id(self) -> str:
        """The id by which a receiver recognizes a duplicate. Duplicates are rare."""
        return f"{self.case_id}#{self.episode}#{self.channel}"

    @property
    def headline(self) -> str:
        """The notification in one line."""
        subject = f"Order {self.order_id}" if self.order_id is not None else f"Case {self.case_id}"
        return f"[{self.severity}] {subject} escalated: {', '.join(self.reasons)}"

    def fields(self) -> dict[str, Any]:
        """Return the notification as a masked JSON object, without the fields that do not apply."""
        detail = " ".join((self.detail or "").split())
        text = ". ".join([self.headline, *([detail.rstrip(".")] if detail else []), f"Case {self.case_id}"])
        fields = {
            "NotificationId": self.id,
            "CaseId": self.case_id,
            "Episode": self.episode,
            "OrderId": self.order_id,
            "Severity": self.severity,
            "Reasons": list(self.reasons),
            "Source": self.source,
            "Detail": self.detail,
            "ExecutionArn": self.execution_arn,
            "Attempts": self.attempts,
            "OpenedAt": self.opened_at,
            "text": f"{text}, episode {self.episode}.".translate(_INERT),
        }
        masked: dict[str, Any] = mask_all({name: value for name, value in fields.items() if value is not None})
        return masked


class ChannelError(TransientError):
    """
    The channel did not accept a notification. The text is fixed except for codes: it quotes no response and no address.

    `passing`: another try within seconds may succeed.
    """

    def __init__(self, reason: str, *, passing: bool = True, retry_after_s: float = 0.0) -> None:
        super().__init__(reason, retry_after_s=retry_after_s)
        self.passing = passing


class RefusedError(ChannelError):
    """
    The channel refused a notification with a code that another try does not change, as long as the channel is the same.

    `blames_content`: the code says that the notification itself is wrong, not the address or the credentials.
    """

    def __init__(self, reason: str, *, blames_content: bool) -> None:
        super().__init__(reason, passing=False)
        self.blames_content = blames_content


class Channel(Protocol):
    """
    A way to notify the people who resolve escalations.

    A notification may be sent more than once (after a crash or a lost response); its `id` stays the same.
    """

    @property
    def name(self) -> str: ...

    async def send(self, notification: Notification) -> None:
        """Send *notification*. Raises `ChannelError`, or any other error, if it was not accepted."""
