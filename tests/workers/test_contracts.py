import json
from typing import Any

import pytest

from tests.workers.fakes import EXECUTION, MESSAGE_ID, message
from workers.contracts import (
    OrderFinished,
    OutgoingEscalation,
    Reminder,
    decode_escalation,
    decode_fulfillment,
    decode_order_finished,
    decode_reminder,
)
from workers.domain.escalations import Escalation
from workers.domain.reasons import Reason, Source
from workers.errors import UndecodableError

CARD = "4929123412345678"
ESCALATION = {"OrderId": "002", "Reasons": ["INVALID_PRICE"]}


@pytest.mark.parametrize(
    ("body", "order_id", "execution_arn"),
    [
        (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION}), "001", EXECUTION),
        (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION, "Resubmitted": True}), "001", EXECUTION),
        (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION, "Resubmitted": None}), "001", EXECUTION),
        ('{"OrderId": "001"}', "001", None),
        ('{"OrderId": "001", "ExecutionArn": null}', "001", None),
        (' \n{"OrderId": "001", "Color": {"deep": [1, 2.5, null]}}\n ', "001", None),
        ('{"OrderId": "001", "OrderId": "002"}', "002", None),  # The last one counts, as in most parsers.
        ('{"OrderId": "\\u0030\\u0030\\u0031"}', "001", None),
        ("001", "001", None),
        ("42", "42", None),
        ("true", "true", None),
        ("null", "null", None),
        ("1.5", "1.5", None),
        ("NaN", "NaN", None),
        ("a" * 64, "a" * 64, None),
    ],
)
def test_decodes_an_object_of_the_contract_or_a_bare_order_id(
    body: str, order_id: str, execution_arn: str | None
) -> None:
    request = decode_fulfillment(message(body))
    assert (request.order_id, request.execution_arn) == (order_id, execution_arn)


NEITHER = "neither a JSON object nor an OrderId"
UNDECODABLE = [
    *((body, NEITHER) for body in ("", " ", '"001"', "[]", '["001"]', "001\n", " 001", "-1", "a b", "{", '{"OrderId"')),
    *((body, NEITHER) for body in ("'001'", "{'OrderId': '001'}", "\u0661", "a" * 65, CARD, "4929-1234-1234-5678")),
    *((body, NEITHER) for body in ("[" * 100_000, '{"OrderId":' * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000)),
    *((body, NEITHER) for body in ("\ud800", '{"OrderId": "\\ud800"}', '{"OrderId": "\ud800"}', "\ufeff{}", "\u0000")),
    *((body, NEITHER) for body in ('{"OrderId": "001"} x', '{"OrderId": "001",}', "x" * 1_000_000)),
    ("{}", "wrong or missing: OrderId"),
    ('{"orderid": "001"}', "wrong or missing: OrderId"),
    ('{"OrderId": null}', "wrong or missing: OrderId"),
    ('{"OrderId": 1}', "wrong or missing: OrderId"),
    ('{"OrderId": NaN}', "wrong or missing: OrderId"),
    ('{"OrderId": true}', "wrong or missing: OrderId"),
    ('{"OrderId": ["001"]}', "wrong or missing: OrderId"),
    ('{"OrderId": {"OrderId": "001"}}', "wrong or missing: OrderId"),
    ('{"OrderId": ""}', "wrong or missing: OrderId"),
    ('{"OrderId": "001\\n"}', "wrong or missing: OrderId"),
    (json.dumps({"OrderId": "x" * 100_000}), "wrong or missing: OrderId"),
    (json.dumps({"OrderId": CARD, "ExecutionArn": 5, CARD: CARD}), "wrong or missing: OrderId, ExecutionArn"),
    ('{"OrderId": "001", "ExecutionArn": ""}', "wrong or missing: ExecutionArn"),
    ('{"OrderId": "001", "ExecutionArn": "arn:aws:sqs:us-east-1:123456789012:q"}', "wrong or missing: ExecutionArn"),
    (json.dumps({"OrderId": "001", "ExecutionArn": f"{EXECUTION}\n"}), "wrong or missing: ExecutionArn"),
    (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION + "x" * 80}), "wrong or missing: ExecutionArn"),
]


@pytest.mark.parametrize(("body", "text"), UNDECODABLE, ids=[f"{n}" for n in range(len(UNDECODABLE))])
def test_any_other_body_is_undecodable_and_the_error_never_quotes_it(body: str, text: str) -> None:
    with pytest.raises(UndecodableError) as raised:
        decode_fulfillment(message(body))
    assert str(raised.value) == text
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_decodes_an_escalation_with_every_field() -> None:
    body = json.dumps(
        {
            "OrderId": "002",
            "Reasons": ["INVALID_PRICE", "INVALID_CARD_NUMBER", "INVALID_PRICE"],
            "Source": "workflow",
            "Detail": "The order's details are not proper.",
            "ExecutionArn": EXECUTION,
            "Attempts": 5,
            "Queue": "OrderFulfillmentQueue",
            "OriginMessageId": "m0",
            "Unknown": {"is": "ignored"},
        }
    )
    assert decode_escalation(message(body)) == Escalation(
        message_id=MESSAGE_ID,
        order_id="002",
        reasons=(Reason.INVALID_PRICE, Reason.INVALID_CARD_NUMBER),
        source=Source.WORKFLOW,
        detail="The order's details are not proper.",
        execution_arn=EXECUTION,
        attempts=5,
        queue="OrderFulfillmentQueue",
        origin_message_id="m0",
    )


@pytest.mark.parametrize("source", ["workflow", "fulfillment", "eventbridge"])
def test_decodes_every_source(source: str) -> None:
    assert decode_escalation(message(json.dumps(ESCALATION | {"Source": source}))).source == Source(source)


@pytest.mark.parametrize("reason", list(Reason))
def test_decodes_every_reason(reason: str) -> None:
    assert decode_escalation(message(json.dumps(ESCALATION | {"Reasons": [reason]}))).reasons == (Reason(reason),)


def test_fields_that_do_not_apply_are_absent_or_null() -> None:
    expected = Escalation(message_id=MESSAGE_ID, order_id=None, reasons=(Reason.MALFORMED_ORDER,))
    absent = {"OrderId": None, "Reasons": ["MALFORMED_ORDER"]}
    nulls = dict.fromkeys(["Source", "Detail", "ExecutionArn", "Attempts", "Queue", "OriginMessageId"])
    assert decode_escalation(message(json.dumps(absent))) == expected
    assert decode_escalation(message(json.dumps(absent | nulls))) == expected


@pytest.mark.parametrize("body", ["001", "42", "true"])
def test_a_bare_order_id_is_an_escalation_without_a_stated_reason(body: str) -> None:
    assert decode_escalation(message(body)) == Escalation(
        message_id=MESSAGE_ID, order_id=body, reasons=(Reason.UNSPECIFIED,)
    )


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"OrderId": CARD}, "OrderId"),
        ({"OrderId": 2}, "OrderId"),
        ({"Reasons": None}, "Reasons"),
        ({"Reasons": []}, "Reasons"),
        ({"Reasons": "INVALID_PRICE"}, "Reasons"),
        ({"Reasons": ["NO_SUCH_REASON"]}, "Reasons"),
        ({"Reasons": ["INVALID_PRICE", CARD]}, "Reasons"),
        ({"Reasons": [["INVALID_PRICE"]]}, "Reasons"),
        ({"Reasons": ["INVALID_PRICE"] * 1000}, "Reasons"),
        ({"Source": "elsewhere"}, "Source"),
        ({"Detail": 5}, "Detail"),
        ({"Detail": {"a": "b"}}, "Detail"),
        ({"ExecutionArn": "one"}, "ExecutionArn"),
        ({"Attempts": "5"}, "Attempts"),
        ({"Attempts": -1}, "Attempts"),
        ({"Attempts": 1.5}, "Attempts"),
        ({"Attempts": True}, "Attempts"),
        ({"Attempts": int(CARD)}, "Attempts"),
        ({"Attempts": 10**50}, "Attempts"),
        ({"Queue": 1}, "Queue"),
        ({"Queue": "q" * 1025}, "Queue"),
        ({"OriginMessageId": ["m"]}, "OriginMessageId"),
        ({"OriginMessageId": "\U0001f6b2" * 1024}, "OriginMessageId"),
        ({"OrderId": [], "Reasons": {}, "Attempts": []}, "OrderId, Reasons, Attempts"),
    ],
)
def test_an_escalation_with_wrong_fields_is_undecodable_and_the_error_names_them(
    changes: dict[str, Any], fields: str
) -> None:
    with pytest.raises(UndecodableError) as raised:
        decode_escalation(message(json.dumps(ESCALATION | changes)))
    assert str(raised.value) == f"wrong or missing: {fields}"


@pytest.mark.parametrize("missing", ["OrderId", "Reasons"])
def test_an_escalation_without_an_order_or_reasons_is_undecodable(missing: str) -> None:
    body = json.dumps({name: value for name, value in ESCALATION.items() if name != missing})
    with pytest.raises(UndecodableError, match=f"^wrong or missing: {missing}$"):
        decode_escalation(message(body))


def test_the_text_of_an_escalation_is_masked_then_cut() -> None:
    escalation = decode_escalation(
        message(
            json.dumps(
                ESCALATION
                | {
                    "Detail": f"{'x' * 990} {CARD}" + "y" * 100_000,
                    "Queue": f"queue {CARD}",
                    "OriginMessageId": f"m-{CARD}",
                }
            )
        )
    )
    assert escalation.detail == f"{'x' * 990} ****{'y' * 5}"
    assert escalation.queue == "queue ****"
    assert escalation.origin_message_id == "m-****"


def test_an_outgoing_escalation_has_only_the_fields_that_apply() -> None:
    escalation = OutgoingEscalation(
        order_id=None, reasons=(Reason.UNDECODABLE_MESSAGE,), source=Source.FULFILLMENT, detail=f"Zo\u00eb {CARD}"
    )
    assert json.loads(escalation.body()) == {
        "OrderId": None,
        "Reasons": ["UNDECODABLE_MESSAGE"],
        "Source": "fulfillment",
        "Detail": "Zo\u00eb ****",
    }


def test_an_outgoing_escalation_can_be_decoded() -> None:
    body = OutgoingEscalation(
        order_id="001",
        reasons=(Reason.FULFILLMENT_EXHAUSTED,),
        source=Source.FULFILLMENT,
        detail="Failed 5 times.",
        execution_arn=EXECUTION,
        attempts=5,
        queue="OrderFulfillmentQueue",
        origin_message_id="m0",
    ).body()
    assert json.loads(body) == {
        "OrderId": "001",
        "Reasons": ["FULFILLMENT_EXHAUSTED"],
        "Source": "fulfillment",
        "Detail": "Failed 5 times.",
        "ExecutionArn": EXECUTION,
        "Attempts": 5,
        "Queue": "OrderFulfillmentQueue",
        "OriginMessageId": "m0",
    }
    assert decode_escalation(message(body)).reasons == (Reason.FULFILLMENT_EXHAUSTED,)


def test_a_reminder_is_decoded_as_it_was_encoded() -> None:
    reminder = Reminder(CaseId="001", Episode=2, Tries=3)
    assert json.loads(reminder.body()) == {"CaseId": "001", "Episode": 2, "Tries": 3}
    assert decode_reminder(message(reminder.body())) == reminder
    assert decode_reminder(message('{"CaseId": "001", "Episode": 2}')) == Reminder(CaseId="001", Episode=2, Tries=1)


@pytest.mark.parametrize(
    "body", ["001", "{", "[]", json.dumps(ESCALATION), json.dumps(ESCALATION | {"CaseId": "002"}), '{"Episode": 1}']
)
def test_other_messages_are_not_reminders(body: str) -> None:
    assert decode_reminder(message(body)) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"CaseId": ""}, "CaseId"),
        ({"CaseId": 1}, "CaseId"),
        ({"Episode": 0}, "Episode"),
        ({"Episode": "1"}, "Episode"),
        ({"Tries": 0}, "Tries"),
    ],
)
def test_a_reminder_with_a_wrong_field_is_undecodable(change: dict[str, Any], field: str) -> None:
    with pytest.raises(UndecodableError, match=f"^wrong or missing: {field}$"):
        decode_reminder(message(json.dumps({"CaseId": "001", "Episode": 1, "Tries": 1} | change)))


def test_the_report_of_an_orders_end_is_decoded_as_it_was_encoded() -> None:
    finished = OrderFinished(OrderFinished="001", ExecutionArn=EXECUTION)
    assert json.loads(finished.body()) == {"OrderFinished": "001", "ExecutionArn": EXECUTION}
    assert decode_order_finished(message(finished.body())) == finished
    bare = OrderFinished(OrderFinished="001", ExecutionArn=None)
    assert json.loads(bare.body()) == {"OrderFinished": "001"}
    assert decode_order_finished(message(bare.body())) == bare


@pytest.mark.parametrize(
    "body",
    [
        "001",
        '{"OrderId": "001", "Reasons": ["UNSPECIFIED"]}',
        '{"OrderFinished": "001", "Reasons": []}',
        '"OrderFinished"',
    ],
)
def test_other_messages_report_no_end(body: str) -> None:
    assert decode_order_finished(message(body)) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [('{"OrderFinished": 1}', "OrderFinished"), ('{"OrderFinished": "001", "ExecutionArn": "x"}', "ExecutionArn")],
)
def test_a_report_with_a_wrong_field_is_undecodable(body: str, field: str) -> None:
    with pytest.raises(UndecodableError, match=field):
        decode_order_finished(message(body))


def test_a_notice_that_has_waited_is_the_one_that_was_received_first() -> None:
    body = json.dumps({"OrderId": None, "Reasons": ["WORKFLOW_FAILED"], "Source": "eventbridge"})
    first, waited = (
        decode_escalation(message(text, "copy"))
        for text in (body, json.dumps(json.loads(body) | {"WaitingMessageId": "first"}))
    )
    assert (first.message_id, first.has_waited, first.may_wait) == ("copy", False, True)
    assert (waited.message_id, waited.has_waited, waited.may_wait) == ("first", True, False)
