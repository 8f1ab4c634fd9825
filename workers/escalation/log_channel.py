"""The log as a channel: one line for every escalation."""

import logging
from dataclasses import dataclass

import structlog

from workers.domain.reasons import Severity
from workers.domain.routing import LOG_CHANNEL
from workers.escalation.notifications import Notification

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LogChannel:
    """Logs every escalation as one `escalation.routed` event."""

    name: str = LOG_CHANNEL

    async def send(self, notification: Notification) -> None:
        log.log(
            logging.ERROR if notification.severity is Severity.CRITICAL else logging.WARNING,
            "escalation.routed",
            case_id=notification.case_id,
            episode=notification.episode,
            reasons=list(notification.reasons),
            severity=notification.severity,
            channels=list(notification.channels),
            source=notification.source,
            detail=notification.detail,
        )
