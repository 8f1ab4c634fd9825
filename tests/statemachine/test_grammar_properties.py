"""The grammar of an order in JSONata and the one in Python agree for any order."""

from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st
from jsonata import Jsonata

from tests.statemachine.test_definition import PROPER, UUID, load, recorded
from tests.strategies import any_text, card_numbers, digit_text, digits, json_values, order_ids, text, uuids
from workers.domain.cards import mask
from workers.domain.orders import is_order_id
from workers.domain.submissions import malformed_fields, recorded_fields

STATE = load()["States"]["Check the order"]
NOT_AN_OBJECT, WELL_FORMED = (Jsonata(choice["Condition"][2:-2].strip()) for choice in STATE["Choices"])
MALFORMED = Jsonata(STATE["Assign"]["malformed"][2:-2].strip())

NEAR_IDS = (
    order_ids
    | digits(12, 14).map(lambda run: run.replace(" ", "-"))
    | st.integers(63, 65).map("x".__mul__)
    | st.builds("a{}{}".format, uuids, st.sampled_from(["", "1", "_"]))
    | st.lists(digits(1, 14) | uuids | st.sampled_from("aZ._- \n\u00e9"), min_size=1, max_size=5).map("".join)
    | any_text
)
TEXTS = st.sampled_from(["x" * 256, "x" * 257, "", "\U0001f6b2" * 256, "\U0001f6b2" * 257]) | text
ORDERS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"Name": TEXTS},
    optional={"OrderId": NEAR_IDS | json_values, **dict.fromkeys(("ItemName", "Price", "CC"), TEXTS | json_values)},
)


@given(ORDERS)
def test_both_grammars_name_the_same_fields(order: dict[str, Any]) -> None:
    fields = malformed_fields(order)
    bindings = {"states": {"input": order}}
    assert not NOT_AN_OBJECT.evaluate(None, bindings)
    assert bool(WELL_FORMED.evaluate(None, bindings)) is (not fields)
    assert MALFORMED.evaluate(None, bindings)["Detail"] == f"Malformed fields: {', '.join(fields)}."


@given(NEAR_IDS)
@example(f"a{UUID}1")
@example(f"1{UUID}")
@example(f"{UUID}-{UUID}"[:64])
def test_both_grammars_accept_the_same_ids(order_id: str) -> None:
    accepted = WELL_FORMED.evaluate(None, {"states": {"input": PROPER | {"OrderId": order_id}}})
    assert bool(accepted) is is_order_id(order_id)


@given(json_values)
def test_an_input_that_is_not_an_object_is_malformed(order: object) -> None:
    assume(not isinstance(order, dict))
    assert NOT_AN_OBJECT.evaluate(None, {"states": {"input": order}})
    assert malformed_fields(order) == list(PROPER)


@given(st.sampled_from(["Name", "ItemName", "Price"]), digit_text | card_numbers)
def test_a_recorded_field_has_no_card_number(field: str, value: str) -> None:
    """The definition masks the digits in UUIDs, timestamps and ids of traces, too: an order's texts need none."""
    assert mask(recorded(field, value)) == recorded(field, value)
    if mask(value) == value and ":" not in value and "trace_id" not in value and value.count("-") < 4:
        assert recorded(field, value) == value


@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(("Name", "ItemName", "Price"), digit_text | card_numbers | uuids | text),
            "CC": card_numbers | digits(15, 17) | digit_text | text,
        }
    )
)
@example({"Name": "1" * 13, "ItemName": UUID, "Price": "1-2 3" * 9, "CC": "1" * 16})
@example({"Name": "\u0661" * 13, "ItemName": "1" * 12, "Price": "1\n" * 13, "CC": "\u0661" * 16})
@example({"Name": "x", "ItemName": "$1" + "1" * 13, "Price": "", "CC": "1" * 16 + "\n"})
def test_python_knows_how_a_field_is_recorded(order: dict[str, str]) -> None:
    assert recorded_fields(order) == {field: recorded(field, value) for field, value in order.items()}
