"""The workers' output as the terminal of `make run` shows it."""

import json

import pytest

from deploy.local.log_lines import LogLine, rendered


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
    text = rendered(line)
    assert text.plain == (
        "12:34:56 warning escalation  escalation.routed      order_id=004 reasons=INVALID_CARD_NUMBER,INVALID_PRICE"
    )
    assert text.style == "yellow"


@pytest.mark.parametrize("output", ["fulfillment stopped (rc=0)", "[1, 2]", '"text"', ""])
def test_output_that_is_not_a_log_line_is_shown_as_it_is(output: str) -> None:
    line = LogLine.parse(output)

    assert (line.event, line.fields) == ("", {})
    assert rendered(line).plain == output


@pytest.mark.parametrize(
    ("level", "style"),
    [("debug", "dim"), ("info", ""), ("warning", "yellow"), ("error", "red"), ("critical", "bold red")],
)
def test_a_line_has_the_color_of_its_level(level: str, style: str) -> None:
    assert rendered(LogLine.parse(json.dumps({"level": level, "event": "x"}))).style == style


def test_a_line_without_values_ends_after_its_event() -> None:
    line = LogLine.parse(json.dumps({"timestamp": "2026-03-01T12:34:56.789Z", "level": "info", "event": "x"}))
    assert rendered(line).plain == "12:34:56 info                x"


def test_output_that_is_not_a_log_line_is_dim() -> None:
    assert rendered(LogLine.parse("text")).style == "dim"
