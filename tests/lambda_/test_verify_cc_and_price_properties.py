"""The function's verdict for any order agrees with the grammar that `orders submit` checks."""

import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.lambda_.test_verify_cc_and_price import load
from tests.strategies import any_text, card_numbers, json_values, matching
from workers.domain.submissions import improper_fields

VERIFY = load().handler
PRICES = (
    st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | matching(r"[0-9]{1,14}(\.[0-9]{0,3})?", fullmatch=True)
    | st.sampled_from(
        [
            "0",
            "0.00",
            "0.01",
            "00",
            "01",
            "1.",
            ".5",
            "+1",
            "-1",
            "1e3",
            "1\n",
            "\u0661",
            "999999999999.99",
            "9" * 12,
            "9" * 13,
        ]
    )
)
NUMBERS = (
    card_numbers | st.text("0123456789", min_size=15, max_size=17) | st.sampled_from(["\u0661" * 16, "1" * 16 + "\n"])
)


@given(PRICES | any_text, NUMBERS | any_text)
def test_the_verdict_is_that_of_the_grammar_in_python(price: str, number: str) -> None:
    reasons = {"Price": "INVALID_PRICE", "CC": "INVALID_CARD_NUMBER"}
    wrong = improper_fields({"OrderId": "1", "Price": price, "CC": number})
    verdict = VERIFY({"OrderId": "1", "Price": price, "CC": number}, None)
    assert verdict == {
        "OrderId": "1",
        "Status": 0 if wrong else 1,
        "Reasons": sorted(reasons[field] for field in wrong),
    }


@given(PRICES)
def test_a_price_is_valid_if_it_is_positive_and_has_two_decimals_at_most(price: str) -> None:
    plain = re.fullmatch(r"[0-9]+(\.[0-9]+)?", price, re.ASCII) is not None
    whole, _, decimals = price.partition(".")
    valid = plain and Decimal(price) > 0 and len(whole) <= 12 and len(decimals) <= 2 and str(int(whole)) == whole
    assert ("Price" in improper_fields({"Price": price, "CC": "1" * 16})) is not valid


@given(NUMBERS)
def test_a_card_number_is_valid_if_it_has_sixteen_digits(number: str) -> None:
    valid = len(number) == 16 and set(number) <= set("0123456789")
    assert ("CC" in improper_fields({"Price": "1", "CC": number})) is not valid


@given(json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(("OrderId", "Price", "CC"), json_values)))
def test_any_event_has_a_verdict(event: object) -> None:
    verdict = VERIFY(event, None)
    assert verdict["Status"] == (0 if verdict["Reasons"] else 1)
    assert set(verdict["Reasons"]) <= {"INVALID_CARD_NUMBER", "INVALID_PRICE"}
    assert verdict["OrderId"] is None or verdict["OrderId"] == event["OrderId"]  # type: ignore[index]
