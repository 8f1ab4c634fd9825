import pytest
import structlog

from tests.workers.escalation.examples import case
from workers.domain.reasons import Reason, Severity, Source
from workers.escalation.log_channel import LogChannel
from workers.escalation.notifications import Notification


@pytest.mark.parametrize(
    ("severity", "level"),
    [(Severity.INFO, "warning"), (Severity.WARNING, "warning"), (Severity.CRITICAL, "error")],
)
async def test_an_escalation_is_one_line_and_critical_ones_are_errors(severity: Severity, level: str) -> None:
    with structlog.testing.capture_logs() as logs:
        await LogChannel().send(Notification.of(case("chat", severity=severity), "log"))
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


def test_the_log_is_a_channel_called_log() -> None:
    assert LogChannel().name == "log"
