"""What a run concludes from the workers' lines, and from the stored orders and cases."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.local.log_lines import LogLine
from deploy.local.workers import Workers
from tests.acceptance import checking
from tests.acceptance.account import Account
from tests.acceptance.pipeline import Watch, wait, worker_environment
from tests.acceptance.plan import Plan, plan
from workers.domain.orders import OrderStatus

# Two orders: the first must be fulfilled, the second escalated.
PLAN = plan(is_local=True, orders=2, facts="none")
FULFILLED, ESCALATED = "acceptance-1", "acceptance-2"
OUTPUTS = {
    "OrderTableName": "orders",
    "EscalationTableName": "cases",
    "OrderFulfillmentQueueName": "q",
    "EscalationQueueName": "e",
    "StateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:m",
}


def line(event: str, order_id: str | None, at: str = "2026-01-01T00:00:01.5Z") -> LogLine:
    return LogLine.parse(json.dumps({"timestamp": at, "event": event, "order_id": order_id}))


def watch(*lines: LogLine) -> Watch:
    seen = Watch()
    for each in lines:
        seen.see(each)
    return seen


class TestWatch:
    def test_an_order_is_settled_when_a_worker_says_so(self) -> None:
        seen = watch(line("order.fulfilled", FULFILLED), line("escalation.routed", ESCALATED))
        assert seen.missing(PLAN) == set()
        assert seen.settled_at == {FULFILLED: 1767225601.5, ESCALATED: 1767225601.5}
        assert seen.ended(PLAN) == {OrderStatus.FULFILLED: 1, OrderStatus.ESCALATED: 1}
        assert seen.problems(PLAN) == []

    @pytest.mark.parametrize(
        "other",
        [
            line("message.acknowledged", FULFILLED),
            line("order.fulfilled", None),
            line("order.fulfilled", "001"),
            LogLine.parse("fulfillment.1 | started"),
        ],
    )
    def test_other_lines_settle_no_order_of_the_plan(self, other: LogLine) -> None:
        assert watch(other).missing(PLAN) == {FULFILLED, ESCALATED}

    def test_orders_that_are_not_settled_are_named(self) -> None:
        (problem,) = watch(line("order.fulfilled", FULFILLED)).problems(PLAN)
        assert problem == f"1 orders were not settled within 180 s: {ESCALATED}"

    def test_an_order_that_is_settled_twice_is_a_problem_and_its_first_time_counts(self) -> None:
        first, second = (line("order.fulfilled", FULFILLED, f"2026-01-01T00:00:0{n}Z") for n in (1, 2))
        seen = watch(first, second, line("escalation.routed", ESCALATED))
        assert seen.problems(PLAN) == [f"{FULFILLED}: a worker settled it more than once"]
        assert seen.settled_at[FULFILLED] == 1767225601.0

    def test_lines_about_trouble_are_counted_but_not_escalations(self) -> None:
        routed = LogLine.parse('{"event": "escalation.routed", "level": "error", "order_id": null}')
        trouble = LogLine.parse('{"event": "aws.unavailable", "level": "warning"}')
        calm = LogLine.parse('{"event": "consumer.started", "level": "info"}')
        assert watch(routed, trouble, calm, trouble).trouble == {"aws.unavailable": 2}


class TestWait:
    def test_it_ends_with_the_last_order(self) -> None:
        seen = Watch()
        workers = Workers(seen.see)
        workers.add(line("order.fulfilled", FULFILLED))
        workers.add(line("escalation.routed", ESCALATED))
        wait(workers, seen, PLAN)
        assert seen.missing(PLAN) == set()

    def test_workers_that_end_are_an_error_with_their_last_lines(self) -> None:
        seen = Watch()
        workers = Workers(seen.see)
        workers.add(LogLine.parse("no credentials"))
        workers.add(None)
        with pytest.raises(DeployError, match=r"The workers have ended:\nno credentials"):
            wait(workers, seen, PLAN)

    def test_it_ends_when_the_time_is_over(self) -> None:
        seen, short = Watch(), replace(PLAN, wait_s=0.0)
        wait(Workers(seen.see), seen, short)
        assert seen.missing(short) == {FULFILLED, ESCALATED}


@dataclass(frozen=True, slots=True)
class FakeTables:
    """The scans of two tables."""

    items: dict[str, list[dict[str, Any]]]

    def get_paginator(self, operation: str) -> "FakeTables":
        assert operation == "scan"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        assert asked["ConsistentRead"]
        yield from ({"Items": [item]} for item in self.items[asked["TableName"]])


def order(order_id: str, status: str, *reasons: str, **more: str) -> dict[str, Any]:
    texts = {"OrderId": order_id, "Status": status, **more}
    item: dict[str, Any] = {name: {"S": value} for name, value in texts.items()}
    return item | ({"Reasons": {"L": [{"S": reason} for reason in reasons]}} if reasons else {})


def case(case_id: str, state: str) -> dict[str, Any]:
    return {"CaseId": {"S": case_id}, "State": {"S": state}}


GOOD = (order(FULFILLED, "FULFILLED", ShipmentId="s"), order(ESCALATED, "ESCALATED", "INVALID_PRICE"))
OPEN = case(ESCALATED, "OPEN")


def problems(orders: list[dict[str, Any]], cases: list[dict[str, Any]], planned: Plan = PLAN) -> list[str]:
    tables = FakeTables({"orders": orders, "cases": cases})
    account = Account("123456789012", "arn", "eu-west-1", "https://sts.amazonaws.com", lambda _: tables)
    return checking.problems(account, planned, OUTPUTS)


class TestStored:
    def test_orders_that_ended_as_they_must_are_no_problem(self) -> None:
        assert problems([*GOOD, order("001", "RECEIVED")], [OPEN]) == []

    @pytest.mark.parametrize(
        ("orders", "cases", "problem"),
        [
            ([GOOD[1]], [OPEN], f"{FULFILLED}: is not stored [], expected FULFILLED []"),
            (
                [order(FULFILLED, "RECEIVED"), GOOD[1]],
                [OPEN],
                f"{FULFILLED}: is RECEIVED [], expected FULFILLED []",
            ),
            ([order(FULFILLED, "FULFILLED"), GOOD[1]], [OPEN], f"{FULFILLED}: is FULFILLED without a shipment"),
            (
                [GOOD[0], order(ESCALATED, "ESCALATED", "WORKFLOW_FAILED")],
                [OPEN],
                f"{ESCALATED}: is ESCALATED ['WORKFLOW_FAILED'], expected ESCALATED ['INVALID_PRICE']",
            ),
            (list(GOOD), [], f"{ESCALATED}: is ESCALATED without an open case"),
            (list(GOOD), [case(ESCALATED, "RESOLVED")], f"{ESCALATED}: is ESCALATED without an open case"),
        ],
    )
    def test_an_order_that_ended_otherwise_is_named(
        self, orders: list[dict[str, Any]], cases: list[dict[str, Any]], problem: str
    ) -> None:
        assert problems(orders, cases) == [problem]

    def test_many_problems_are_counted(self) -> None:
        found = problems([], [], plan(is_local=True, orders=40, facts="none"))
        assert len(found) == 11
        assert found[-1] == "and 30 more orders like that"


def test_none_of_the_callers_settings_reach_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULFILLMENT_PROVIDER", "http")
    monkeypatch.setenv("FULFILLMENT_URL", "https://ships.example.com")
    monkeypatch.setenv("ESCALATION_RULES", "/tmp/pages-people.toml")
    monkeypatch.setenv("ORDER_TABLE", "OrderTable")
    monkeypatch.setenv("AWS_PROFILE", "tester")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    account = Account("123456789012", "arn", "eu-west-1", "https://sts.amazonaws.com", lambda _: None)
    environment = worker_environment(account, OUTPUTS)
    assert environment.keys().isdisjoint({"FULFILLMENT_PROVIDER", "FULFILLMENT_URL", "ESCALATION_RULES"})
    assert environment["ORDER_TABLE"] == "orders"
    assert environment["AWS_PROFILE"] == "tester"
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"
