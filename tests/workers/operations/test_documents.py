"""Stored orders and cases as JSON documents: every field of the convention, whatever is stored."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.docs.schema import follows
from tests.json_documents import SCHEMAS
from tests.strategies import unicode_text
from workers.aws.case_items import case_item
from workers.aws.items import from_item
from workers.domain.cases import Case, CaseState, Claim, Dropped, HandledReminder, Resolution
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity
from workers.operations.documents import case_document, case_row, order_document, order_now, record_document

AT = "2026-11-22T10:00:00.000000Z"
CASE = Case(
    case_id="001",
    state=CaseState.OPEN,
    severity=Severity.WARNING,
    opened_at=AT,
    updated_at=AT,
    reasons=(Reason.INVALID_PRICE,),
    claim=Claim(actor="ada", note="x", at=AT, episode=1, number=1, order_id="001", execution_arn="arn"),
    dropped=Dropped(evidence=3),
    reminder=HandledReminder(episode=1, tries=1, message_id="m", at=AT),
    opened_by="m",
    version=3,
)
INTERNAL = {"open_key", "version", "opened_by", "reminder", "execution_arn"}
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | unicode_text | st.binary(),
    lambda values: st.lists(values) | st.dictionaries(unicode_text, values),
    max_leaves=5,
)


def test_what_was_recorded_of_an_order_has_its_four_fields_and_a_time() -> None:
    item = {"OrderId": "001", "Name": "Ada", "ItemName": "Bell", "Price": 12, "CC": "****"}
    assert record_document("2026-11-22 11:00:00+01:00", item) == {
        "at": AT,
        "name": "Ada",
        "item_name": "Bell",
        "price": "12",
        "cc": "****",
    }


def test_a_case_and_its_stored_form_are_the_same_document() -> None:
    document = case_document(CASE)
    assert document == case_document(from_item(case_item(CASE)))
    assert not INTERNAL & set(document)
    assert (document["case_id"], document["reasons"], document["order"]) == ("001", ["INVALID_PRICE"], None)
    assert (document["claim"]["actor"], document["dropped"]["evidence"], document["dropped"]["routed"]) == ("ada", 3, 0)
    assert (document["first_seen_at"], document["last_seen_at"]) == (AT, AT)
    assert follows(SCHEMAS["escalations show"], document | {"order_now": None})


def test_the_row_of_a_case_names_its_newest_execution() -> None:
    assert case_row(CASE, None)["execution_arn"] is None
    assert case_row(replace(CASE, execution_arns=("first", "second", "third")), None)["execution_arn"] == "third"


def test_the_row_of_a_case_has_the_resolution_of_its_episode_and_the_order_of_now() -> None:
    record = Resolution(action="close", episode=2, actor="ada", note="as agreed", at=AT)
    resolved = replace(CASE, state=CaseState.RESOLVED, episode=2, resolutions=(record,))
    row = case_row(resolved, Order("001", OrderStatus.CANCELLED, None))
    names = ("resolved_at", "resolution", "actor", "note", "order_status")
    assert [row[name] for name in names] == [AT, "close", "ada", "as agreed", "CANCELLED"]
    assert [case_row(CASE, None)[name] for name in names] == [None] * 5


def test_an_order_has_every_field_and_no_internal_one() -> None:
    item = {"OrderId": "001", "Status": "RECEIVED", "Price": "12.50", "OpenKey": "RECEIVED#0", "Trials": 1}
    document = order_document(item | {"LastTrial": "m/1", "ExpiresAt": 1_764_000_000})
    assert follows(SCHEMAS["list"], [document])
    assert (document["price"], document["attempts"], document["reasons"]) == ("12.50", 0, [])
    assert (document["expires_at"], document["fulfilled_at"]) == ("2025-11-24T16:00:00.000000Z", None)


def test_an_order_beside_its_case_has_the_same_names() -> None:
    document = order_now(Order("001", OrderStatus.RECEIVED, None, price="12.50"))
    assert document is not None
    assert document.items() <= (order_document({"OrderId": "001", "Status": "RECEIVED", "Price": "12.50"})).items()
    assert order_now(None) is None


@pytest.mark.parametrize(("name", "of"), [("UpdatedAt", order_document), ("OpenedAt", case_document)])
def test_a_time_that_was_edited_is_left_out(name: str, of: Any) -> None:
    field = f"{name.removesuffix('At').lower()}_at"
    assert of({name: "yesterday"})[field] is None
    assert of({name: "2026-11-22 11:00:00+01:00"})[field] == AT


@given(st.dictionaries(st.sampled_from(["Price", "UpdatedAt", "Evidence", "Order", "Claim", "Reasons", "At"]), VALUES))
def test_whatever_was_edited_in_a_table_is_shown_with_the_same_fields(item: dict[str, Any]) -> None:
    assert order_document(item).keys() == order_document({}).keys()
    assert case_document(item).keys() == case_document({}).keys()


def test_what_a_case_lacks_is_empty_or_has_its_default() -> None:
    assert case_document({}) == dict.fromkeys(case_document({})) | {"episode": 1} | {
        name: []
        for name in (
            *("channels", "episodes", "evidence", "execution_arns", "message_ids", "reasons"),
            *("rejected_executions", "resolutions", "routed", "sources"),
        )
    }


def test_the_parts_of_a_case_are_documents_of_their_own() -> None:
    document = case_document({"Episodes": [{"Number": 1, "Reasons": ["x"]}, "edited"], "Order": {"Price": 12}})
    first, second = document["episodes"]
    assert (first["number"], first["reasons"], first["opened_at"], second) == (1, ["x"], None, "edited")
    assert document["order"]["price"] == "12"
