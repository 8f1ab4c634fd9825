"""docs/contracts.md says what the decoders accept. test_stored.py looks at the tables."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.docs import schema
from tests.docs.pages import blocks, first_code, page, rows, section
from tests.workers.fakes import message
from workers.contracts import decode_escalation, decode_fulfillment, decode_order_finished, decode_reminder
from workers.domain import bounds
from workers.domain.reasons import Reason, Source
from workers.domain.submissions import improper_fields, malformed_fields
from workers.errors import UndecodableError

PAGE = page("docs/contracts.md")
SHOWN = [json.loads(block) for block in blocks(PAGE, "json")]
SCHEMAS = {each["title"]: each for each in SHOWN if "$schema" in each}
EXAMPLES = [each for each in SHOWN if "$schema" not in each]
DECODERS: dict[str, Callable[..., object]] = {
    "OrderFulfillmentQueue": decode_fulfillment,
    "Escalation": decode_escalation,
    "Reminder": decode_reminder,
    "OrderFinished": decode_order_finished,
}
ARN = "arn:aws:states:us-east-1:111122223333:execution:Orders:one"
WHOLE: dict[str, dict[str, Any]] = {
    "OrderFulfillmentQueue": {"OrderId": "001", "ExecutionArn": ARN, "Resubmitted": True},
    "Escalation": {
        "OrderId": "001",
        "Reasons": ["INVALID_PRICE", "INVALID_CARD_NUMBER"],
        "Source": "workflow",
        "Detail": "Failed.",
        "ExecutionArn": ARN,
        "Attempts": 5,
        "Queue": "OrderFulfillmentQueue",
        "OriginMessageId": "m-1",
        "WaitingMessageId": "m-2",
    },
    "Reminder": {"CaseId": "001", "Episode": 1, "Tries": 1},
    "OrderFinished": {"OrderFinished": "001", "ExecutionArn": ARN},
}
# Some are right for one field or another, most for none.
VALUES: list[Any] = [
    *(None, True, False, 0, 1, 5, -1, 1.5, 10**6, 10**6 + 1, 10**30),
    *("", "001", "-1", "a b", "a" * 64, "a" * 65, "x" * 256, "x" * 257, "x" * 2048, "x" * 2049, "42", "é"),
    *(ARN, ARN + ":more", "arn:aws:states:us-east-1:1:execution:a:b", *Source, *Reason, "elsewhere"),
    *([], {}, [None], ["INVALID_PRICE"], ["NO_REASON"], ["INVALID_PRICE", "x"], list(Reason), [*Reason, "UNSPECIFIED"]),
]


def accepts(title: str, body: str) -> bool:
    try:
        return DECODERS[title](message(body)) is not None
    except UndecodableError:
        return False


def follows(title: str, document: object) -> bool:
    return schema.follows(SCHEMAS[title], document)


@pytest.mark.parametrize("title", DECODERS)
def test_a_message_with_every_field_follows_its_schema_and_is_decoded(title: str) -> None:
    assert set(WHOLE[title]) == set(SCHEMAS[title]["properties"])
    assert follows(title, WHOLE[title])
    assert accepts(title, json.dumps(WHOLE[title]))


@pytest.mark.parametrize(("title", "field"), [(title, field) for title in WHOLE for field in WHOLE[title]])
def test_schema_and_decoder_agree_on_every_value_of_a_field(title: str, field: str) -> None:
    bodies = [WHOLE[title] | {field: value} for value in VALUES]
    bodies.append({name: value for name, value in WHOLE[title].items() if name != field})
    agreed = [(body, accepts(title, json.dumps(body))) for body in bodies]
    assert [(body, follows(title, body)) for body in bodies] == agreed
    assert {accepted for _, accepted in agreed} == {True, False}


@pytest.mark.parametrize("title", ["OrderFulfillmentQueue", "Escalation"])
@pytest.mark.parametrize("order_id", ["4929123412345678", "a-4929-1234-1234-5678"])
def test_an_order_id_that_looks_like_a_card_number_is_refused_though_no_schema_says_so(
    title: str, order_id: str
) -> None:
    body = WHOLE[title] | {"OrderId": order_id}
    assert (follows(title, body), accepts(title, json.dumps(body))) == (True, False)


def test_a_whole_number_must_be_written_as_one_though_no_schema_says_so() -> None:
    for title, field in (("Escalation", "Attempts"), ("Reminder", "Episode"), ("Reminder", "Tries")):
        body = WHOLE[title] | {field: 1.0}
        assert (follows(title, body), accepts(title, json.dumps(body))) == (True, False)


@pytest.mark.parametrize("title", ["OrderFulfillmentQueue", "Escalation"])
@pytest.mark.parametrize(("body", "accepted"), [("001", True), ("42", True), ('"001"', False), ("a b", False)])
def test_a_bare_order_id_is_a_message(title: str, body: str, accepted: bool) -> None:
    assert accepts(title, body) is accepted


@pytest.mark.parametrize("title", DECODERS)
def test_unknown_fields_are_ignored(title: str) -> None:
    body = WHOLE[title] | {"More": {"of": "it"}}
    assert follows(title, body)
    assert accepts(title, json.dumps(body))


def test_the_schema_names_every_reason_and_source() -> None:
    properties = SCHEMAS["Escalation"]["properties"]
    assert properties["Reasons"]["items"]["enum"] == list(Reason)
    assert properties["Reasons"]["maxItems"] == len(Reason)
    assert properties["Source"]["enum"] == [*Source, None]


def test_every_schema_has_an_example_that_follows_it() -> None:
    for title, example in zip(SCHEMAS, EXAMPLES, strict=True):
        assert follows(title, example)
        assert accepts(title, json.dumps(example))


def test_every_reason_is_explained() -> None:
    explained = [name for cells in rows(section(PAGE, "Reasons of an escalation")) for name in first_code(cells[0])]
    assert explained == list(Reason)


ORDER = {"OrderId": "001", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": "1" * 16}
WRONG = {
    "OrderId": ["", "-1", "a" * 65, "4929123412345678", 1, None],
    "Name": ["", "x" * 257, 1, None],
    "ItemName": ["", "x" * 257, 1, None],
    "Price": ["x" * 257, 1, None],
    "CC": ["x" * 257, 1, None],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in WRONG for value in WRONG[field]])
def test_an_order_is_malformed_as_the_page_says(field: str, value: object) -> None:
    assert malformed_fields(ORDER) == []
    assert malformed_fields(ORDER | {field: value}) == [field]


def test_the_grammar_of_a_price_and_a_card_number_is_the_one_of_the_page() -> None:
    grammars = {cells[0]: cells[1] for cells in rows(section(PAGE, "The order"))}
    price = re.compile(first_code(grammars["`Price`"])[0])
    assert grammars["`CC`"] == "16 digits"
    for text in ("1", "0.01", "80000", "999999999999.99", "1000000000000", "-123", "01", "1.234", "1,5", "", ".5"):
        assert ("Price" not in improper_fields(ORDER | {"Price": text})) is (price.fullmatch(text) is not None)
    assert improper_fields(ORDER | {"Price": "0.00"}) == ["Price"]
    assert [improper_fields(ORDER | {"CC": "1" * digits}) for digits in (15, 16, 17)] == [["CC"], [], ["CC"]]


def test_the_bounds_of_a_case_are_those_of_the_page() -> None:
    listed = {name: what for names, what, _ in rows(section(PAGE, "EscalationTable")) for name in first_code(names)}
    for name, bound in {
        "Episodes": bounds.MAX_EPISODES,
        "Evidence": bounds.MAX_EVIDENCE,
        "ExecutionArns": bounds.MAX_EXECUTIONS,
        "MessageIds": bounds.MAX_MESSAGE_IDS,
        "Resolutions": bounds.MAX_RESOLUTIONS,
    }.items():
        assert str(bound) in listed[name], name
    assert f"The newest {bounds.MAX_EPISODE_ORDERS}" in listed["Episodes"]
