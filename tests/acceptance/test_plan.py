"""The orders of a run, and what a run costs."""

import io
import json
from dataclasses import replace

import pytest

from tests.acceptance import costs
from tests.acceptance.plan import PREFIX, plan, records
from tests.aws_facts.lab import Lab
from tests.aws_facts.runner import ALL_FACTS
from tests.deploy.cloudwatch import PIPELINE, of_type
from tests.deploy.test_costs import PER_MILLION, number, table
from workers.domain.orders import OrderStatus
from workers.domain.submissions import improper_fields, malformed_fields
from workers.operations.order_files import read_orders


def test_each_run_has_a_prefix_of_its_own() -> None:
    first, second = (plan(is_local=False, orders=None, facts="") for _ in range(2))
    assert first.prefix != second.prefix
    for each in (first, second):
        assert PREFIX.fullmatch(each.prefix)
        assert each.facts_prefix.startswith(each.prefix)
        Lab(lambda _: None, each.facts_prefix, patience_s=0)  # Refuses a prefix that is too long.


def test_a_local_aws_gets_fewer_orders() -> None:
    assert plan(is_local=False, orders=None, facts="").orders == 1000
    assert plan(is_local=True, orders=None, facts="").orders == 40
    assert plan(is_local=True, orders=7, facts="").orders == 7


def test_facts_are_chosen_by_a_part_of_their_ids() -> None:
    assert list(plan(is_local=True, orders=1, facts="").facts) == list(ALL_FACTS)
    assert {fact.service for fact in plan(is_local=True, orders=1, facts="sqs.").facts} == {"sqs"}
    assert not plan(is_local=True, orders=1, facts="none").facts


@pytest.mark.parametrize("orders", [1, 2, 40, 200])
def test_the_improper_orders_are_those_that_must_be_escalated(orders: int) -> None:
    planned = plan(is_local=False, orders=orders, facts="")
    reasons = {"Price": "INVALID_PRICE", "CC": "INVALID_CARD_NUMBER"}
    for record in records(orders):
        order = json.loads(record.text)
        assert malformed_fields(order) == []
        expected = planned.expected[record.order_id]
        assert sorted(expected.reasons) == sorted(reasons[field] for field in improper_fields(order))
        assert expected.status is (OrderStatus.ESCALATED if expected.reasons else OrderStatus.FULFILLED)
    assert planned.escalated == sum(bool(expected.reasons) for expected in planned.expected.values())
    assert (planned.escalated > 0) is (orders > 1)


def test_the_orders_are_a_file_that_can_be_submitted() -> None:
    text = "\n".join(record.text for record in records(60)).encode()
    assert [replace(record, file="") for record in read_orders("orders.jsonl", io.BytesIO(text))] == records(60)


@pytest.mark.parametrize("is_local", [True, False])
def test_every_reason_occurs_among_the_orders(is_local: bool) -> None:
    planned = plan(is_local=is_local, orders=None, facts="")
    assert len({expected.reasons for expected in planned.expected.values()}) == 4


def test_prices_are_those_of_the_deployment_guide() -> None:
    guide = {cells[0]: number(cells[2]) for cells in table(PER_MILLION)[:-1]}
    items = {item.what: item.price for item in costs.estimate(plan(is_local=False, orders=1, facts=""))}
    for what, start in (
        ("Step Functions, state transitions", "Step Functions"),
        ("DynamoDB, write units", "DynamoDB, write units"),
        ("SQS, requests", "SQS, requests"),
        ("Lambda, requests", "Lambda, requests"),
        ("Lambda, GB-seconds", "Lambda, GB-seconds"),
        ("X-Ray, traces", "X-Ray, traces"),
    ):
        (price,) = [price for name, price in guide.items() if name.startswith(start)]
        assert items[what] == pytest.approx(price / 1e6), what
    assert items["CloudWatch Logs, GB"] == 0.50
    assert items["CloudWatch, hours of alarms"] * costs.HOURS_PER_MONTH == pytest.approx(0.10)


def test_the_estimate_is_more_than_what_orders_cost_by_the_guide() -> None:
    items = {item.what: item.quantity for item in costs.estimate(plan(is_local=False, orders=1000, facts=""))}
    by_name = {cells[0].split(":")[0]: number(cells[1]) for cells in table(PER_MILLION)[:-1]}
    assert items["Step Functions, state transitions"] > 1000 * by_name["Step Functions, state transitions"]
    assert items["DynamoDB, write units"] > 1000 * (by_name["DynamoDB, write units"] + 12 / 16)
    assert items["SQS, requests"] > 1000 * by_name["SQS, requests"]


def test_a_run_costs_less_than_a_dollar_and_more_orders_cost_more() -> None:
    def at_most(orders: int) -> float:
        return costs.at_most(costs.estimate(plan(is_local=False, orders=orders, facts="")))

    assert at_most(1) < at_most(1000) < 1.0 < at_most(100_000)


def test_every_alarm_of_the_pipeline_is_paid() -> None:
    assert len(of_type("AWS::CloudWatch::Alarm")) >= costs.ALARMS


def test_the_tables_are_protected_unless_the_parameter_says_otherwise() -> None:
    assert PIPELINE["Parameters"]["TableProtection"]["Default"] == "true"
    for name in ("OrderTable", "EscalationTable"):
        properties = PIPELINE["Resources"][name]["Properties"]
        assert properties["DeletionProtectionEnabled"] == {"Fn::If": ["ProtectsTables", True, False]}
        assert properties["PointInTimeRecoverySpecification"] == {
            "PointInTimeRecoveryEnabled": {"Ref": "TableProtection"}
        }
    assert PIPELINE["Conditions"]["ProtectsTables"] == {"Fn::Equals": [{"Ref": "TableProtection"}, "true"]}
