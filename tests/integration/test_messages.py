"""Messages on both queues, while both workers run."""

import json
import re

import pytest

from deploy.check_state_machine import DEFINITIONS
from tests.integration.conftest import Running
from tests.integration.pipeline import endings, fulfilled, wait_until
from workers.aws.status_index import status_key
from workers.domain.orders import ORDER_ID_RULE

BAD_CHARACTER = "a character that is not allowed"


def test_an_order_is_fulfilled(running: Running) -> None:
    pipeline = running.pipeline
    pipeline.put_order("valid-1")
    message_id = pipeline.send_order("valid-1")
    ended = running.fulfillment.wait_for("message.acknowledged", message_id=message_id)
    order = pipeline.order("valid-1")
    assert order is not None
    assert (order["Status"], order["ShipmentId"]) == ("FULFILLED", "shipment-of-valid-1")
    assert order["OpenKey"] == status_key("FULFILLED", order["OrderId"], order["FulfilledAt"])
    assert order["FulfilledAt"] == order["UpdatedAt"] > order["CreatedAt"]
    line = running.fulfillment.wait_for("order.fulfilled", order_id="valid-1")
    assert (line["worker"], line["queue"], line["message_id"], line["execution_arn"]) == (
        "fulfillment",
        "integration-OrderFulfillmentQueue",
        message_id,
        pipeline.arn("of-valid-1"),
    )
    assert (ended["outcome"], ended["order_id"], ended["receive_count"]) == ("fulfilled", "valid-1", 1)
    assert ended["duration_ms"] > 0


@pytest.mark.parametrize("order_id", ["001", "42", "true"])
def test_a_bare_order_id_is_fulfilled(running: Running, order_id: str) -> None:
    running.pipeline.put_order(order_id)
    message_id = running.pipeline.send_fulfillment(order_id)
    ended = running.fulfillment.wait_for("message.acknowledged", message_id=message_id)
    assert (ended["outcome"], running.pipeline.status(order_id)) == ("fulfilled", "FULFILLED")


def test_a_missing_order_is_escalated_through_both_workers(running: Running) -> None:
    pipeline = running.pipeline
    message_id = pipeline.send_order("missing-1")
    assert running.fulfillment.wait_for("message.acknowledged", message_id=message_id)["outcome"] == "escalated"
    routed = running.escalation.wait_for("escalation.routed", case_id="missing-1")
    assert (routed["level"], routed["reasons"], routed["severity"]) == ("warning", ["ORDER_NOT_FOUND"], "warning")
    assert (routed["source"], routed["channels"]) == ("fulfillment", ["log"])
    case = pipeline.case("missing-1")
    assert case is not None
    assert (case["State"], case["Reasons"], case["Sources"]) == ("OPEN", ["ORDER_NOT_FOUND"], ["fulfillment"])
    (evidence,) = case["Evidence"]
    assert (evidence["OriginMessageId"], evidence["Queue"]) == (message_id, "integration-OrderFulfillmentQueue")
    assert pipeline.order("missing-1") is None


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED", "FULFILLED"])
def test_a_message_of_an_earlier_execution_changes_nothing(running: Running, status: str) -> None:
    order_id = f"stale-{status}"
    running.pipeline.put_order(order_id, status)
    before = running.pipeline.order(order_id)
    message_id = running.pipeline.send_order(order_id, "an-earlier-execution")
    assert running.fulfillment.wait_for("message.acknowledged", message_id=message_id)["outcome"] == "superseded"
    assert running.pipeline.order(order_id) == before


@pytest.mark.parametrize(
    ("owner", "status", "outcome"),
    [
        *(("another", status, "superseded") for status in ("RECEIVED", "ESCALATED", "FULFILLED", "CANCELLED")),
        *(("own", status, "superseded") for status in ("ESCALATED", "CANCELLED")),
        ("own", "FULFILLED", "already_fulfilled"),
    ],
)
def test_the_messages_of_a_redriven_execution_change_no_order(
    running: Running, owner: str, status: str, outcome: str
) -> None:
    # Its put was applied before it failed. It goes on with the verification, or with the message it could not send.
    pipeline, order_id = running.pipeline, f"redriven-{owner}-{status}"
    pipeline.put_order(order_id, status)
    before = pipeline.order(order_id)
    redriven = f"of-{order_id}" if owner == "own" else "an-older-execution"
    sent = pipeline.send_order(order_id, redriven)
    escalated = pipeline.send_escalation(
        {
            "OrderId": order_id,
            "Reasons": ["VERIFICATION_UNAVAILABLE"],
            "Source": "workflow",
            "Detail": "The order's details could not be verified.",
            "ExecutionArn": pipeline.arn(redriven),
        }
    )
    assert running.fulfillment.wait_for("message.acknowledged", message_id=sent)["outcome"] == outcome
    running.escalation.wait_for("message.acknowledged", message_id=escalated)
    assert pipeline.order(order_id) == before
    assert fulfilled(running.fulfillment)[order_id] == 0
    has_case = pipeline.case(order_id) is not None
    assert has_case == (owner == "another" or status == "ESCALATED"), "final orders of this execution need no case"


def test_duplicates_fulfill_an_order_once(running: Running) -> None:
    running.pipeline.put_order("twice-1")
    ids = [running.pipeline.send_order("twice-1") for _ in range(5)]
    outcomes = [
        running.fulfillment.wait_for("message.acknowledged", message_id=message_id)["outcome"] for message_id in ids
    ]
    assert sorted(outcomes) == ["already_fulfilled"] * 4 + ["fulfilled"]
    wait_until(lambda: fulfilled(running.fulfillment)["twice-1"] == 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ('"001"', "neither a JSON object nor an OrderId: it is a JSON string: send what is inside its quotes"),
        ("[]", "neither a JSON object nor an OrderId: it is an array"),
        ("{}", f"OrderId is missing, must be {ORDER_ID_RULE}"),
        ('{"OrderId": 1}', f"OrderId is a number, must be {ORDER_ID_RULE}"),
        ("{" * 1000, "neither a JSON object nor an OrderId: invalid JSON, key must be a string at line 1 column 2"),
        (
            "secret-of-the-body \u5f20\u4f1f",
            f"neither a JSON object nor an OrderId: it has {BAD_CHARACTER}; an OrderId must be {ORDER_ID_RULE}",
        ),
    ],
)
def test_an_undecodable_message_moves_to_the_dead_letter_queue_and_gets_a_case(
    running: Running, body: str, why: str
) -> None:
    pipeline = running.pipeline
    message_id = pipeline.send_fulfillment(body, Trace="abc")
    line = running.fulfillment.wait_for("message.dead_lettered", message_id=message_id, outcome="undecodable")
    assert line["reason"] == why
    (dead,) = pipeline.take(pipeline.stack.order_fulfillment_dlq_url)
    assert dead["Body"] == body
    attributes = {name: value["StringValue"] for name, value in dead["MessageAttributes"].items()}
    assert attributes.pop("FirstReceivedAt").endswith("Z")
    assert attributes.pop("Reason") == f"UNDECODABLE_MESSAGE: {why}"
    assert attributes == {
        "Trace": "abc",
        "OriginMessageId": message_id,
        "OriginQueue": "integration-OrderFulfillmentQueue",
        "ErrorClass": "UndecodableError",
    }
    routed = running.escalation.wait_for("escalation.routed", case_id=f"message-{message_id}")
    assert (routed["level"], routed["reasons"]) == ("error", ["UNDECODABLE_MESSAGE"])
    case = pipeline.case(f"message-{message_id}")
    assert case is not None
    assert (case["State"], case["Severity"]) == ("OPEN", "critical")
    assert case["Evidence"][0]["Detail"] == f"Undecodable: {why}. It is in the dead-letter queue."
    assert "secret-of-the-body" not in running.fulfillment.output() + running.escalation.output() + str(case)


@pytest.mark.parametrize("body", ['\ufeff{"OrderId": "marked-0"}\r\n', "marked-1\n", "\u00a0marked-2 "])
def test_marks_and_white_space_around_a_message_do_not_matter(running: Running, body: str) -> None:
    order_id = "".join(re.findall(r"marked-\d", body))
    running.pipeline.put_order(order_id)
    running.pipeline.send_fulfillment(body)
    running.fulfillment.wait_for("order.fulfilled", order_id=order_id)
    assert running.pipeline.status(order_id) == "FULFILLED"


def test_characters_that_sqs_refuses_do_not_keep_a_rejected_order_from_its_case(running: Running) -> None:
    pipeline = running.pipeline
    name = "Zo\u00eb \x00 \ufffe \uffff"
    pipeline.put_order("refused-text", Name=name, ItemName="reject")
    message_id = pipeline.send_order("refused-text")
    running.fulfillment.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
    running.escalation.wait_for("escalation.routed", order_id="refused-text")
    case = pipeline.case("refused-text")
    assert case is not None
    (evidence,) = case["Evidence"]
    assert evidence["Detail"] == "The provider refused: we do not ship to Zo\u00eb \ufffd \ufffd \ufffd"


def test_a_late_message_leaves_an_escalated_order_alone(running: Running) -> None:
    pipeline = running.pipeline
    pipeline.put_order("escalated-1")
    notice = {"OrderId": "escalated-1", "Reasons": ["INVALID_PRICE"], "ExecutionArn": pipeline.arn("of-escalated-1")}
    running.escalation.wait_for("message.acknowledged", message_id=pipeline.send_escalation(notice))
    assert pipeline.status("escalated-1") == "ESCALATED"
    message_id = pipeline.send_order("escalated-1")
    assert running.fulfillment.wait_for("message.acknowledged", message_id=message_id)["outcome"] == "superseded"
    assert pipeline.status("escalated-1") == "ESCALATED"
    assert fulfilled(running.fulfillment)["escalated-1"] == 0


@pytest.mark.parametrize("source", ["workflow", "fulfillment", "eventbridge", "sweep", None])
def test_an_escalation_of_any_source_changes_order_and_case(running: Running, source: str | None) -> None:
    pipeline, order_id = running.pipeline, f"source-{source}"
    pipeline.put_order(order_id)
    notice = {
        "OrderId": order_id,
        "Reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
        "Source": source,
        "Detail": "What went wrong.",
        "ExecutionArn": pipeline.arn(f"of-{order_id}"),
    }
    message_id = pipeline.send_escalation(notice)
    assert running.escalation.wait_for("message.acknowledged", message_id=message_id)["outcome"] == "escalated"
    order, case = pipeline.order(order_id), pipeline.case(order_id)
    assert order is not None
    assert case is not None
    assert (order["Status"], order["Reasons"]) == ("ESCALATED", ["INVALID_CARD_NUMBER", "INVALID_PRICE"])
    assert order["OpenKey"].startswith("ESCALATED#")
    assert (case["State"], case["OrderId"], case["MessageIds"]) == ("OPEN", order_id, [message_id])
    assert [sent["Channel"] for sent in case["Routed"]] == ["log"]
    line = running.escalation.wait_for("escalation.routed", case_id=order_id)
    assert (line["order_id"], line["detail"], line["level"]) == (order_id, "What went wrong.", "warning")


def test_a_bare_order_id_on_the_escalation_queue_escalates_the_order(running: Running) -> None:
    running.pipeline.put_order("bare-1")
    message_id = running.pipeline.send_escalation("bare-1")
    running.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
    assert running.pipeline.status("bare-1") == "ESCALATED"
    assert running.escalation.wait_for("escalation.routed", case_id="bare-1")["reasons"] == ["UNSPECIFIED"]


def test_a_notice_of_a_failed_execution_is_added_to_its_case(running: Running) -> None:
    pipeline = running.pipeline
    pipeline.put_order("covered-1")
    arn = pipeline.arn("of-covered-1")
    first = pipeline.send_escalation({"OrderId": "covered-1", "Reasons": ["WORKFLOW_FAILED"], "ExecutionArn": arn})
    running.escalation.wait_for("message.acknowledged", message_id=first)
    notice = {"OrderId": None, "Reasons": ["WORKFLOW_FAILED"], "Source": "eventbridge", "ExecutionArn": arn}
    second = pipeline.send_escalation(notice)
    assert running.escalation.wait_for("message.acknowledged", message_id=second)["outcome"] == "added_to_case"
    case = pipeline.case("covered-1")
    assert case is not None
    assert case["MessageIds"] == [first, second]
    assert pipeline.case("of-covered-1") is None


def test_the_case_of_an_execution_is_merged_into_that_of_its_order(running: Running) -> None:
    pipeline = running.pipeline
    pipeline.put_order("merged-1")
    arn = pipeline.arn("of-merged-1")
    notice = {"OrderId": None, "Reasons": ["WORKFLOW_FAILED"], "Source": "eventbridge", "ExecutionArn": arn}
    early = pipeline.send_escalation(notice)
    assert running.escalation.wait_for("message.acknowledged", message_id=early)["outcome"] == "postponed"
    # As it comes back after a minute.
    waited = pipeline.send_escalation(notice | {"WaitingMessageId": early})
    assert running.escalation.wait_for("message.acknowledged", message_id=waited)["outcome"] == "escalated"
    late = pipeline.send_escalation({"OrderId": "merged-1", "Reasons": ["INVALID_PRICE"], "ExecutionArn": arn})
    assert running.escalation.wait_for("message.acknowledged", message_id=late)["outcome"] == "escalated"
    order_case, execution_case = pipeline.case("merged-1") or {}, pipeline.case("of-merged-1") or {}
    assert (order_case["State"], order_case["MessageIds"]) == ("OPEN", [early, late])
    assert (execution_case["State"], execution_case["MergedInto"]) == ("RESOLVED", "merged-1")
    assert pipeline.status("merged-1") == "ESCALATED"
    routed = [line["case_id"] for line in running.escalation.lines() if line["event"] == "escalation.routed"]
    assert (routed.count("of-merged-1"), routed.count("merged-1")) == (1, 0)


def test_an_undecodable_escalation_moves_to_its_dead_letter_queue_and_gets_a_case(running: Running) -> None:
    pipeline = running.pipeline
    body = '{"OrderId": "001", "Reasons": ["NO_SUCH_REASON"]}'
    message_id = pipeline.send_escalation(body)
    running.escalation.wait_for("message.dead_lettered", message_id=message_id, outcome="undecodable")
    (dead,) = pipeline.take(pipeline.stack.escalation_dlq_url)
    assert dead["Body"] == body
    reason = dead["MessageAttributes"]["Reason"]["StringValue"]
    assert reason.startswith("UNDECODABLE_MESSAGE: Reasons[0] is unknown, must be an array of 1 to ")
    assert pipeline.case(f"message-{message_id}") is not None
    assert "NO_SUCH_REASON" not in running.escalation.output()


def test_an_order_rejected_by_the_provider_is_escalated(running: Running) -> None:
    pipeline = running.pipeline
    pipeline.put_order("rejected-1", ItemName="reject", Name="the moon")
    pipeline.send_order("rejected-1")
    routed = running.escalation.wait_for("escalation.routed", case_id="rejected-1")
    assert (routed["reasons"], routed["detail"]) == (
        ["FULFILLMENT_REJECTED"],
        "The provider refused: we do not ship to the moon",
    )
    assert pipeline.status("rejected-1") == "ESCALATED"


@pytest.mark.parametrize(
    ("sample", "status", "reasons"),
    [
        ("001", "FULFILLED", None),
        ("002", "ESCALATED", ["INVALID_PRICE"]),
        ("003", "ESCALATED", ["INVALID_CARD_NUMBER"]),
        ("004", "ESCALATED", ["INVALID_CARD_NUMBER", "INVALID_PRICE"]),
    ],
)
def test_a_sample_order_reaches_its_final_status(
    running: Running, sample: str, status: str, reasons: list[str] | None
) -> None:
    pipeline, order_id = running.pipeline, f"sample-{sample}"
    order = json.loads((DEFINITIONS / "samples" / f"{sample}.json").read_text(encoding="utf-8"))
    pipeline.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.stack.state_machine_arn, input=json.dumps(order | {"OrderId": order_id})
    )
    wait_until(lambda: pipeline.status(order_id) == status)
    stored = pipeline.order(order_id)
    assert stored is not None
    assert stored.get("Reasons") == reasons
    if reasons:
        assert running.escalation.wait_for("escalation.routed", case_id=order_id)["reasons"] == reasons
    else:
        running.fulfillment.wait_for("order.fulfilled", order_id=order_id)


def test_every_delivery_ends_in_exactly_one_line(running: Running) -> None:
    pipeline = running.pipeline
    wait_until(
        lambda: (
            pipeline.queued(pipeline.stack.order_fulfillment_queue_url)
            + pipeline.queued(pipeline.stack.escalation_queue_url)
            == 0
        )
    )
    for worker in (running.fulfillment, running.escalation):
        ended = endings(worker)
        assert len(ended) > 10
        assert len({message_id for message_id, *_ in ended}) == len(ended)
