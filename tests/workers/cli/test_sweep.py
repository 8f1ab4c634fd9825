"""What `orders sweep` and `orders list --stuck` print."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.cli.console import done, run
from tests.workers.operations.fakes import NOW
from workers.cli import list as listing
from workers.cli import sweep
from workers.operations.listing import OrderListing
from workers.operations.stuck import Deferred, Rule
from workers.operations.sweep import Sweep

RAN = Sweep(
    execution_arn="arn:aws:states:us-east-1:000000000000:execution:StuckOrderSweep:s-1",
    status="SUCCEEDED",
    started_at="2026-11-22T11:00:00.000000Z",
    ended_at="2026-11-22T11:00:02.000000Z",
    limit_s=21600,
    queue_age_s=0,
    received_before_at="2026-11-22T05:00:00.000Z",
    escalated=[],
    more=False,
)
FIRST = "Sweep s-1, started 2026-11-22 11:00:00: SUCCEEDED"
CASES = "Their cases are there once a worker has handled the messages: `orders escalations list --reason ORDER_STUCK`"
AGE_UNKNOWN = "nothing was escalated: messages wait, and CloudWatch does not say for how long (a local AWS never does)"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    started: list[str] = []

    async def start(_stack: Any) -> str:
        started.append(RAN.execution_arn)
        return RAN.execution_arn

    monkeypatch.setattr("workers.operations.sweep.start", start)
    return started


def give(monkeypatch: pytest.MonkeyPatch, found: Sweep | None) -> None:
    async def give(*_: Any) -> Sweep | None:
        return found

    monkeypatch.setattr("workers.operations.sweep.follow", give)
    monkeypatch.setattr("workers.operations.sweep.newest", give)


@pytest.mark.parametrize("arguments", [(), ("--now",)])
@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["No order was stuck: none was RECEIVED for longer than 6h"]),
        (
            {"queue_age_s": 7300, "escalated": ["001"]},
            [
                "1 order was RECEIVED for longer than 6h and the oldest message's age, 2h: escalated as ORDER_STUCK",
                "  001",
                CASES,
            ],
        ),
        (
            {"escalated": ["001", "002"], "more": True},
            [
                "2 orders were RECEIVED for longer than 6h: escalated as ORDER_STUCK",
                "  001",
                "  002",
                CASES,
                "There are more: the next sweep escalates them",
            ],
        ),
    ],
)
def test_a_sweep_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch,
    started: list[str],
    changes: dict[str, Any],
    lines: list[str],
    arguments: tuple[str, ...],
) -> None:
    give(monkeypatch, replace(RAN, **changes))
    assert done(sweep.command, *arguments).stdout.splitlines() == [FIRST, *lines]
    assert len(started) == len(arguments)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"deferred": "AGE_UNKNOWN"}, AGE_UNKNOWN),
        (
            {"status": "FAILED", "error": "The orders could not be read."},
            "the sweep has ended as FAILED: The orders could",
        ),
        ({"status": "ABORTED"}, "the sweep has ended as ABORTED: no reason is known"),
    ],
)
@pytest.mark.usefixtures("started")
def test_a_sweep_that_escalated_nothing_says_why_and_fails_if_it_was_started_now(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], why: str
) -> None:
    give(monkeypatch, replace(RAN, **changes))
    shown = done(sweep.command).stdout.splitlines()[1]
    assert shown.lower().startswith(why.lower())
    ran = run(sweep.command, "--now", "--json")
    assert (ran.exit_code, str(ran.exception).startswith(why)) == (1, True)
    assert json.loads(ran.stdout)["status"] == changes.get("status", "SUCCEEDED")


def test_a_running_sweep_and_none_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, replace(RAN, status="RUNNING", escalated=None, more=None))
    assert done(sweep.command).stdout == FIRST.replace("SUCCEEDED", "RUNNING") + "\n"
    give(monkeypatch, None)
    ran = done(sweep.command)
    assert (ran.stdout, ran.stderr) == (
        "",
        "no sweep has run in the last 90 days: start one with `orders sweep --now`\n",
    )
    assert done(sweep.command, "--json").stdout == "null\n"


def rule(monkeypatch: pytest.MonkeyPatch, deferred: Deferred | None = None) -> None:
    async def read(_stack: Any) -> Rule:
        return Rule(limit=timedelta(hours=6), queue_age=timedelta(hours=1), deferred=deferred)

    monkeypatch.setattr("workers.operations.stuck.read_rule", read)


def test_list_stuck_selects_what_the_sweep_would_escalate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Listing(OrderListing):
        def __init__(self, stack: Any, selection: Any, **more: Any) -> None:
            asked.append((list(selection.statuses), selection.window.since, selection.window.until, more["limit"]))
            super().__init__(stack, replace(selection, statuses=()), **more)

    rule(monkeypatch)
    monkeypatch.setattr(listing, "OrderListing", Listing)
    assert done(listing.command, "--stuck", "--json").stdout == "[]\n"
    assert done(listing.command, "--stuck").stderr == "no matching open orders\n"
    assert asked == [(["RECEIVED"], None, NOW - timedelta(hours=7), None)] * 2


def test_list_stuck_says_why_no_order_counts_as_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    rule(monkeypatch, Deferred.OUTAGE)
    ran = run(listing.command, "--stuck")
    assert ran.exit_code == 1
    assert str(ran.exception).startswith("no order counts as stuck: a worker has reported an outage")


@pytest.mark.parametrize(
    "more", [("--status", "RECEIVED"), ("--older-than", "1h"), ("--since", "1d"), ("--until", "1h")]
)
def test_list_stuck_takes_no_status_and_no_time(more: tuple[str, ...]) -> None:
    ran = run(listing.command, "--stuck", *more)
    assert ran.exit_code == 2
    assert (
        "--stuck has a status and times of its own: leave out --status, --older-than, --since and --until" in ran.stderr
    )
