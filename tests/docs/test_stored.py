"""docs/contracts.md lists what tables and dead letters hold, compared with what a running system really wrote."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.docs.pages import first_code, page, rows, section
from tests.integration.command_line import CARD, CommandLine
from tests.integration.conftest import Running, running_workers
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployStack
from workers.aws.items import from_item
from workers.domain.bounds import MAX_EVIDENCE
from workers.operations.letter_edits import EDITED_AT, EDITED_BY

PAGE = page("docs/contracts.md")
# One failed attempt, then a trial, and it is escalated.
SETTINGS = {"WORKER_MAX_ATTEMPTS": "2", "WORKER_MAX_DELIVERIES": "1", "ORDER_RETENTION_DAYS": "90"}


def listed(heading: str) -> dict[str, list[str]]:
    """Return the attributes under a heading, each with the fields that are listed for it."""
    return {name: first_code(cells[-1]) for cells in rows(section(PAGE, heading)) for name in first_code(cells[0])}


def submit(pipeline: Pipeline, order_id: str, item_name: str, price: str = "12.50") -> None:
    order = {"OrderId": order_id, "Name": "Ada", "ItemName": item_name, "Price": price, "CC": CARD}
    pipeline.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.stack.state_machine_arn, name=f"of-{order_id}", input=json.dumps(order)
    )


def is_escalated(pipeline: Pipeline, order_id: str) -> bool:
    return pipeline.status(order_id) == "ESCALATED"


@pytest.fixture(scope="module")
def used(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A stack in which every kind of end has happened to an order."""
    with running_workers(deploy_stack("stored-"), tmp_path_factory.mktemp("stored"), **SETTINGS) as running:
        pipeline = running.pipeline
        table = pipeline.client("dynamodb").describe_table(TableName=pipeline.stack.order_table)["Table"]["TableArn"]
        retention = [{"Key": "OrderRetentionDays", "Value": "90"}]
        pipeline.client("dynamodb").tag_resource(ResourceArn=table, Tags=retention)
        submit(pipeline, "shipped", "Bell")
        submit(pipeline, "failing", "fail")
        submit(pipeline, "rejected", "reject")
        wait_until(lambda: pipeline.status("rejected") == "ESCALATED")
        orders = CommandLine(pipeline.stack)
        resubmitted = ("escalations", "resolve", "rejected", "resubmit", "--card-number-stdin", "--yes")
        orders(*resubmitted, "--actor", "ada", "--note", "again", stdin=CARD)
        pipeline.put_order("cancelled")
        assert orders("cancel", "cancelled", "--yes").code == 0
        for order_id in ("escalated-then-cancelled", "erased"):
            pipeline.put_order(order_id)
            pipeline.send_escalation({"OrderId": order_id, "Reasons": ["UNSPECIFIED"]})
            wait_until(partial(is_escalated, pipeline, order_id))
            assert orders("cancel", order_id, "--yes").code == 0
        assert orders("erase", "erased", "--yes").code == 0
        pipeline.send_fulfillment("no order at all")
        wait_until(lambda: pipeline.status("shipped") == "FULFILLED" and pipeline.status("failing") == "ESCALATED")
        wait_until(lambda: (pipeline.case("rejected") or {}).get("Episode") == 2)
        running.fulfillment.wait_for("message.dead_lettered")
        pipeline.send_escalation({"CaseId": "rejected", "Episode": 2})
        for _ in range(MAX_EVIDENCE):
            pipeline.send_escalation("rejected")
        wait_until(lambda: {"Reminder", "Dropped"} <= set(pipeline.case("rejected") or {}))
        yield running


def stored(used: Running, table: str) -> list[dict[str, Any]]:
    return [from_item(item) for item in used.pipeline.client("dynamodb").scan(TableName=table)["Items"]]


def test_orders_have_the_attributes_of_the_page(used: Running) -> None:
    items = stored(used, used.pipeline.stack.order_table)
    assert {name for item in items for name in item} == set(listed("OrderTable"))


def test_cases_have_the_attributes_of_the_page(used: Running) -> None:
    attributes, found = listed("EscalationTable"), dict[str, set[str]]()
    for item in stored(used, used.pipeline.stack.escalation_table):
        for name, value in item.items():
            entries = value if isinstance(value, list) else [value]
            found.setdefault(name, set()).update(field for each in entries if isinstance(each, dict) for field in each)
    assert set(found) == set(attributes)
    for name, fields in found.items():  # An order or a message rarely has something to say in every field.
        assert fields <= set(attributes[name]), name


def test_dead_letters_have_the_attributes_of_the_page(used: Running) -> None:
    (letter,) = used.pipeline.take(used.pipeline.stack.order_fulfillment_dlq_url)
    assert set(letter["MessageAttributes"]) == set(listed("Dead letters"))


def test_edited_messages_have_the_attributes_of_the_page() -> None:
    assert {EDITED_BY, EDITED_AT} == set(listed("Edited messages"))
