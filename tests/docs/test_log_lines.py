"""docs/contracts.md and docs/logs.md name every event and outcome that the code can log, and no other."""

import re
from typing import Any

import pytest
from click.testing import CliRunner

from tests.deploy.cloudwatch import of_type
from tests.docs.logged import constants, events, fields, outcomes
from tests.docs.pages import blocks, first_code, page, rows, section
from workers.cli.app import orders
from workers.domain.escalations import EscalationOutcome
from workers.domain.orders import FulfillmentDecision
from workers.metrics import Metrics

CONTRACT = section(page("docs/contracts.md"), "Log lines")
LOGS = page("docs/logs.md")
LISTED = {event: cells for cells in rows(CONTRACT) for event in first_code(cells[0])}
OUTCOMES = {first_code(cells[0])[0]: cells[1] for cells in rows(section(LOGS, "Outcomes"))}
DECIDED = {*FulfillmentDecision, *EscalationOutcome} - {FulfillmentDecision.NOT_FOUND}  # That one is escalated.
STAGE = re.compile(r"(failed|recovered)$")


def test_every_event_is_listed_and_no_other() -> None:
    assert set(LISTED) == set(events())


@pytest.mark.parametrize("event", LISTED)  # The same, without reading all of the code to collect the tests.
def test_an_event_is_logged_at_the_levels_listed(event: str) -> None:
    assert events()[event] <= set(re.split(r"\W+", LISTED[event][1]))


def listed_fields(event: str) -> set[str]:
    """Return the fields of an event; those of an outage stand in the first of its rows."""
    cell = LISTED[event][2]
    return set(first_code(LISTED["downstream.failed"][2] if cell == "the same" else cell))


@pytest.mark.parametrize("event", LISTED)
def test_the_fields_of_an_event_are_listed(event: str) -> None:
    given = fields()[event] - {"exc_info", "worker"}
    assert given <= listed_fields(event)


def test_every_outcome_is_listed() -> None:
    assert outcomes() | DECIDED <= set(OUTCOMES)


def test_every_listed_outcome_is_one_of_the_code() -> None:
    assert set(OUTCOMES) <= constants()


def test_events_that_the_page_about_logs_names_exist() -> None:
    named = {each for each in first_code(LOGS) if re.fullmatch(r"[a-z_]+\.(?!md$|log$)[a-z_]+", each)}
    assert len(named) > 5
    assert named <= set(LISTED)


def test_orders_logs_shows_the_lines_of_the_page_as_the_page_says(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (lines,) = blocks(LOGS, "json")
    (tmp_path / "workers.log").write_text(lines, encoding="utf-8")
    (console,) = blocks(LOGS, "console")
    command, _, expected = console.partition("\n")
    shown = CliRunner().invoke(orders, command.removeprefix("$ orders ").split())
    assert (shown.exit_code, shown.stdout) == (0, expected)


def test_the_metrics_for_prometheus_are_those_a_worker_serves() -> None:
    listed = [name for cells in rows(section(LOGS, "Metrics for Prometheus")) for name in first_code(cells[0])]
    served = [
        f"{metric.name}_total" if metric.type == "counter" else metric.name for metric in Metrics().registry.collect()
    ]
    assert listed == served


def test_the_metrics_from_log_lines_are_those_of_the_filters() -> None:
    listed = {name for cells in rows(section(LOGS, "Metrics from the log lines")) for name in first_code(cells[0])}
    counted = {
        each["MetricTransformations"][0]["MetricName"]: {
            dimension["Key"] for dimension in each["MetricTransformations"][0].get("Dimensions", [])
        }
        for each in of_type("AWS::Logs::MetricFilter").values()
    }
    by_reason = {name for name in counted if name.startswith("Escalated")}
    assert listed == (set(counted) - by_reason) | {"Escalated<Reason>", "EscalatedInvalidPrice"}
    dimensions = {
        name: set(first_code(cells[1]))
        for cells in rows(section(LOGS, "Metrics from the log lines"))
        for name in first_code(cells[0])
    }
    assert all(dimensions[name] == counted[name] for name in listed & set(counted))
