"""What a spreadsheet does to values: corrected if it can only mean one thing, else refused, else left alone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, digit_text
from workers.domain.orders import MAX_TEXT_CHARS, is_order_id
from workers.domain.submissions import improper_fields
from workers.operations.files.values import (
    Correction,
    Value,
    corrected,
    corrected_fields,
    is_card_number,
    mask_card_numbers,
    passes_check_digit,
)

CARD = "4929123412345678"
PRICE_FORMS = {
    "10,50": ("10.50", [Correction.DECIMAL_COMMA]),
    "10,5": ("10.5", [Correction.DECIMAL_COMMA]),
    ",5": ("0.5", [Correction.DECIMAL_COMMA, Correction.NO_ZERO]),
    ".50": ("0.50", [Correction.NO_ZERO]),
    "1,234.50": ("1234.50", [Correction.THOUSANDS]),
    "1,234,567": ("1234567", [Correction.THOUSANDS]),
    "1.234.567": ("1234567", [Correction.THOUSANDS]),
    "80 000": ("80000", [Correction.THOUSANDS]),
    "80'000.5": ("80000.5", [Correction.THOUSANDS]),
    "1.234,50": ("1234.50", [Correction.THOUSANDS, Correction.DECIMAL_COMMA]),
    "1\u202f234,50": ("1234.50", [Correction.THOUSANDS, Correction.DECIMAL_COMMA]),
    "12.5000": ("12.50", [Correction.ZEROS]),
    "0,500": ("0.50", [Correction.DECIMAL_COMMA, Correction.ZEROS]),
    "1234,500": ("1234.50", [Correction.DECIMAL_COMMA, Correction.ZEROS]),
    "+80000": ("80000", [Correction.SIGN]),
    "+10,50": ("10.50", [Correction.SIGN, Correction.DECIMAL_COMMA]),
    "80000.": ("80000", [Correction.BARE_POINT]),
    "80000,": ("80000", [Correction.BARE_POINT]),
    "0010.50": ("10.50", [Correction.LEADING_ZEROS]),
    "007.5": ("7.5", [Correction.LEADING_ZEROS]),
    "00.50": ("0.50", [Correction.LEADING_ZEROS]),
    "0080": ("80", [Correction.LEADING_ZEROS]),
    "+0010.": ("10", [Correction.SIGN, Correction.LEADING_ZEROS, Correction.BARE_POINT]),
    "'10.50": ("10.50", [Correction.WRAPPED]),
    '="10,50"': ("10.50", [Correction.WRAPPED, Correction.DECIMAL_COMMA]),
    "\u200e10.50\u200b": ("10.50", [Correction.INVISIBLE]),
}
CARD_FORMS = {
    "4929 1234 1234 5678": Correction.GROUPS,
    "4929-1234-1234-5678": Correction.GROUPS,
    "4929 123412 345678": Correction.GROUPS,
    "4929\u00a01234\u00a01234\u00a05678": Correction.GROUPS,
    "4929.1234.1234.5678": Correction.GROUPS,
    "4,929,123,412,345,678": Correction.GROUPS,
    "4'929'123'412'345'678": Correction.GROUPS,
    f"{CARD}.0": Correction.WHOLE,
    f"{CARD},00": Correction.WHOLE,
    f"'{CARD}": Correction.WRAPPED,
    f'="{CARD}"': Correction.WRAPPED,
    f"\ufeff{CARD}": Correction.INVISIBLE,
}


@pytest.mark.parametrize("text", PRICE_FORMS)
def test_a_price_that_can_only_be_one_is_corrected(text: str) -> None:
    price, corrections = PRICE_FORMS[text]
    assert corrected("Price", text) == Value(price, tuple(corrections))


@pytest.mark.parametrize("text", CARD_FORMS)
def test_a_card_number_that_can_only_be_one_is_corrected(text: str) -> None:
    assert corrected("CC", text) == Value(CARD, (CARD_FORMS[text],))


@pytest.mark.parametrize(("text", "kind"), [("'001", Correction.WRAPPED), ('="001"', Correction.WRAPPED)])
def test_an_order_id_that_is_marked_as_text_is_corrected(text: str, kind: Correction) -> None:
    assert corrected("OrderId", text) == Value("001", (kind,))


@pytest.mark.parametrize(
    ("field", "text", "fault"),
    [
        ("Price", "80,000", "Price has a comma before three digits, which may be decimals or thousands"),
        ("Price", "'80,000", "Price has a comma before three digits, which may be decimals or thousands"),
        ("Price", "80.000", "Price has a point before three digits, which may be decimals or thousands"),
        ("Price", "1.250", "Price has a point before three digits, which may be decimals or thousands"),
        *(
            ("Price", text, "Price has a currency")
            for text in ("$10.50", "10,50 \u20ac", "EUR 10", "10.50 USD", "R$ 10", "CA$10", "kr 5", "5 z\u0142", "-$5")
        ),
        ("Price", "+80,000", "Price has a comma before three digits, which may be decimals or thousands"),
        *(("Price", text, "Price is in scientific notation") for text in ("8E+04", "8E04", "1e3", "1.5e3", "+1E3")),
        *(
            ("CC", text, "CC is in scientific notation, so its last digits are lost")
            for text in ("4.11111E+15", "4,11111E+15", "4.1E15", "4.929123412345678e+15", "4E+15", '="4.1E+15"')
        ),
        ("OrderId", "1.23457E+11", "OrderId is in scientific notation"),
    ],
)
def test_what_may_be_several_values_or_has_lost_digits_is_a_fault(field: str, text: str, fault: str) -> None:
    value = corrected(field, text)
    assert (value.text, value.corrections) == (text, ())
    assert (value.fault or "").startswith(fault)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(
            ("Price", text)
            for text in (
                "",
                "-123",
                "0",
                "0,00",
                "00",
                "+",
                "+-1",
                "++1",
                "1..",
                "-007.5",
                "10.50.",
                "0.125",
                "1,234,50",
                "1,2,3",
                "12a",
                "Ada",
                "10-",
                "1" * 9000,
            )
        ),
        *(
            ("CC", text)
            for text in (
                "",
                "123412345678",
                "378282246310005",
                "4929 1234 1234",
                "492912341234567,8",
                "9007199254740993.0",
                "49.29.12.34.12.34.56.78",
                f"{CARD} {CARD}",
            )
        ),
        *(("OrderId", text) for text in ("", "a b", "'a b", "1E5", "01/02/2026", '="001', '=001"', '001"')),
        *(("Name", text) for text in ("'t Hooft", '="Ada"', "10,50", "\u200bAda", "$", "4.1E+15")),
        ("ItemName", "10,50"),
    ],
)
def test_other_values_stay_as_they_are(field: str, text: str) -> None:
    assert corrected(field, text) == Value(text)


FIELDS = st.sampled_from(["OrderId", "Name", "ItemName", "Price", "CC"])
NEARLY = st.text("0123456789.,'-+E $\u20ac\u00a0=\"\ufeff", max_size=24)


def is_proper(field: str, text: str) -> bool:
    if field == "OrderId":
        return is_order_id(text)
    return field not in improper_fields({"Price": "1", "CC": "0" * 16} | {field: text})


@given(FIELDS, (any_text | digit_text | NEARLY).map(str.strip))  # As a file is read.
def test_what_is_fine_is_never_changed_and_what_is_changed_is_fine(field: str, text: str) -> None:
    value = corrected(field, text)
    if is_proper(field, text) or field in {"Name", "ItemName"}:
        assert value == Value(text)
    elif value.text == text:
        assert value.corrections == ()
    else:
        assert value.corrections
        assert value.fault is None
        assert is_proper(field, value.text)
        assert re.sub("[^1-9]", "", value.text) == re.sub("[^1-9]", "", text)  # No digit but zeros comes or goes.


@given(FIELDS, NEARLY)
def test_a_fault_never_shows_a_value(field: str, text: str) -> None:
    if fault := corrected(field, text).fault:
        assert fault.startswith(field)
        assert not re.search(r"[0-9]", fault.replace("10.50", ""))


@given(st.integers(0, 10**12 - 1), st.sampled_from([",", "."]), st.integers(0, 99))
def test_any_price_with_a_decimal_comma_is_read(whole: int, point: str, cents: int) -> None:
    value = corrected("Price", f"{whole}{point}{cents:02}")
    assert value.text == (f"{whole}.{cents:02}" if whole or cents else f"{whole}{point}{cents:02}")


@pytest.mark.parametrize(
    ("digits", "passes"),
    [
        ("4111111111111111", True),
        ("4111111111111110", False),
        ("4000000000000010", True),
        ("4000000000000000", False),
        ("378282246310005", True),
    ],
)
def test_the_check_digit_is_that_of_card_numbers(digits: str, passes: bool) -> None:
    assert passes_check_digit(digits) == passes


@given(st.text("0123456789 -.,'\u00a0\u2010\u200b") | digit_text, st.sampled_from(["", "a", " ", ","]))
def test_what_would_be_read_as_a_card_number_is_masked_in_any_text(text: str, around: str) -> None:
    masked = mask_card_numbers(f"{around}{text}{around}")
    assert mask_card_numbers(masked) == masked
    if is_proper("CC", corrected("CC", text).text):
        assert sum(map(str.isdigit, masked)) < 4


@pytest.mark.parametrize(
    "card",
    [
        CARD,
        *(
            f"4929{between}1234{between}1234{between}5678"
            for between in (" ", "-", ".", "'", "\u00a0", "\u2011", "\u200b")
        ),
        "4.929.123.412.345.678",
    ],
)
def test_a_card_number_in_a_text_is_masked_in_each_of_its_forms(card: str) -> None:
    assert mask_card_numbers(f"a {card}, b") == "a ****, b"


def test_other_numbers_are_not_masked() -> None:
    text = "1.234.567,50;2026-11-26;12,34,56,78,90,12,34,56;123 456 789 012"
    assert mask_card_numbers(text) == text


def test_only_the_values_of_an_order_that_cannot_be_taken_are_looked_at() -> None:
    order = {"OrderId": "001", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": CARD}
    assert corrected_fields(order) == {}
    assert corrected_fields(order | {"Price": "10,50"}) == {"Price": Value("10.50", (Correction.DECIMAL_COMMA,))}
    assert corrected_fields(order | {"OrderId": "'001"}) == {"OrderId": Value("001", (Correction.WRAPPED,))}


@pytest.mark.parametrize(("text", "is_one"), [(CARD, True), (CARD[1:], False), ("4929 1234 1234 5678", False)])
def test_a_card_number_has_16_digits(text: str, *, is_one: bool) -> None:
    assert is_card_number(text) is is_one


def test_the_largest_card_number_that_a_spreadsheet_keeps_is_corrected() -> None:
    assert corrected("CC", "9007199254740992.0") == Value("9007199254740992", (Correction.WHOLE,))


def test_a_value_that_is_as_long_as_allowed_is_corrected() -> None:
    zeros = "0" * (MAX_TEXT_CHARS - 1)
    assert corrected("Price", f"{zeros}5") == Value("5", (Correction.LEADING_ZEROS,))
    assert corrected("Price", f"{zeros}50") == Value(f"{zeros}50")
