"""A day of an operator: submit a file, see how each order ended, resolve what went wrong, explain the rest."""

import csv
import json
from pathlib import Path

from tests.integration.command_line import CARD, CommandLine
from tests.integration.pipeline import SCRIPTED, Pipeline, wait_until
from tests.support import DeployStack

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")
GOOD = [f"day-{n:03}" for n in range(34)]
# Orders that the workflow or the provider does not accept, by what is wrong with them.
ESCALATED = {
    "bad-price": {"Price": "-5"},
    "bad-card": {"CC": CARD[:12]},
    "bad-both": {"Price": "0", "CC": "none"},
    "refused": {"ItemName": "reject"},
    "broken": {"ItemName": "fail"},
}
# Records that are not submitted at all.
REFUSED = ["no/id,Ada,Bicycle,1,", "nobody,,Bicycle,1,", f"day-000,Ada,Bicycle,1,{CARD}", "only,three,columns"]


def write(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.DictWriter(stream, FIELDS)
        rows.writeheader()
        for order_id, changes in [*((order_id, {}) for order_id in GOOD), *ESCALATED.items()]:
            order = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
            rows.writerow(order | changes)
        stream.write("\n".join(REFUSED))


def bury(pipeline: Pipeline, order_id: str) -> None:
    """Receive an order's message until SQS moves it to the dead-letter queue."""
    sqs, url = pipeline.client("sqs"), pipeline.stack.order_fulfillment_queue_url
    held = {}

    def hold() -> bool:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=0)
        for message in answer.get("Messages", []):
            held[json.loads(message["Body"])["OrderId"]] = message["ReceiptHandle"]
        return order_id in held and len(held) == len(GOOD) + 2

    def redriven() -> bool:
        sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=0)
        return pipeline.queued(pipeline.stack.order_fulfillment_dlq_url) == 1

    wait_until(hold)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=held.pop(order_id), VisibilityTimeout=0)
    wait_until(redriven)
    for receipt in held.values():
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)


def test_an_operator_sees_explains_and_finishes_every_order(deploy_stack: DeployStack, tmp_path: Path) -> None:
    pipeline = Pipeline(deploy_stack("story-"))
    orders, file, log = CommandLine(pipeline.stack), tmp_path / "orders.csv", tmp_path / "workers.log"
    write(file)

    # Submitted in the morning, and again to be sure: each order runs once.
    for _ in range(2):
        submitted = orders("submit", file)
        assert submitted.code == 1  # The bad records are reported with file and line.
        assert [f"{file}:{line}" in submitted.err for line in range(41, 45)] == [True] * 4

    bury(pipeline, "day-007")
    workers = [
        pipeline.start("fulfillment", log, FULFILLMENT_PROVIDER=SCRIPTED, WORKER_MAX_ATTEMPTS="1"),
        pipeline.start("escalation", log),
    ]
    try:

        def open_orders() -> dict[str, str]:
            return {order["order_id"]: order["status"] for order in json.loads(orders("list", "--json").out)}

        def statuses() -> dict[str, str]:
            return {order["OrderId"]: order["Status"] for order in pipeline.scan(pipeline.stack.order_table)}

        expected = dict.fromkeys(ESCALATED, "ESCALATED") | {"day-007": "RECEIVED"}
        wait_until(lambda: statuses() == dict.fromkeys(GOOD, "FULFILLED") | expected)
        assert open_orders() == expected

        # Everything that went wrong is in the logs and in the list of cases, and nothing else.
        def logged() -> set[str]:
            return {json.loads(line)["case_id"] for line in orders("logs", log, "--escalations", "--json").lines}

        wait_until(lambda: logged() == set(ESCALATED))  # A worker writes its line after the status.
        cases = json.loads(orders("escalations", "list", "--json").out)
        assert {case["case_id"]: case["reasons"] for case in cases} == {
            "bad-price": ["INVALID_PRICE"],
            "bad-card": ["INVALID_CARD_NUMBER"],
            "bad-both": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
            "refused": ["FULFILLMENT_REJECTED"],
            "broken": ["FULFILLMENT_EXHAUSTED"],
        }

        # One case of each kind is resolved.
        def resolve(case_id: str, *how: str, stdin: str = "") -> None:
            who = ("--actor", "ada", "--note", "as agreed", "--yes")
            resolved = orders("escalations", "resolve", case_id, *how, *who, stdin=stdin)
            assert resolved.code == 0, resolved.err

        resolve("bad-price", "resubmit", "--price", "5", "--card-number-stdin", stdin=CARD)
        resolve("refused", "fulfill", "--shipment-id", "S-1")
        resolve("bad-both", "cancel")

        # One order is stuck without a case: its message is a dead letter. It is replayed.
        dead = json.loads(orders("dead-letters", "list", "fulfillment", "--json").out)
        assert [letter["order_id"] for letter in dead] == ["day-007"]
        assert orders("dead-letters", "replay", "fulfillment", "--order", "day-007", "--yes").code == 0

        # In the evening only the orders left on purpose are open.
        left = {"bad-card": "ESCALATED", "broken": "ESCALATED"}
        ended = dict.fromkeys([*GOOD, "bad-price", "refused"], "FULFILLED") | {"bad-both": "CANCELLED"}
        wait_until(lambda: statuses() == ended | left)
        assert open_orders() == left
        assert orders("escalations", "list").err == "2 shown; 2 cases are open\n"
        assert orders("dead-letters", "list").out == ""
        shown = orders("show", "bad-price", "--logs", log)
        assert shown.code == 0
        assert "resubmit" in shown.out
    finally:
        for worker in workers:
            assert worker.stop() == 0
