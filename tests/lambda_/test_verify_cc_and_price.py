"""The Lambda function, called as Lambda calls it. It is loaded from its file, because `lambda` is a keyword."""

import importlib.util
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "lambda" / "verify_cc_and_price.py"
PROPER_CC = "1234123456785678"
PROPER_PRICE = "80000"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_cc_and_price", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def verify(event: object) -> dict[str, Any]:
    verdict: dict[str, Any] = load().handler(event, None)
    return verdict


def order(**fields: object) -> dict[str, object]:
    return {"OrderId": "001", "CC": PROPER_CC, "Price": PROPER_PRICE} | fields


@pytest.mark.parametrize(
    ("cc", "price", "reasons"),
    [
        ("1234123456785678", "80000", []),
        ("1234123456785678", "-123", ["INVALID_PRICE"]),
        ("123412345678", "80000", ["INVALID_CARD_NUMBER"]),
        ("123412345678", "-123", ["INVALID_CARD_NUMBER", "INVALID_PRICE"]),
    ],
)
def test_every_reason_is_given_in_a_fixed_order(cc: str, price: str, reasons: list[str]) -> None:
    assert verify(order(CC=cc, Price=price)) == {"OrderId": "001", "Status": 0 if reasons else 1, "Reasons": reasons}


@pytest.mark.parametrize(
    "price", ["1", "9", "10", "0.01", "0.1", "0.10", "1.0", "1.00", "80000.5", "999999999999", "999999999999.99"]
)
def test_a_well_formed_price_above_zero_is_proper(price: str) -> None:
    assert verify(order(Price=price))["Status"] == 1


@pytest.mark.parametrize(
    "price",
    [
        *("", "0", "0.0", "0.00", "00", "01", "00.5", "1.", ".5", ".", "1.234", "-1", "-0.01", "+1", "1,00", "1e3"),
        *("0x10", "NaN", "Infinity", " 1", "1 ", "1\n", "\n1", "1.5\n", "1000000000000", "1000000000000.00", "1_000"),
        *("\u0661\u0662", "\uff11", "\u00b2", "1\u0000", "8" * 1000),  # Arabic-Indic, full-width, superscript digits
        *(None, 1, 1.5, True, ["1"], {"Price": "1"}),
    ],
)
def test_any_other_price_is_not_proper(price: object) -> None:
    assert verify(order(Price=price)) == {"OrderId": "001", "Status": 0, "Reasons": ["INVALID_PRICE"]}


@pytest.mark.parametrize("cc", ["0000000000000000", "9999999999999999"])
def test_sixteen_digits_are_a_proper_card_number(cc: str) -> None:
    assert verify(order(CC=cc))["Status"] == 1


@pytest.mark.parametrize(
    "cc",
    [
        *("", "123412345678567", "12341234567856789", "1234-1234-5678-5678", "1234 1234 5678 5678"),
        *(PROPER_CC + "\n", "\n" + PROPER_CC, PROPER_CC + " ", "123412345678567a", "+123412345678567"),
        *("\u0661" * 16, "\uff11" * 16, "\u00b2" * 16, PROPER_CC * 1000),
        *(None, 1234123456785678, [PROPER_CC], {"CC": PROPER_CC}, True),
    ],
)
def test_any_other_card_number_is_not_proper(cc: object) -> None:
    assert verify(order(CC=cc)) == {"OrderId": "001", "Status": 0, "Reasons": ["INVALID_CARD_NUMBER"]}


@pytest.mark.parametrize("event", [None, [], "x", 1, {}, [order()], {"OrderId": 1}])
def test_any_event_gets_an_answer(event: object) -> None:
    assert verify(event) == {"OrderId": None, "Status": 0, "Reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"]}


def test_the_answer_holds_nothing_of_the_order_but_its_id() -> None:
    assert verify(order(Name="Ada", Secret="4111111111111111")).keys() == {"OrderId", "Status", "Reasons"}


@pytest.mark.parametrize("fields", [{}, {"CC": "12341234"}, {"Price": PROPER_CC}])
def test_nothing_is_printed_or_logged(
    fields: dict[str, object], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET)
    verify(order(**fields))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
