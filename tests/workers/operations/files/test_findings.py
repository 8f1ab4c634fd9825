"""What is said about a whole file: what was corrected in it, and why it should not be submitted as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.operations.files.encodings import Encoding
from workers.operations.files.findings import Findings, Skipped
from workers.operations.files.values import Correction

GOOD = "4929123412345678"
BROKEN = ["4929123412345680", "4111111111111110", "5500000000000000", "4000123412341230"]  # Wrong check digits.
GENUINE = ["4000000000000010", "5105105105105100"]  # They end with 0, which is their check digit.


def findings(*orders: tuple[str, str], order_id: str = "001", name: str = "Ada") -> Findings:
    """Return what is found in orders of these prices and card numbers, from line 2 on."""
    found = Findings()
    for line, (price, card) in enumerate(orders, 2):
        order = {"OrderId": order_id, "Name": name, "ItemName": "Bell", "Price": price, "CC": card}
        found.add_order(order, line)
    return found


def of_cards(*cards: str) -> Findings:
    return findings(*(("1", card) for card in cards))


def test_nothing_is_said_about_a_file_that_is_taken_as_it_is() -> None:
    found = findings(("1", GOOD), ("-1", GOOD))
    found.encoding = Encoding("utf-16")
    assert (found.notice(), list(found.warnings()), found.refusal()) == (None, [], None)


def test_corrections_are_counted_in_one_line() -> None:
    found = Findings(Encoding("windows-1252", guessed=True), {"order id": "OrderId"})
    order = {"OrderId": "001", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": GOOD}
    for line in (3, 5, 1_007):
        found.add_order(order, line, [Correction.DECIMAL_COMMA])
    found.skipped(Skipped.EMPTY_ROWS, 9)
    assert found.notice() == (
        'read as windows-1252; column "order id" read as OrderId; corrected decimal commas: 3 (first in line 3); '
        "rows without any value, skipped: 1 (first in line 9)"
    )


REASONS = "INVALID_PRICE: 2 (first in line 2), INVALID_CARD_NUMBER: 1 (first in line 3)"
ESCALATED = [
    (
        [("-1", GOOD), ("0", "12")],
        f"2 of 2 orders would be escalated: {REASONS}",
    ),
    (
        [("-1", GOOD)] * 4 + [("1", GOOD)] + [("-1", GOOD)] * 5,
        "9 of 10 orders would be escalated: INVALID_PRICE: 9 (first in line 2)",
    ),
]


@pytest.mark.parametrize(("orders", "text"), ESCALATED)
def test_a_file_of_which_most_orders_would_be_escalated_is_refused(orders: list[tuple[str, str]], text: str) -> None:
    assert findings(*orders).refusal() == (
        f"{text}; a price is above 0 and like 10.50, a card number has 16 digits; "
        "correct the file, or use --anyway to open a case for each"
    )


@pytest.mark.parametrize("orders", [[("-1", GOOD)], [("-1", "12")], [("-1", GOOD)] * 8 + [("1", GOOD)], []])
def test_one_order_or_some_that_would_be_escalated_are_no_reason_to_refuse(orders: list[tuple[str, str]]) -> None:
    assert findings(*orders).refusal() is None


def test_card_numbers_that_a_spreadsheet_has_rounded_are_refused() -> None:
    assert of_cards(*BROKEN).refusal() == (
        "4 of 4 card numbers end with 0 (first in line 2), which is a wrong check digit for 4 of them: a spreadsheet "
        "keeps only 15 digits; format the column as text before its values are entered, and export it again; "
        "--anyway submits them as they are"
    )
    assert of_cards(GENUINE[0], BROKEN[0]).refusal() is not None
    assert of_cards(*BROKEN, *BROKEN, BROKEN[0], GOOD).refusal() is not None


@pytest.mark.parametrize("cards", [GENUINE[:1], GENUINE, [GENUINE[0], GOOD], [GOOD], ["4929123412340"], []])
def test_genuine_card_numbers_may_end_with_0(cards: list[str]) -> None:
    found = of_cards(*cards)
    assert (found.refusal(), list(found.warnings())) == (None, [])


SOME_ROUNDED = [
    ([BROKEN[0]], "1 of 1", 2),
    ([BROKEN[0]] * 5, "5 of 5", 2),
    ([*BROKEN[:2], GOOD], "2 of 3", 2),
    ([GOOD, GENUINE[0], *BROKEN, BROKEN[0]], "5 of 7", 4),
    ([GOOD] * 9 + BROKEN[1:2], "1 of 10", 11),
    (BROKEN * 20 + [GOOD] * 20, "80 of 100", 2),
    ([GOOD] * 90 + [*BROKEN, *BROKEN, *BROKEN[:2]], "10 of 100", 92),
]


@pytest.mark.parametrize(("cards", "count", "line"), SOME_ROUNDED)
def test_any_card_number_that_may_be_rounded_is_a_warning(cards: list[str], count: str, line: int) -> None:
    found = of_cards(*cards)
    assert found.refusal() is None
    (warning,) = found.warnings()
    assert warning == (
        f"{count} card numbers end with 0, a wrong check digit (first in line {line}), and were probably rounded: a "
        "spreadsheet keeps only 15 digits; format the column as text before its values are entered, and export it again"
    )


@pytest.mark.parametrize("order_id", ["02-Jan", "2-Okt", "Jan-02", "1.Dec", "DEC-24"])
def test_an_order_id_that_looks_like_a_date_is_a_warning(order_id: str) -> None:
    (warning,) = findings(("1", GOOD), order_id=order_id).warnings()
    assert warning == (
        "OrderIds that look like dates: 1 (first in line 2); spreadsheets make 1-2 a date; "
        "format the column as text before its values are entered, and export it again"
    )


@pytest.mark.parametrize("order_id", ["2026-01-02", "bike-2", "2-January", "JAN", "02-Jan-x"])
def test_other_order_ids_are_no_dates(order_id: str) -> None:
    assert not list(findings(("1", GOOD), order_id=order_id).warnings())


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252"])
@pytest.mark.parametrize("text", ["J\u00fcrgen", "Zo\u00eb \u00c4", "Ma\u00f1ana", "5 \u20ac"])
def test_a_name_that_was_read_in_the_wrong_encoding_is_a_warning(text: str, encoding: str) -> None:
    misread = text.encode().decode(encoding)
    (warning,) = findings(("1", GOOD), name=misread).warnings()
    assert warning == (
        "names that look like UTF-8 read in another encoding: 1 (first in line 2); export the file again as UTF-8"
    )


@pytest.mark.parametrize(
    "name", ["J\u00fcrgen", "S\u00c3O", "\u00c2ge", "\u5f20", "A\u00a9", "\u00d1\u00d1", "\u0141\u00f3d\u017a"]
)
def test_other_names_are_not_misread(name: str) -> None:
    assert not list(findings(("1", GOOD), name=name).warnings())


@given(st.lists(st.tuples(st.sampled_from(["1", "-1", "x"]), st.sampled_from([GOOD, "12", *BROKEN, *GENUINE]))))
def test_nothing_that_is_said_shows_a_value(orders: list[tuple[str, str]]) -> None:
    found = findings(*orders)
    said = " ".join(filter(None, [found.notice(), found.refusal(), *found.warnings(), repr(found)]))
    assert not any(card in said for card in [GOOD, *BROKEN, *GENUINE])
