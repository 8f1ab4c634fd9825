"""Workers write no card number anywhere, whichever field of a message or order holds it."""

import json
import re
from typing import Any

from tests.integration.pipeline import SCRIPTED, Pipeline, endings, wait_until
from tests.support import DeployStack, StartWorker, Worker

CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]


def holds_card(text: str) -> bool:
    """Return whether *text* has the card number, in any of its forms."""
    return CARD in re.sub(r"[ -]", "", text)


def test_a_card_number_in_any_field_is_written_nowhere(deploy_stack: DeployStack, start_worker: StartWorker) -> None:
    pipeline = Pipeline(deploy_stack("planted-"))
    executions = [pipeline.arn(CARD), pipeline.arn(FORMS[1])]  # ARNs are not masked, and no part of one is used alone.
    plant_orders(pipeline)
    ids = plant_fulfillments(pipeline, executions)
    fulfillment = start_worker(
        "fulfillment",
        stack=pipeline.stack,
        env={"FULFILLMENT_PROVIDER": SCRIPTED, "WORKER_MAX_ATTEMPTS": "1", "LOG_LEVEL": "DEBUG"},
    )
    wait_until_settled(fulfillment, ids)

    # Check what the worker wrote: escalations, and the attributes of dead letters. Their bodies are the test's.
    url = pipeline.stack.escalation_queue_url
    sent = [message["Body"] for message in pipeline.take(url)]
    dead = [message["MessageAttributes"] for message in pipeline.take(pipeline.stack.order_fulfillment_dlq_url)]
    reasons = {reason for body in sent for reason in json.loads(body)["Reasons"]}
    assert reasons == {"FULFILLMENT_REJECTED", "FULFILLMENT_EXHAUSTED", "ORDER_NOT_FOUND", "UNDECODABLE_MESSAGE"}
    assert len(dead) == 8
    assert not holds_card(without(executions, json.dumps([sent, dead])))

    ids = [*(pipeline.send_escalation(body) for body in sent), *plant_escalations(pipeline, executions)]
    escalation = start_worker("escalation", stack=pipeline.stack, env={"LOG_LEVEL": "DEBUG"})
    wait_until_settled(escalation, ids)
    assert (fulfillment.stop(), escalation.stop()) == (0, 0)

    logged = fulfillment.output() + escalation.output()
    assert "cannot ship to ****" in logged
    assert {"receive.finished", "batch.settled", "group.sent", "request.finished"} <= {
        line["event"] for worker in (fulfillment, escalation) for line in worker.lines() if line["level"] == "debug"
    }
    assert not re.search("AWS4-HMAC|Authorization|Signature|ReceiptHandle|botocore", logged)
    assert not holds_card(without(executions, logged))
    orders = [
        {name: value for name, value in order.items() if name not in {"Name", "ItemName"}}  # Written by the test.
        for order in pipeline.scan(pipeline.stack.order_table)
    ]
    cases = pipeline.scan(pipeline.stack.escalation_table)
    assert len(cases) > 10
    assert not holds_card(without(executions, json.dumps([orders, cases], default=str)))


def without(executions: list[str], text: str) -> str:
    """Return *text* without these ARNs."""
    for execution in executions:
        text = text.replace(execution, "")
    return text


def wait_until_settled(worker: Worker, message_ids: list[str]) -> None:
    """Wait until every message is settled."""

    def left() -> bool:
        assert worker.process.poll() is None, worker.output()[-4000:]
        return {message_id for message_id, event, _ in endings(worker) if event != "message.released"} >= set(
            message_ids
        )

    wait_until(left)


def plant_orders(pipeline: Pipeline) -> None:
    """Store orders with the card number in Name and ItemName."""
    for n, form in enumerate(FORMS):
        pipeline.put_order(f"fulfill-{n}", Name=form)
        pipeline.put_order(f"reject-{n}", Name=form, ItemName="reject")
        pipeline.put_order(f"fail-{n}", Name=form, ItemName="fail")
    pipeline.put_order("item", ItemName=CARD)


def plant_fulfillments(pipeline: Pipeline, executions: list[str]) -> list[str]:
    """Send messages with the card number in every field to the fulfillment queue; return their ids."""
    send = pipeline.send_fulfillment
    return [
        *(pipeline.send_order(f"{name}-{n}") for name in ("fulfill", "reject", "fail") for n in range(len(FORMS))),
        pipeline.send_order("item"),
        *(send(json.dumps({"OrderId": "missing", "ExecutionArn": execution})) for execution in executions),
        send(json.dumps({"OrderId": "missing", "Card": CARD, CARD: CARD})),
        *(send(form) for form in FORMS),
        *(send(json.dumps({"OrderId": form})) for form in FORMS),
        send(json.dumps({"OrderId": "fulfill-0", "ExecutionArn": CARD})),
        send(f'{{"OrderId": "{CARD}'),
    ]


def plant_escalations(pipeline: Pipeline, executions: list[str]) -> list[str]:
    """Send messages with the card number in every field to the escalation queue; return their ids."""
    good: dict[str, Any] = {"OrderId": "fulfill-0", "Reasons": ["WORKFLOW_FAILED"]}
    changes: list[dict[str, Any]] = [
        *({"Detail": f"Card {form}."} for form in FORMS),
        *({"Queue": form} for form in FORMS),
        *({"OriginMessageId": form} for form in FORMS),
        *({"OrderId": None, "OriginMessageId": form} for form in FORMS),
        *(
            {"OrderId": None, "ExecutionArn": execution, "Detail": f"Execution {CARD} ended."}
            for execution in executions
        ),
        *({"OrderId": form} for form in FORMS),
        {"Attempts": int(CARD)},
        {"Attempts": CARD},
        {"Reasons": [CARD]},
        {"Source": CARD},
        {"ExecutionArn": CARD},
        {CARD: CARD},
    ]
    bodies = [*(json.dumps(good | change) for change in changes), *FORMS, f"[{CARD}]", f'"{CARD}"']
    return [pipeline.send_escalation(body) for body in bodies]
