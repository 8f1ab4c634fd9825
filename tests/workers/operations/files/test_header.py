"""Which columns of a table are an order's fields, whatever program wrote the header."""

import csv
import re
from collections.abc import Sequence

import pytest
from hypothesis import given

from tests.strategies import any_text
from workers.operations.errors import OperationError
from workers.operations.files.header import FIELDS, delimiter_of, header_of, read_columns, separator_hint, separator_of

CARD = "4929123412345678"
GERMAN = {"OrderId": "Bestellnr", "CC": "Card number"}


def refusal(row: Sequence[str], columns: dict[str, str] | None = None) -> str:
    with pytest.raises(OperationError) as raised:
        header_of("x:1", row, columns or {})
    return str(raised.value)


SPELLINGS = [
    ("OrderId", "Name", "ItemName", "Price", "CC"),
    ("order id", "NAME", "Item_Name", "price", "cc"),
    ("Order-ID", "Name", "ITEM NAME", "Price", "C.C."),
]


@pytest.mark.parametrize("row", SPELLINGS)
def test_headers_may_be_spelled_differently(row: tuple[str, ...]) -> None:
    header = header_of("x:1", row, {})
    assert header.places == {field: place for place, field in enumerate(FIELDS)}
    assert header.renamed == {name: field for name, field in zip(row, FIELDS, strict=True) if name != field}


def test_of_two_spellings_of_a_field_a_person_must_map_one() -> None:
    row = ["price", *FIELDS, "cc"]
    assert 'repeated: Price ("price", "Price"), CC ("CC", "cc"); it has ' in refusal(row)
    header = header_of("x:1", row, {"Price": "Price", "CC": "cc"})
    assert (header.places["Price"], header.places["CC"]) == (4, 6)
    # What is mapped to one field is not another spelling of a second one.
    header = header_of("x:1", [*FIELDS, "NAME"], {"ItemName": "NAME"})
    assert (header.places["Name"], header.places["ItemName"]) == (1, 5)


def test_columns_are_mapped() -> None:
    header = header_of("x:1", ["Bestellnr ", "Name", "ItemName", "Price", "card_number", "CC"], GERMAN)
    assert (header.places["OrderId"], header.places["CC"], header.width) == (0, 4, 6)
    assert header.renamed == {"Bestellnr": "OrderId", "card_number": "CC"}


ROW = ["001", "Ada", "Bell", "1", CARD]  # Of a file without a header.
HAS, TWO = '"Name", "ItemName", "Price"', '("orderid", "Order_Id")'


@pytest.mark.parametrize(
    ("row", "columns", "problem"),
    [
        (FIELDS[1:], {}, f'missing: OrderId; it has {HAS}, "CC"; --columns maps others'),
        (ROW, {}, "missing: OrderId, Name, ItemName, Price, CC; is this line the header?; --columns maps others"),
        (
            ROW,
            GERMAN,
            'missing: OrderId ("Bestellnr"), Name, ItemName, Price, CC ("Card number"); is this line the header?',
        ),
        ([*FIELDS[:4], CARD], {}, f'missing: CC; it has "OrderId", {HAS}, "****"; --columns maps others'),
        (
            [*FIELDS, "Price"],
            {},
            f'repeated: Price; it has "OrderId", {HAS}, "CC", "Price"; --columns maps others',
        ),
        (
            ["orderid", "Order_Id", *FIELDS[1:]],
            {},
            f'repeated: OrderId {TWO}; it has "orderid", "Order_Id", {HAS}, "CC"; --columns maps others',
        ),
        (
            ["orderid", "Order_Id", "ORDERID", *FIELDS[1:]],
            {},
            f'repeated: OrderId {TWO}; it has "orderid", "Order_Id", "ORDERID", {HAS}, "CC"; --columns maps others',
        ),
        (FIELDS, GERMAN, f'missing: OrderId ("Bestellnr"), CC ("Card number"); it has "OrderId", {HAS}, "CC"'),
        ([], {}, "missing: OrderId, Name, ItemName, Price, CC; is this line the header?; --columns maps others"),
    ],
)
def test_a_wrong_header_is_refused_with_what_it_lacks_and_what_it_has(
    row: Sequence[str], columns: dict[str, str], problem: str
) -> None:
    assert refusal(row, columns) == f"x:1: the header must have each of {', '.join(FIELDS)} once; {problem}"


def test_two_fields_of_one_column_are_refused() -> None:
    assert refusal([*FIELDS], {"Name": "ItemName"}) == 'x:1: Name and ItemName have the same column, "ItemName"'


def test_a_header_is_shown_cut_and_never_whole_however_long_it_is() -> None:
    shown = refusal(["OrderId", "x" * 500, f"Card {CARD}", *map(str, range(500))])
    assert CARD not in shown
    assert '"Card ****"' in shown
    assert len(shown) < 954


def test_a_header_that_is_not_csv_is_refused() -> None:
    with pytest.raises(OperationError, match="missing: OrderId, Name"):
        header_of("x:1", csv.Error(), {})


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", {}),
        ("OrderId=Bestellnr", {"OrderId": "Bestellnr"}),
        ('OrderId=Bestellnr,CC="Card number"', GERMAN),
        (" order_id = Bestellnr , cc = Card number ,", GERMAN),
        ('Name="Last, first",Price="The ""price"""', {"Name": "Last, first", "Price": 'The "price"'}),
    ],
)
def test_a_mapping_of_columns_is_read(text: str, columns: dict[str, str]) -> None:
    assert read_columns(text) == columns


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Bestellnr", "must be like OrderId=Number,CC=Card"),
        ('OrderId="a', "must be like OrderId=Number,CC=Card"),
        (f"{CARD}=x", '"****" is not a field: it must be one of OrderId, Name, ItemName, Price, CC'),
        ("OrderId=", "OrderId has no header"),
        ("OrderId=a,OrderId=b", "OrderId or its header is there twice"),
        ("OrderId=a,Name=a", "Name or its header is there twice"),
    ],
)
def test_a_wrong_mapping_of_columns_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        read_columns(text)


@given(any_text)
def test_any_mapping_is_read_or_refused(text: str) -> None:
    try:
        columns = read_columns(text)
    except ValueError:
        return
    assert columns.keys() <= set(FIELDS)


@pytest.mark.parametrize(
    ("line", "separator"),
    [("sep=;\r\n", ";"), ("SEP=,\n", ","), ('"sep=|"\n', "|"), ("sep=\t", "\t"), ("sep=;;;;;\r\n", ";")],
)
def test_a_first_line_may_name_the_separator(line: str, separator: str) -> None:
    assert separator_of(line) == separator


@pytest.mark.parametrize("line", ["sep=\n", "separator=;\n", "OrderId;sep=;\n", "sep=;;,\n", "sep=ab\n", ""])
def test_other_lines_name_no_separator(line: str) -> None:
    assert separator_of(line) is None


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("other", [",,,,,,,", ";;;;;;;", "|||||||"])
def test_the_delimiter_is_the_one_that_separates_the_fields(delimiter: str, other: str) -> None:
    line = delimiter.join(["order id", "Name", "ItemName", "Price", "CC", f'"{other}"'])
    assert delimiter_of(line, {}) == delimiter


def test_the_delimiter_of_a_mapped_header_is_found() -> None:
    assert delimiter_of("Nr;Kunde, Name;a,b,c,d,e;Preis;Karte", {"OrderId": "Nr", "Price": "Preis"}) == ";"


def test_without_known_columns_the_most_frequent_delimiter_is_taken() -> None:
    assert delimiter_of("a;b;c,d", {}) == ";"


def test_the_fields_of_a_row_are_those_of_its_columns() -> None:
    header = header_of("x:1", ["CC", *FIELDS[:4]], {})
    assert header.order_of([CARD, "001", " Ada ", "Bell", "1"]) == dict(
        zip(FIELDS, ["001", "Ada", "Bell", "1", CARD], strict=True)
    )
    assert header.order_of([CARD, "001", "Ada", "Bell"]) == {}


def test_a_header_with_some_fields_is_not_said_to_have_another_separator() -> None:
    assert refusal(["OrderId", "Name;ItemName;Price;CC;More"]).endswith(
        'missing: Name, ItemName, Price, CC; it has "OrderId", "Name;ItemName;Price;CC;More"; --columns maps others'
    )
    assert refusal(["OrderId;Name;ItemName;Price;CC"]).endswith(
        "; its columns seem to be separated by ;, not by ,; --columns maps others"
    )


def test_long_and_many_headers_are_cut_and_masked() -> None:
    row = ["OrderId", "n" * 41, f"card {CARD}", *map(str, range(17))]
    shown = ", ".join(f'"{name}"' for name in ["OrderId", "n" * 40, "card ****", *map(str, range(17))])
    assert refusal(row).endswith(f"it has {shown}; --columns maps others")
    assert refusal([*row, "17"]).endswith(f"it has {shown}, ...; --columns maps others")


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (["a,b,c,d,e"], "all of it is in one pair of double quotes"),
        (["a,b,c,d,e,f"], "all of it is in one pair of double quotes"),
        (["a,b,c,d"], None),
        (["a;b;c;d;e"], "its columns seem to be separated by ;, not by ,"),
        (["a\tb", "c\td\te"], None),
        (["a\tb", "c\td\te\tf"], "its columns seem to be separated by tabs, not by ,"),
        (["a,b,c,d,e", "f"], None),
        (["a;b;c;d;e", "1", "2", "3", "4"], None),
    ],
)
def test_a_row_with_too_few_columns_may_have_another_separator(row: list[str], hint: str | None) -> None:
    assert separator_hint(row, 5, ",") == hint
