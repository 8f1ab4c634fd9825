"""The sample orders: when they are finished, and what is wrong with how they ended."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from deploy.errors import DeployError
from deploy.local import samples
from deploy.local.log_lines import LogLine
from deploy.local.samples import EXPECTED, Outcome, Started
from deploy.local.workers import Workers
from deploy.progress import Progress
from tests.deploy.stacks.fakes import FakeClient, MissingError, failing, fake_aws

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:M"
QUIET = Progress(quiet=True)
FULFILLED = Outcome(
    "001",
    "SUCCEEDED",
    ("Check", "Put message in OrderFulfillment Queue"),
    "FULFILLED",
    "order.fulfilled",
)


def changed(**changes: Any) -> Outcome:
    return replace(FULFILLED, **changes)


def test_an_outcome_as_expected_has_no_problems() -> None:
    assert (FULFILLED.finished, FULFILLED.queue, FULFILLED.problems()) == (True, "OrderFulfillmentQueue", [])


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (changed(execution_status="FAILED"), "execution is FAILED, expected SUCCEEDED"),
        (changed(item_status=""), "item is missing, expected FULFILLED"),
        (
            changed(states=("Put message in Escalation Queue",)),
            "queue is EscalationQueue, expected OrderFulfillmentQueue",
        ),
        (changed(worker="x"), "worker is x, expected order.fulfilled"),
    ],
)
def test_each_difference_is_a_problem(outcome: Outcome, problem: str) -> None:
    assert outcome.problems() == [f"001: {problem}"]


@pytest.mark.parametrize(
    ("outcome", "finished"),
    [
        (changed(execution_status="RUNNING"), False),
        (changed(item_status="RECEIVED"), False),
        (changed(item_status=""), False),
        (changed(worker=""), False),
        (changed(item_status="ESCALATED", execution_status="FAILED"), True),
        (Outcome("001"), False),
    ],
)
def test_a_sample_is_finished_once_a_worker_has_handled_it(outcome: Outcome, finished: bool) -> None:
    assert outcome.finished is finished


def test_each_sample_is_started_once_under_its_name() -> None:
    stepfunctions = FakeClient(start_execution=lambda **request: {"executionArn": f"arn:{request['name']}"})
    started = samples.start(fake_aws(stepfunctions=stepfunctions), MACHINE)
    assert started == [Started(order_id, f"arn:sample-{order_id}", earlier=False) for order_id in EXPECTED]
    assert {request["stateMachineArn"] for _, request in stepfunctions.requests} == {MACHINE}


def test_a_sample_that_an_earlier_run_has_started_is_followed() -> None:
    stepfunctions = FakeClient(start_execution=failing(MissingError()))
    first = samples.start(fake_aws(stepfunctions=stepfunctions), MACHINE)[0]
    assert first == Started("001", "arn:aws:states:us-east-1:000000000000:execution:M:sample-001", earlier=True)


def local_aws(status: str = "SUCCEEDED", **item: str) -> Any:
    """Return an AWS with one execution that entered two states, and one order."""
    at = datetime(2026, 11, 22, tzinfo=UTC)
    pages = [
        {"events": [{"type": "x", "timestamp": at}, {"stateEnteredEventDetails": {"name": "A"}}]},
        {"events": [{"stateEnteredEventDetails": {"name": "B"}}]},
    ]
    stepfunctions = FakeClient(
        describe_execution=lambda **_: {"status": status}, get_execution_history=lambda **_: pages
    )
    stored = {"Item": {name: {"S": value} for name, value in item.items()}} if item else {}
    return fake_aws(stepfunctions=stepfunctions, dynamodb=FakeClient(get_item=lambda **_: stored))


def line(event: str = "order.fulfilled", order_id: str = "001", **fields: Any) -> LogLine:
    return LogLine("", {"event": event, "order_id": order_id} | fields)


def look(aws: Any, *lines: LogLine, earlier: bool = False) -> Outcome:
    return samples._look(aws, "Orders", Started("001", "arn", earlier), lines)


def test_a_running_sample_is_not_looked_at_any_further() -> None:
    aws = local_aws("RUNNING", Status="FULFILLED")
    assert look(aws, line()) == Outcome("001")
    assert aws.dynamodb.requests == []
    assert aws.stepfunctions.requests == [("describe_execution", {"executionArn": "arn"})]


def test_a_sample_has_its_states_its_status_and_what_a_worker_logged() -> None:
    aws = local_aws(Status="ESCALATED")
    found = look(aws, line("order.other"), line(order_id="002"), line("escalation.routed", reasons=["B", "A"]), line())
    assert found == Outcome("001", "SUCCEEDED", ("A", "B"), "ESCALATED", "escalation.routed A, B")
    assert aws.dynamodb.requests == [
        ("get_item", {"TableName": "Orders", "Key": {"OrderId": {"S": "001"}}, "ConsistentRead": True})
    ]
    assert aws.stepfunctions.requests[1] == (
        "get_execution_history",
        {"executionArn": "arn", "includeExecutionData": False},
    )


@pytest.mark.parametrize(
    ("item", "earlier", "worker"),
    [
        ({"Status": "FULFILLED", "FulfilledAt": "2026-11-22T10:00:00.123Z"}, True, "earlier 2026-11-22T10:00:00"),
        ({"Status": "ESCALATED", "EscalatedAt": "2026-11-22T10:00:00.123Z"}, True, "earlier 2026-11-22T10:00:00"),
        ({"Status": "CANCELLED"}, True, "earlier before"),
        ({"Status": "RECEIVED"}, True, ""),
        ({"Status": "FULFILLED"}, False, ""),
        ({}, True, ""),
    ],
)
def test_a_worker_of_an_earlier_run_counts(item: dict[str, str], earlier: bool, worker: str) -> None:
    assert look(local_aws(**item), earlier=earlier).worker == worker


def workers(*lines: LogLine | None) -> Workers:
    made = Workers(lambda _: None)
    for each in lines:
        made.add(each)
    return made


def test_samples_are_followed_until_all_have_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_POLL_S", 0.001)
    started = [Started("001", "arn", earlier=False)]
    (outcome,) = samples.follow(local_aws(Status="FULFILLED"), "Orders", started, workers(line()), QUIET)
    assert (outcome.finished, outcome.worker) == (True, "order.fulfilled")


def test_a_finished_sample_is_not_looked_at_again_and_the_next_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_POLL_S", 0.001)
    monkeypatch.setattr(samples, "TIMEOUT_S", 2.0)
    aws, said, looks = local_aws(Status="FULFILLED"), io.StringIO(), list[str]()

    def describe_execution(*, executionArn: str) -> dict[str, str]:  # noqa: N803 - the SDK's name.
        looks.append(executionArn)
        return {"status": "RUNNING" if looks == ["arn-1", "arn-2"] else "SUCCEEDED"}

    aws.stepfunctions.operations["describe_execution"] = describe_execution
    started = [Started("001", "arn-1", earlier=False), Started("002", "arn-2", earlier=False)]
    lines = workers(line(), line(order_id="002"))
    first, second = samples.follow(aws, "Orders", started, lines, Progress(said))
    assert (first.finished, second.finished) == (True, True)
    assert looks == ["arn-1", "arn-2", "arn-2"]
    assert said.getvalue() == "  order 001: FULFILLED\n  order 002: FULFILLED\n"


class Clock:
    """Stands for the module `time`: shows these times, one a look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
        self.times = [*times]
        monkeypatch.setattr(samples, "time", self)

    def monotonic(self) -> float:
        return self.times.pop(0)


def test_lines_are_read_until_the_moment_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 100.0, 100.1, 100.7)
    read = workers(line(), line(order_id="002"))
    assert samples._read_for(read, 0.2)
    assert len(read.lines) == 1


def test_samples_are_not_looked_at_when_their_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 100.0, 190.0)
    started = [Started("001", "arn", earlier=False)]
    assert samples.follow(local_aws(), "Orders", started, workers(), QUIET) == [Outcome("001")]


def test_samples_that_do_not_finish_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "_POLL_S", 0.001)
    monkeypatch.setattr(samples, "TIMEOUT_S", 0.01)
    started = [Started("001", "arn", earlier=False)]
    assert samples.follow(local_aws("RUNNING"), "Orders", started, workers(), QUIET) == [Outcome("001")]


def test_workers_that_end_first_are_an_error_with_their_last_lines() -> None:
    lines = [LogLine(f"line {n}", {}) for n in range(12)]
    with pytest.raises(DeployError) as raised:
        samples.follow(local_aws(), "Orders", [Started("001", "arn", earlier=False)], workers(*lines, None), QUIET)
    assert str(raised.value).splitlines() == ["The workers have ended:", *(f"line {n}" for n in range(2, 12))]


def test_outcomes_are_shown_as_a_table() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    third = changed(
        order_id="003",
        states=("Put message in Escalation Queue",),
        item_status="ESCALATED",
        worker="escalation.routed A, B",
    )
    console.print(samples.table([FULFILLED, Outcome("002"), third]))
    assert [row.rstrip() for row in console.export_text().splitlines()] == [
        "Sample orders",
        "order execution states entered     item      queue            worker",
        "",
        "001   SUCCEEDED Check              FULFILLED OrderFulfillment order.fulfilled",
        "                Put message in",
        "                OrderFulfillment",
        "                Queue",
        "",
        "002   RUNNING   -                  -         -                -",
        "",
        "003   SUCCEEDED Put message in     ESCALATED Escalation       escalation.routed",
        "                Escalation Queue                              A",
        "                                                              B",
        "",
    ]
