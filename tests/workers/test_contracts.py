import json
from typing import Any

import pytest
from pydantic import BaseModel

from tests.workers.fakes import EXECUTION, MESSAGE_ID, message
from workers import contracts
from workers.contracts import (
    OrderFinished,
    OutgoingEscalation,
    Reminder,
    decode_escalation,
    decode_fulfillment,
    decode_order_finished,
    decode_reminder,
)
from workers.domain.escalations import MAX_DETAIL_CHARS, Escalation
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


NEITHER = "neither a JSON object nor an OrderId: "
ID_RULE = "1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit, and not like a card number"
ID = f"must be {ID_RULE}"
ARN = "must be an ARN like arn:aws:states:REGION:ACCOUNT:execution:MACHINE:NAME, or absent"
NOT_ALLOWED = f"{NEITHER}it has a character that is not allowed; an OrderId {ID}"
UNDECODABLE = [
    *((body, f"{NEITHER}it is empty") for body in ("", " ", "\ufeff", " \r\n\u00a0")),
    *((body, NOT_ALLOWED) for body in ("a b", "'001'", "\u0661", "\ud800", "\u0000", "Zo\u00eb", "001\n002")),
    ("-1", f"{NEITHER}it does not begin with a letter or digit; an OrderId {ID}"),
    ("a" * 65, f"{NEITHER}it is longer than 64 characters; an OrderId {ID}"),
    ("x" * 1_000_000, f"{NEITHER}it is longer than 64 characters; an OrderId {ID}"),
    (CARD, f"{NEITHER}it looks like a card number; an OrderId {ID}"),
    ("4929-1234-1234-5678", f"{NEITHER}it looks like a card number; an OrderId {ID}"),
    *((body, f"{NEITHER}it is an array") for body in ("[]", '["001"]', '[{"OrderId": "001"}]')),
    ("{", f"{NEITHER}invalid JSON, EOF while parsing an object at line 1 column 1"),
    ('{"OrderId"', f"{NEITHER}invalid JSON, EOF while parsing an object at line 1 column 10"),
    ("{'OrderId': '001'}", f"{NEITHER}invalid JSON, key must be a string at line 1 column 2"),
    (f"{{{CARD}: 1}}", f"{NEITHER}invalid JSON, key must be a string at line 1 column 2"),
    ('{"OrderId": "001"} x', f"{NEITHER}invalid JSON, trailing characters at line 1 column 20"),
    ('{"OrderId": "001",}', f"{NEITHER}invalid JSON, trailing comma at line 1 column 19"),
    ('{"OrderId": "001"', f"{NEITHER}invalid JSON, EOF while parsing an object at line 1 column 17"),
    *(
        (body, f"{NEITHER}it is a JSON string: send what is inside its quotes")
        for body in ('"001"', '""', json.dumps('{"OrderId": "001"}'))
    ),
    ('"001', f"{NEITHER}invalid JSON, EOF while parsing a string at line 1 column 4"),
    ("[" * 100_000, f"{NEITHER}invalid JSON, recursion limit exceeded at line 1 column 202"),
    ('{"OrderId":' * 100_000, f"{NEITHER}invalid JSON, recursion limit exceeded at line 1 column 2212"),
    ('{"a":' * 100_000 + "1" + "}" * 100_000, f"{NEITHER}invalid JSON, recursion limit exceeded at line 1 column 1006"),
    ('{"OrderId": "\ud800"}', f"{NEITHER}it is not valid Unicode"),
    ('{"OrderId": "\\ud800"}', f"OrderId has a character that is not allowed, {ID}"),
    ("{}", f"OrderId is missing, {ID}"),
    ("\ufeff{}", f"OrderId is missing, {ID}"),
    ('{"orderid": "001"}', f'OrderId is missing ("orderid" is another name: it must be OrderId), {ID}'),
    ('{"order_id": "001"}', f'OrderId is missing ("order_id" is another name: it must be OrderId), {ID}'),
    (
        json.dumps({f"order{'_' * 8}id": 1}),
        f'OrderId is missing ("order{"_" * 8}id" is another name: it must be OrderId), {ID}',
    ),
    (json.dumps({f"order{'_' * 9}id": 1, CARD: "OrderId", "\u017frderId": 1}), f"OrderId is missing, {ID}"),
    (
        json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": '{"OrderId": "001"}'}),
        "OrderId is missing (this is an SNS notification: turn on raw message delivery for the subscription), " + ID,
    ),
    (
        json.dumps({"detail-type": "Order", "source": "shop", "detail": {"OrderId": "001"}}),
        f"OrderId is missing (this is an EventBridge event: send only these fields, with an input transformer), {ID}",
    ),
    ('{"OrderId": null}', f"OrderId is null, {ID}"),
    ('{"OrderId": 1}', f"OrderId is a number, {ID}"),
    ('{"OrderId": NaN}', f"OrderId is a number, {ID}"),
    ('{"OrderId": true}', f"OrderId is a boolean, {ID}"),
    ('{"OrderId": ["001"]}', f"OrderId is an array, {ID}"),
    ('{"OrderId": {"OrderId": "001"}}', f"OrderId is an object, {ID}"),
    ('{"OrderId": ""}', f"OrderId is empty, {ID}"),
    ('{"OrderId": "001\\n"}', f"OrderId has white space around it, {ID}"),
    (json.dumps({"OrderId": "x" * 100_000}), f"OrderId is longer than 64 characters, {ID}"),
    (
        json.dumps({"OrderId": CARD, "ExecutionArn": 5, CARD: CARD}),
        f"OrderId looks like a card number, {ID}; ExecutionArn is a number, {ARN}",
    ),
    ('{"OrderId": "001", "ExecutionArn": ""}', f"ExecutionArn is empty, {ARN}"),
    (
        '{"OrderId": "001", "ExecutionArn": "arn:aws:sqs:us-east-1:123456789012:q"}',
        f"ExecutionArn does not match, {ARN}",
    ),
    (json.dumps({"OrderId": "001", "ExecutionArn": f"{EXECUTION}\n"}), f"ExecutionArn does not match, {ARN}"),
    (json.dumps({"OrderId": "001", "ExecutionArn": f"{EXECUTION}\uffff"}), f"ExecutionArn does not match, {ARN}"),
    (json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION + "x" * 80}), f"ExecutionArn does not match, {ARN}"),
]


@pytest.mark.parametrize(("body", "text"), UNDECODABLE, ids=[f"{n}" for n in range(len(UNDECODABLE))])
def test_any_other_body_is_undecodable_and_the_error_says_why_but_never_quotes_it(body: str, text: str) -> None:
    with pytest.raises(UndecodableError) as raised:
        decode_fulfillment(message(body))
    assert str(raised.value) == text
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


AROUND = [
    *("\ufeff{}", "{}\n", "{}\r\n", " \t{}\n\n", "\u00a0{}\u00a0", "\u3000{}\u2028", "\ufeff\ufeff \ufeff{}\ufeff"),
    *("\u200b{}", "\u00ef\u00bb\u00bf{}\n", " \u00ef\u00bb\u00bf\ufeff {}"),
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("inner", ["001", '{"OrderId": "001"}'])
def test_marks_and_white_space_around_a_body_are_ignored(around: str, inner: str) -> None:
    body = around.replace("{}", inner)
    assert decode_fulfillment(message(body)).order_id == "001"


@pytest.mark.parametrize("around", AROUND)
def test_marks_and_white_space_around_messages_of_the_escalation_queue_are_ignored(around: str) -> None:
    bodies = [around.replace("{}", body) for body in (json.dumps(ESCALATION), "002", '{"CaseId": "002", "Episode": 1}')]
    escalation, bare, reminder = map(message, bodies)
    assert decode_reminder(escalation) is None
    assert decode_escalation(escalation).order_id == "002"
    assert decode_reminder(bare) is None
    assert decode_escalation(bare).reasons == (Reason.UNSPECIFIED,)
    assert decode_reminder(reminder) == Reminder(CaseId="002", Episode=1, Tries=1)


def test_half_of_a_surrogate_pair_is_replaced() -> None:
    cut = '{"OrderId": "002", "Reasons": ["INVALID_PRICE"], "Detail": "a bike \\ud83d", "X": [{"\\ude00": "\\ude00"}]}'
    assert decode_escalation(message(cut)).detail == "a bike \ufffd"
    pair = cut.replace("\\ud83d", "\\ud83d\\udeb2")
    assert decode_escalation(message(pair)).detail == "a bike \U0001f6b2"


def test_characters_that_cannot_be_sent_are_replaced_in_texts_that_cases_quote() -> None:
    fields = {"Detail": "a\u0000b\uffff", "Queue": "\ufffe", "OriginMessageId": "m\u001f"}
    escalation = decode_escalation(message(json.dumps(ESCALATION | fields)))
    assert (escalation.detail, escalation.queue, escalation.origin_message_id) == (
        "a\ufffdb\ufffd",
        "\ufffd",
        "m\ufffd",
    )


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


@pytest.mark.parametrize("source", ["workflow", "fulfillment", "eventbridge", "sweep"])
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


NULL_OR_ID = f"must be null or {ID_RULE}"
REASONS = f"must be an array of 1 to {len(Reason)} of {', '.join(Reason)}"
SOURCE = f"must be one of {', '.join(Source)}, or absent"
ATTEMPTS = "must be a whole number from 0 to 1000000 without a decimal point, or absent"
NAME = "must be up to 256 characters, or absent"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"OrderId": CARD}, f"OrderId looks like a card number, {NULL_OR_ID}"),
        ({"OrderId": 2}, f"OrderId is a number, {NULL_OR_ID}"),
        ({"Reasons": None}, f"Reasons is null, {REASONS}"),
        ({"Reasons": []}, f"Reasons is empty, {REASONS}"),
        ({"Reasons": "INVALID_PRICE"}, f"Reasons is a string, {REASONS}"),
        ({"Reasons": ["NO_SUCH_REASON"]}, f"Reasons[0] is unknown, {REASONS}"),
        ({"Reasons": ["INVALID_PRICE", CARD, "NO"]}, f"Reasons[1] is unknown, {REASONS}"),
        ({"Reasons": [["INVALID_PRICE"]]}, f"Reasons[0] is an array, {REASONS}"),
        ({"Reasons": [""]}, f"Reasons[0] is empty, {REASONS}"),
        ({"Reasons": ["INVALID_PRICE"] * 1000}, f"Reasons has too many elements, {REASONS}"),
        ({"Source": "elsewhere"}, f"Source is unknown, {SOURCE}"),
        ({"Source": 5}, f"Source is a number, {SOURCE}"),
        ({"Detail": 5}, "Detail is a number, must be a string, or absent"),
        ({"Detail": {"a": "b"}}, "Detail is an object, must be a string, or absent"),
        ({"ExecutionArn": "one"}, f"ExecutionArn does not match, {ARN}"),
        ({"Attempts": "5"}, f"Attempts is a string, {ATTEMPTS}"),
        ({"Attempts": -1}, f"Attempts is too small, {ATTEMPTS}"),
        ({"Attempts": 1.5}, f"Attempts is a number, {ATTEMPTS}"),
        ({"Attempts": True}, f"Attempts is a boolean, {ATTEMPTS}"),
        ({"Attempts": int(CARD)}, f"Attempts is too large, {ATTEMPTS}"),
        ({"Attempts": 10**50}, f"Attempts is too large, {ATTEMPTS}"),
        ({"Queue": 1}, f"Queue is a number, {NAME}"),
        ({"Queue": "q" * 1025}, f"Queue is too long, {NAME}"),
        ({"OriginMessageId": ["m"]}, f"OriginMessageId is an array, {NAME}"),
        ({"OriginMessageId": "\U0001f6b2" * 1024}, f"OriginMessageId is too long, {NAME}"),
        (
            {"OrderId": [], "Reasons": {}, "Attempts": []},
            f"OrderId is an array, {NULL_OR_ID}; Reasons is an object, {REASONS}; Attempts is an array, {ATTEMPTS}",
        ),
    ],
)
def test_an_escalation_with_wrong_fields_is_undecodable_and_the_error_says_why(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(UndecodableError) as raised:
        decode_escalation(message(json.dumps(ESCALATION | changes)))
    assert str(raised.value) == text


@pytest.mark.parametrize(("field", "rule"), [("OrderId", NULL_OR_ID), ("Reasons", REASONS)])
def test_an_escalation_without_an_order_or_reasons_is_undecodable(field: str, rule: str) -> None:
    body = json.dumps({name: value for name, value in ESCALATION.items() if name != field})
    with pytest.raises(UndecodableError) as raised:
        decode_escalation(message(body))
    assert str(raised.value) == f"{field} is missing, {rule}"


def test_every_field_has_a_rule_and_a_refusal_of_all_fields_is_not_cut() -> None:
    models = [model for model in vars(contracts).values() if isinstance(model, type) and issubclass(model, BaseModel)]
    fields = {field.alias for model in models for field in model.model_fields.values()} - {None}
    wrong = dict.fromkeys(map(str, fields), 5.5)
    refusals = []
    for decode, changes in (
        (decode_fulfillment, {}),
        (decode_escalation, {}),
        (decode_reminder, {"Reasons": None}),
        (decode_order_finished, {"Reasons": None}),
    ):
        body = {name: value for name, value in (wrong | changes).items() if value is not None}
        with pytest.raises(UndecodableError) as raised:
            decode(message(json.dumps(body)))
        refusals.append(str(raised.value))
    assert all(any(f"{field} is a number, must be " in refusal for refusal in refusals) for field in fields)
    assert max(map(len, refusals)) < MAX_DETAIL_CHARS - len("Undecodable: . It is in the dead-letter queue.")


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
    assert "Zo\u00eb" in escalation.body(), "as it is, not in six characters"


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


CASE_ID = "must be a string of 1 to 2048 characters"
EPISODE = "must be a whole number from 1 without a decimal point"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"CaseId": ""}, f"CaseId is empty, {CASE_ID}"),
        ({"CaseId": 1}, f"CaseId is a number, {CASE_ID}"),
        ({"CaseId": "x" * 2049}, f"CaseId is too long, {CASE_ID}"),
        ({"Episode": 0}, f"Episode is too small, {EPISODE}"),
        ({"Episode": "1"}, f"Episode is a string, {EPISODE}"),
        ({"Tries": 0}, f"Tries is too small, {EPISODE}, or absent"),
    ],
)
def test_a_reminder_with_a_wrong_field_is_undecodable(change: dict[str, Any], text: str) -> None:
    with pytest.raises(UndecodableError) as raised:
        decode_reminder(message(json.dumps({"CaseId": "001", "Episode": 1, "Tries": 1} | change)))
    assert str(raised.value) == text


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


def test_each_field_may_be_as_long_and_as_great_as_its_rule_says() -> None:
    decode_reminder(message(json.dumps({"CaseId": "x" * 2048, "Episode": 1, "Tries": 1})))
    name = "x" * 256
    longest = {"Attempts": 1_000_000, "Queue": name, "OriginMessageId": name, "WaitingMessageId": name}
    escalation = decode_escalation(message(json.dumps(ESCALATION | longest | {"Reasons": [*Reason]})))
    assert (escalation.attempts, escalation.queue) == (1_000_000, name)
    for field, value in longest.items():
        more = value + 1 if isinstance(value, int) else f"{value}x"
        with pytest.raises(UndecodableError, match=f"^{field} is too "):
            decode_escalation(message(json.dumps(ESCALATION | {field: more})))
    with pytest.raises(UndecodableError, match=r"^Reasons "):
        decode_escalation(message(json.dumps(ESCALATION | {"Reasons": [*Reason, Reason.UNSPECIFIED]})))
    least = decode_escalation(message(json.dumps(ESCALATION | {"Attempts": 0, "WaitingMessageId": "m"})))
    assert (least.attempts, least.message_id) == (0, "m")
    with pytest.raises(UndecodableError, match=r"^WaitingMessageId is empty, "):
        decode_escalation(message(json.dumps(ESCALATION | {"WaitingMessageId": ""})))


def test_what_was_decoded_does_not_change() -> None:
    models = [model for model in vars(contracts).values() if isinstance(model, type) and issubclass(model, BaseModel)]
    assert {model.__name__: model.model_config.get("frozen") for model in models if model is not BaseModel} == {
        "FulfillmentRequest": True,
        "OrderFinished": True,
        "Reminder": True,
        "_EscalationBody": True,
    }


@pytest.mark.parametrize("value", ["true", "yes", 1, 0])
def test_only_a_boolean_says_that_an_order_was_resubmitted(value: object) -> None:
    with pytest.raises(UndecodableError, match=r"^Resubmitted is a (string|number), must be true, false or absent$"):
        decode_fulfillment(message(json.dumps({"OrderId": "001", "Resubmitted": value})))
