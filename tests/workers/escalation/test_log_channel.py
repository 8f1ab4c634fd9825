import pytest
import structlog

from tests.workers.escalation.examples import case
from workers.domain.reasons import Reason, Severity, Source
from workers.escalation.log_channel import log_escalation


@pytest.mark.parametrize(
    ("severity", "level"),
    [(Severity.INFO, "warning"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "error")],
)
def test_an_escalation_is_one_line_and_critical_ones_are_errors(severity: Severity, level: str) -> None:
    with structlog.testing.capture_logs() as logs:
        log_escalation(case("chat", severity=severity))
    assert logs == [
        {
            "event": "escalation.routed",
            "log_level": level,
            "case_id": "001",
            "episode": 1,
            "reasons": [Reason.INVALID_PRICE],
            "severity": severity,
            "channels": ["log", "chat"],
            "source": Source.WORKFLOW,
            "detail": "Not proper.",
        }
    ]
