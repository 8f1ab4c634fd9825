"""Orders of a test: what is submitted, and what is said of an order that does not come."""

import re
from decimal import Decimal

import pytest

from workers.testing.orders import as_text, workflow


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("129.90", "129.90"),
        ("", ""),
        (80, "80"),
        (-1, "-1"),
        (129.9, "129.9"),
        (1e16, "10000000000000000"),
        (Decimal("129.90"), "129.90"),
        (Decimal("8E+1"), "80"),
        (4000001234567899, "4000001234567899"),
        (None, None),
    ],
)
def test_a_number_is_submitted_as_the_text_that_an_order_has(given: object, text: str | None) -> None:
    assert as_text("price", given) == text


@pytest.mark.parametrize("given", [True, ["80"], {}, b"80"])
def test_any_other_value_is_refused_in_one_line(given: object) -> None:
    line = f"orders.submit: price is {given!r}, must be a text or a number, or None for a malformed order"
    with pytest.raises(TypeError, match=re.escape(line)):
        as_text("price", given)


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        ({"status": "RUNNING"}, " (its workflow is RUNNING)"),
        (
            {"status": "FAILED", "error": "MalformedOrder", "cause": "Malformed fields: Price."},
            " (its workflow is FAILED, MalformedOrder: Malformed fields: Price.)",
        ),
    ],
)
def test_what_the_workflow_did_is_said_with_its_reason(execution: dict[str, str], text: str) -> None:
    assert workflow(execution) == text
