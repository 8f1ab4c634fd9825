"""The workers' output as the terminal of `make run` shows it."""

import json

import pytest

from deploy.local.log_lines import LogLine, shown


def test_a_log_line_shows_time_level_worker_event_and_values() -> None:
    fields = {
        "timestamp": "2026-03-01T12:34:56.789Z",
        "level": "warning",
        "event": "escalation.routed",
        "worker": "escalation",
        "queue": "EscalationQueue",
        "message_id": "m-1",
        "execution_arn": "arn:aws:states:us-east-1:000000000000:execution:M:sample-004",
        "order_id": "004",
        "reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
    }
    line = LogLine.parse(json.dumps(fields))

    assert (line.event, line.fields) == ("escalation.routed", fields)
    assert shown(line, color=False) == (
        "2026-03-01 12:34:56.789 warning  escalation  escalation.routed      order_id=004"
        " reasons=INVALID_CARD_NUMBER,INVALID_PRICE message_id=m-1 execution_arn=sample-004"
    )
    assert shown(line, color=True).startswith("\x1b[33m2026-03-01 12:34:56.789 warning")


@pytest.mark.parametrize("output", ["fulfillment stopped (rc=0)", "[1, 2]", '"text"', ""])
def test_output_that_is_not_a_log_line_is_shown_as_it_is(output: str) -> None:
    line = LogLine.parse(output)

    assert (line.event, line.fields) == ("", {})
    assert shown(line, color=False) == output


def test_output_that_is_not_a_log_line_is_dim() -> None:
    assert shown(LogLine.parse("text"), color=True) == "\x1b[2mtext\x1b[0m"
