"""The log as a channel: one line for every episode of a case."""

import logging

import structlog

from workers.domain.cases import Case
from workers.domain.reasons import Severity

log = structlog.get_logger(__name__)


def log_escalation(case: Case) -> None:
    """Log the current episode of *case* as an `escalation.routed` event."""
    opening = case.opening
    log.log(
        logging.ERROR if case.severity is Severity.CRITICAL else logging.WARNING,
        "escalation.routed",
        case_id=case.case_id,
        episode=case.episode,
        reasons=list(case.reasons),
        severity=case.severity,
        channels=list(case.channels),
        source=opening.source if opening else None,
        detail=opening.detail if opening else None,
    )
