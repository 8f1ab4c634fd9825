import csv
import io
import json
import re
from typing import Any

import pytest

from workers.operations.errors import OperationError
from workers.operations.files.header import FIELDS
from workers.operations.order_files import MAX_INPUT_BYTES, Reading, read_orders, read_records
from workers.operations.order_record import Record
from workers.operations.records import BadRecord

CARD = "4929123412345678"
ORDER = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
NOT_UTF_8 = "is not valid UTF-8: save the file as UTF-8, or name its --encoding, such as windows-1252"
HEADER = "OrderId,Name,ItemName,Price,CC\n"


def order(order_id: str = "001", **changes: Any) -> dict[str, Any]:
    return ORDER | {"OrderId": order_id} | changes


def read(name: str, content: str | bytes) -> list[Record | BadRecord]:
    found = list(read_orders(name, io.BytesIO(content if isinstance(content, bytes) else content.encode())))
    assert not [record for record in found if isinstance(record, BadRecord) and CARD in record.reason]
    return found


def good(found: list[Record | BadRecord]) -> list[tuple[int, str]]:
    return [(record.line, record.order_id) for record in found if isinstance(record, Record)]


def bad(found: list[Record | BadRecord]) -> list[tuple[int, str]]:
    return [(record.line, record.reason) for record in found if isinstance(record, BadRecord)]


def one_problem(value: Any) -> str:
    ((_, reason),) = bad(read("-", json.dumps(value)))
    return reason


FORMS: dict[str, tuple[str, str | bytes, list[tuple[int, str]]]] = {
    "an object": ("-", json.dumps(ORDER), [(1, "001")]),
    "an object in several lines": ("order.json", "\n" + json.dumps(ORDER, indent=2), [(2, "001")]),
    "an array": ("-", f"[{json.dumps(ORDER)},\n{json.dumps(order('002'))}]\n", [(1, "001"), (2, "002")]),
    "an empty array": ("-", "[ ]", []),
    "JSON lines": ("-", f"{json.dumps(ORDER)}\n\n{json.dumps(order('002'))}\r\n", [(1, "001"), (3, "002")]),
    "objects in several lines": (
        "-",
        f"{json.dumps(ORDER, indent=2)}\n{json.dumps(order('002'), indent=2)}",
        [(1, "001"), (8, "002")],
    ),
    "CSV": ("-", f"{HEADER}001,Ada,Bicycle,1,{CARD}\n002,Ada,Bicycle,1,{CARD}", [(2, "001"), (3, "002")]),
    "CSV of a spreadsheet": (
        "orders.csv",
        b"\xef\xbb\xbf" + f"OrderId;Name;ItemName;Price;CC\r\n001;Zoë;a, b;1;{CARD}\r\n".encode(),
        [(2, "001")],
    ),
    "columns in another sequence, and others": (
        "-",
        f"Date,CC,Price,ItemName,Name,OrderId\n2026,{CARD},1,Bicycle,Ada,001\n",
        [(2, "001")],
    ),
    "nothing": ("-", "", []),
    "a header only": ("orders.csv", HEADER, []),
    "spaces and empty lines": ("orders.csv", "\n \n", []),
    "quoted empty lines": ("orders.csv", '""\n\n" "\n', []),
}


@pytest.mark.parametrize("form", FORMS)
def test_orders_are_read_from(form: str) -> None:
    name, content, expected = FORMS[form]
    found = read(name, content)
    assert (good(found), bad(found)) == (expected, [])


def test_json_is_submitted_as_it_is_in_the_file() -> None:
    text = (
        '{"OrderId": "007", "Name": "Zo\\u00eb", "ItemName": "B",\n "Price": "1.50", "CC": "x", "More": [1.10, null]}'
    )
    (record,) = read("-", f"  {text}  ")
    assert record == Record(1, "007", text, "-")


def test_a_record_has_the_fields_of_its_order() -> None:
    (record,) = read("-", json.dumps(ORDER)[:-1] + f', "More": {"9" * 5000}}}')
    assert isinstance(record, Record)
    assert {field: record.fields()[field] for field in FIELDS} == ORDER


def test_all_fields_of_csv_are_strings() -> None:
    (record,) = read("-", f'{HEADER}0070,"Ada ""the""\nCountess",Bicycle,1e,0012')
    assert isinstance(record, Record)
    assert json.loads(record.text) == order("0070", Name='Ada "the"\nCountess', Price="1e", CC="0012")


def test_orders_that_the_workflow_escalates_are_not_bad_records() -> None:
    wrong = [order("1", Price="-1"), order("2", CC="12"), order("3", Price="", CC=""), order("4", Name="\x1b[2J")]
    assert len(good(read("-", json.dumps(wrong)))) == 4


TEXT, MAYBE_EMPTY = "must be a string of 1 to 256 characters", "must be a string of up to 256 characters"
ID = "must be 1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit, and not like a card number"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Price": 12.5}, f"Price is a number, {MAYBE_EMPTY}"),
        ({"CC": int(CARD), "Price": True}, f"Price is a boolean, {MAYBE_EMPTY}; CC is a number, {MAYBE_EMPTY}"),
        ({"Name": None}, f"Name is null, {TEXT}"),
        ({"Name": ["Ada"], "ItemName": {}}, f"Name is an array, {TEXT}; ItemName is an object, {TEXT}"),
        ({"Name": ""}, f"Name is empty, {TEXT}"),
        ({"ItemName": "x" * 257}, f"ItemName is too long, {TEXT}"),
        ({"OrderId": 1}, f"OrderId is a number, {ID}"),
        ({"OrderId": ""}, f"OrderId is empty, {ID}"),
        ({"OrderId": CARD}, f"OrderId looks like a card number, {ID}"),
        ({"OrderId": "a b"}, f"OrderId has a character that is not allowed, {ID}"),
        ({"OrderId": " 001"}, f"OrderId has white space around it, {ID}"),
        ({"OrderId": "-1"}, f"OrderId does not begin with a letter or digit, {ID}"),
        ({"OrderId": "x" * 65}, f"OrderId is longer than 64 characters, {ID}"),
        ({"CC": CARD * 20}, f"CC is too long, {MAYBE_EMPTY}"),
        ({"Name": "\ud800"}, "is not valid UTF-8"),
        ({"More": "x" * MAX_INPUT_BYTES}, "is 262,256 bytes long, more than Step Functions' 262,144"),
    ],
)
def test_malformed_fields_are_reported(change: dict[str, Any], reason: str) -> None:
    assert bad(read("-", json.dumps(ORDER | change))) == [(1, reason)]


def test_a_number_can_have_thousands_of_digits() -> None:
    text = json.dumps(ORDER).replace('"12.50"', "1" * 5000)
    assert bad(read("-", text)) == [(1, f"Price is a number, {MAYBE_EMPTY}")]


def test_the_longest_input_is_accepted() -> None:
    room = MAX_INPUT_BYTES - len(json.dumps(order(More="")).encode())
    assert good(read("-", json.dumps(order(More="x" * room))))
    assert bad(read("-", json.dumps(order(More="x" * (room + 1)))))


def test_missing_fields_and_other_json_are_reported() -> None:
    assert one_problem({"OrderId": "1", "Name": "Ada", "item_name": "Bell"}) == (
        f'ItemName is missing ("item_name" is another name: it must be ItemName), {TEXT}; '
        f"Price is missing, {MAYBE_EMPTY}; CC is missing, {MAYBE_EMPTY}"
    )
    assert one_problem([CARD]) == "element 1: is not a JSON object"
    assert bad(read("a.jsonl", f'"{CARD}"\n{CARD}\nnull')) == [(n, "is not a JSON object") for n in (1, 2, 3)]


def test_duplicate_fields_are_reported() -> None:
    text = json.dumps(ORDER)[:-1] + ', "Price": "99"}'
    assert bad(read("-", text)) == [(1, "has Price twice")]
    assert bad(read("-", json.dumps(ORDER)[:-1] + ', "x": 1, "x": 1}')) == [(1, "has a field twice")]


def test_a_duplicate_order_id_is_accepted_once() -> None:
    lines = [ORDER, order("002", Price=1), order("001", Price="2"), order("002")]
    found = read("-", "\n".join(map(json.dumps, lines)))
    assert good(found) == [(1, "001"), (4, "002")]
    assert bad(found) == [(2, f"Price is a number, {MAYBE_EMPTY}"), (3, "OrderId is already in line 1")]
    assert [record.order_id for record in found] == ["001", "002", "001", "002"]
    assert bad(read("-", json.dumps([ORDER, ORDER]))) == [(1, "element 2: OrderId is already in element 1")]


def test_reading_continues_after_a_line_that_is_not_json() -> None:
    first, second, third = (json.dumps(order(f"00{n}")) for n in (1, 2, 3))
    found = read("-", f"{first[:-9]}\n{second}\ngarbage\n<html>\n{third}\n{{")
    assert good(found) == [(2, "002"), (5, "003")]
    assert [line for line, _ in bad(found)] == [1, 3, 4, 6]


def test_a_broken_object_on_several_lines_is_one_bad_record() -> None:
    first, second = json.dumps(ORDER, indent=2).replace('"Ada",', '"Ada"'), json.dumps(order("002"), indent=2)
    found = read("-", f"{first}\n{second}")
    assert bad(found) == [(1, "is not JSON: Expecting ',' delimiter in line 4")]
    assert good(found) == [(8, "002")]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[{0},\n{1}", 2, "after element 2: expected a comma or the array's end; the rest of the file was not read"),
        ("[{0},\n{1},]", 2, "element 3: is not JSON: Expecting value; the rest of the file was not read"),
        ("[{0},\n{1}\n]]", 3, "follows the array's end; the rest of the file was not read"),
        (
            "[{0},\n{1},\n NaN\n]\n",
            3,
            "element 3: is not JSON: not a number in JSON; the rest of the file was not read",
        ),
    ],
)
def test_an_array_is_not_read_beyond_an_error(text: str, line: int, reason: str) -> None:
    found = read("-", text.format(json.dumps(ORDER), json.dumps(order("002"))))
    assert (good(found), bad(found)) == ([(1, "001"), (2, "002")], [(line, reason)])


def test_endless_nesting_is_one_bad_record() -> None:
    found = read("-", '{"a":' * 100_000 + f"\n{json.dumps(ORDER)}")
    assert (good(found), bad(found)) == ([(2, "001")], [(1, "is nested too deep")])


def test_lines_are_counted_through_quoted_line_breaks() -> None:
    found = read("-", f'{HEADER}001,"A\r\nd\na",B,1,{CARD}\r\n002,Ada,B,1\r\n003,Ada,B,1,{CARD}\r\n')
    assert (good(found), bad(found)) == ([(2, "001"), (6, "003")], [(5, "has 4 columns, the header has 5")])


def test_a_row_may_lack_the_headers_last_columns_if_its_fields_are_in_place() -> None:
    rows = [
        f"001,Ada,B,1,{CARD}",
        f'002,Ada,B,"1,5",{CARD},x',
        f"003,Ada,B,{CARD},x",
        f"004,Ada B,1,{CARD}",
        "005,Ada,B,1",
    ]
    values, reading = read_with(f"{HEADER.strip()},More,Last\n" + "\n".join(rows))
    assert values == [
        order("001", ItemName="B", Price="1", CC=CARD),
        order("002", ItemName="B", Price="1.5", CC=CARD),
        "has 5 columns, the header has 7",
        "has 4 columns, the header has 7",
        "has 4 columns, the header has 7",
    ]
    assert reading.findings.notice() == (
        "rows without the header's last columns: 2 (first in line 2); corrected decimal commas: 1 (first in line 3)"
    )


def test_a_quote_that_is_never_closed_costs_one_record() -> None:
    found = read("-", f'{HEADER}001,"Ada,B,1,{CARD}\n002,Ada,B,1,{CARD}\n003,"Ada"x,B,1,{CARD}\n004,"Ada",B,1,{CARD}\n')
    assert good(found) == [(3, "002"), (5, "004")]
    assert [line for line, _ in bad(found)] == [2, 4]


def test_invalid_utf_8_costs_one_record() -> None:
    rows = [HEADER, f"001,Ada,B,1,{CARD}\n", f"002,M\xfcller,B,1,{CARD}\n", f"003,Ada,B,1,{CARD}\n"]
    found = read("orders.csv", b"\xef\xbb\xbf" + "".join(rows).encode("latin-1"))
    assert (good(found), bad(found)) == ([(2, "001"), (4, "003")], [(3, NOT_UTF_8)])


ROW = f"001,Zo\u00eb,Bell,1,{CARD}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["-", "orders.csv"])
@pytest.mark.parametrize(
    "text", [HEADER + ROW, "\ufeff" + HEADER + ROW, f"OrderId, Name , ItemName,Price,CC\n\n {ROW}"]
)
def test_marks_and_white_space_in_a_table_are_ignored(encoding: str, name: str, text: str) -> None:
    (record,) = read(name, text.encode(encoding))
    assert isinstance(record, Record)
    assert json.loads(record.text) == order("001", Name="Zo\u00eb", ItemName="Bell", Price="1")


def test_values_of_a_table_lose_the_white_space_around_them() -> None:
    (record,) = read("-", f'OrderId, Name, ItemName, Price, CC\n001,  Ada\u00a0L ,"\tBell\n", 1 ,{CARD}\u00a0\n')
    assert isinstance(record, Record)
    assert json.loads(record.text) == order("001", Name="Ada\u00a0L", ItemName="Bell", Price="1")


@pytest.mark.parametrize(
    "text", ["{0}\ufeff{1}", "\ufeff\ufeff{0}\n\ufeff{1}\ufeff\n", "\u00a0[{0}\u3000,\u00a0{1}]\u00a0"]
)
def test_marks_and_white_space_around_json_are_ignored(text: str) -> None:
    written = text.replace("{0}", json.dumps(ORDER)).replace("{1}", json.dumps(order("002")))
    assert [order_id for _, order_id in good(read("-", written))] == ["001", "002"]
    assert bad(read("-", written)) == []


WRONG_HEADER = f"x:{{}}: the header must have each of {', '.join(FIELDS)} once; "
HAS, MAP = '"OrderId", "Name", "ItemName", "Price"', "--columns maps others"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe" + HEADER.encode("utf-16-le") + b"x", "x is not valid UTF-16: save it as UTF-8"),
        (b"\xfe\xff\xd8\x00" + HEADER.encode("utf-16-be"), "x is not valid UTF-16: save it as UTF-8"),
        (HEADER.encode("utf-32"), "x is UTF-32: save it as UTF-8"),
        (b"PK\3\4\x14\0", "x is a workbook or a ZIP file: save it as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "x is a workbook: save it as CSV"),
        (b"\x89PNG\r\n\0\0", "x is not text: it has zero bytes"),
        (
            f"001,Ada,Bicycle,1,{CARD}\n".encode(),
            f"{WRONG_HEADER.format(1)}missing: {', '.join(FIELDS)}; is this line the header?; {MAP}",
        ),
        (
            b"\nOrderId,Name,ItemName,Price,card,Price\n",
            f'{WRONG_HEADER.format(2)}missing: CC; repeated: Price; it has {HAS}, "card", "Price"; {MAP}',
        ),
        (
            b"CC,OrderId,Name,ItemName,Price,Price\n",
            f'{WRONG_HEADER.format(1)}repeated: Price; it has "CC", {HAS}, "Price"; {MAP}',
        ),
    ],
)
def test_a_file_without_orders_is_refused_in_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(OperationError) as raised:
        read("x", content)
    assert str(raised.value) == reason


def test_thousands_of_lines_are_read() -> None:
    text = io.StringIO()
    rows = csv.DictWriter(text, FIELDS)
    rows.writeheader()
    rows.writerows(order(f"{n:06}") for n in range(2_000))
    assert len(good(read("orders.csv", text.getvalue()))) == 2_000


@pytest.mark.parametrize("name", ["x.csv", "x.TSV"])
@pytest.mark.parametrize("first", ["{", "["])
def test_a_file_named_like_a_table_is_read_as_one(name: str, first: str) -> None:
    with pytest.raises(OperationError, match="the header must have each of"):
        read(name, f"{first}OrderId\n")


@pytest.mark.parametrize("name", ["x.json", "x.JSONL", "x.ndjson"])
def test_a_file_named_like_json_is_read_as_json(name: str) -> None:
    assert bad(read(name, HEADER)) == [(1, "is not JSON: Expecting value")]


def test_a_table_may_be_separated_by_tabs() -> None:
    assert good(read("x.tsv", f"{HEADER}001,Ada,B,1,{CARD}\n".replace(",", "\t"))) == [(2, "001")]


def test_invalid_utf_8_in_any_part_of_a_record_is_reported() -> None:
    text = json.dumps(order(More="?")).encode().replace(b"?", b"\xff")
    assert bad(read("-", text)) == [(1, NOT_UTF_8)]


@pytest.mark.parametrize(
    ("order_id", "shown"), [("001", "001"), (CARD, None), ("a b", None), (7, None), (None, None), (["001"], None)]
)
def test_a_bad_record_shows_its_id_only_if_it_is_one(order_id: object, shown: str | None) -> None:
    ((record),) = read("-", json.dumps(ORDER | {"OrderId": order_id, "Name": ""}))
    assert isinstance(record, BadRecord)
    assert record.order_id == shown


def test_a_duplicate_shows_its_id_and_where_the_first_one_is() -> None:
    lines = "\n\n".join(map(json.dumps, [ORDER, ORDER]))
    assert read("-", lines)[1] == BadRecord(3, "OrderId is already in line 1", "001", "-")


def test_a_header_that_is_not_csv_is_refused() -> None:
    with pytest.raises(OperationError, match="x:1: the header must have each of"):
        read("x", '"OrderId')


def read_with(content: str, name: str = "x.csv", columns: dict[str, str] | None = None) -> tuple[list[Any], Reading]:
    """Return the values of the good records, the reasons of the others, and what was found."""
    reading = Reading(columns or {})
    found = list(read_orders(name, io.BytesIO(content.encode()), reading=reading))
    return [dict(record.fields()) if isinstance(record, Record) else record.reason for record in found], reading


GERMAN = f"""sep=;\r
;;;;;\r
Bestellnr;Name;ITEM NAME;price;Card number;\r
001;Zo\u00eb;a, b;10,50;4929 1234 1234 5678;\r
;;;;;\r
002;Ada;Bell;1.234,50;'{CARD};\r
003;Ada;Bell;80,000;4,92912E+15\r
004;Ada;Bell;80,000;4,92912E+15;x;y\r
005;;Bell;80,000;4,92912E+15;;;\r
"""


def test_a_file_of_a_spreadsheet_is_read_as_it_is_meant() -> None:
    values, reading = read_with(GERMAN, columns={"OrderId": "Bestellnr", "CC": "card number"})
    price = "Price has a comma before three digits, which may be decimals or thousands: "
    price += "export it without separators of thousands and with two decimals, such as 10.50"
    card = "CC is in scientific notation, so its last digits are lost: "
    card += "format the column as text before its values are entered, and export it again"
    assert values == [
        order("001", Name="Zo\u00eb", ItemName="a, b", Price="10.50"),
        order("002", ItemName="Bell", Price="1234.50"),
        "has 5 columns, the header has 6",
        "has 7 columns, the header has 6; values with ; must be in double quotes",
        f"Name is empty, {TEXT}; {price}; {card}",
    ]
    assert reading.findings.notice() == (
        'column "Bestellnr" read as OrderId; column "ITEM NAME" read as ItemName; column "price" read as Price; '
        'column "Card number" read as CC; corrected decimal commas: 2 (first in line 4); '
        "corrected card numbers with separators: 1 (first in line 4); "
        "rows without any value, skipped: 1 (first in line 5); "
        "corrected prices with separators of thousands: 1 (first in line 6); "
        "corrected values marked as text: 1 (first in line 6); "
        "rows with empty columns after the header's last: 1 (first in line 9)"
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("001", "has 1 column, the header has 5"),
        (f"001;Ada;Bell;1;{CARD}", "has 1 column, the header has 5; its columns seem to be separated by ;, not by ,"),
        (
            f"001;Ada;Bell;1,50;{CARD}",
            "has 2 columns, the header has 5; its columns seem to be separated by ;, not by ,",
        ),
        (
            f"001\tAda\tBell\t1\t{CARD}",
            "has 1 column, the header has 5; its columns seem to be separated by tabs, not by ,",
        ),
        (f'"001,Ada,Bell,1,{CARD}"', "has 1 column, the header has 5; all of it is in one pair of double quotes"),
        ('"001,Ada",Bell,1', "has 3 columns, the header has 5"),
    ],
)
def test_a_row_with_another_separator_or_quoted_as_a_whole_is_named_with_the_cause(row: str, reason: str) -> None:
    assert read_with(f"{HEADER}{row}\n")[0] == [reason]


@pytest.mark.parametrize(
    ("header", "cause"),
    [
        (
            "sep=,\nOrderId;Name;ItemName;Price;CC",
            "its columns seem to be separated by ;, not by , as the line with sep=, says",
        ),
        (
            "sep=;\nOrderId\tName\tItemName\tPrice\tCC",
            "its columns seem to be separated by tabs, not by ; as the line with",
        ),
        ('"OrderId,Name,ItemName,Price,CC"', "all of it is in one pair of double quotes; --columns maps others"),
    ],
)
def test_a_header_with_another_separator_or_quoted_as_a_whole_is_refused_with_the_cause(
    header: str, cause: str
) -> None:
    with pytest.raises(OperationError, match=re.escape(f"missing: {', '.join(FIELDS)}; {cause}")):
        read_with(f"{header}\n")


def test_the_headers_of_joined_files_are_left_out() -> None:
    content = f"{HEADER}001,Ada,Bell,1,{CARD}\n\ufeff{HEADER}002,Ada,Bell,1,{CARD}\n"
    values, reading = read_with(content)
    assert [value["OrderId"] for value in values] == ["001", "002"]
    assert reading.findings.notice() == "rows that repeat the header, skipped: 1 (first in line 3)"


def test_empty_lines_may_come_before_the_line_that_names_the_separator_and_before_the_header() -> None:
    named = HEADER.replace(",", "^")
    assert good(read("x.csv", f"\nsep=^\n{named}001^Ada^B^1^{CARD}\n")) == [(4, "001")]
    assert good(read("x.csv", f"\n;;;;\n{HEADER}001,Ada,B,1,{CARD}\n".replace(",", ";"))) == [(4, "001")]
    with pytest.raises(OperationError, match="the header must have each of"):
        read("x.csv", f";;;;\nsep=^\n{named}001^Ada^B^1^{CARD}\n")


def test_corrections_of_rows_that_are_not_submitted_are_not_counted() -> None:
    content = f'{HEADER}001,,Bell,"10,50",{CARD}\n'
    values, reading = read_with(content)
    assert (values, reading.findings.notice()) == ([f"Name is empty, {TEXT}"], None)


def test_a_corrected_order_is_the_one_that_is_submitted() -> None:
    content = f'{HEADER}001,Ada,Bell,"10,50",{CARD}\n'
    (record,) = read("x.csv", content)
    assert isinstance(record, Record)
    assert (record.fields()["Price"], json.loads(record.text)["Price"]) == ("10.50", "10.50")


def test_json_is_never_corrected() -> None:
    text = json.dumps(order(Price="10,50", CC="4929 1234 1234 5678"))
    (record,) = read("x.json", text)
    assert isinstance(record, Record)
    assert record.text == text


def test_fields_of_json_cannot_be_mapped() -> None:
    with pytest.raises(OperationError, match=r"^x.json is JSON: its fields cannot be mapped, only columns of CSV$"):
        read_with("[]", "x.json", {"OrderId": "id"})


def test_a_repeated_order_id_does_not_count_for_what_the_file_looks_like() -> None:
    row = f"001,Ada,Bell,-1,{CARD}\n"
    assert read_with(HEADER + row + row)[1].findings.refusal() is None
    assert read_with(HEADER + row + row.replace("001", "002"))[1].findings.refusal() is not None


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("name", ["-", "x.csv", "x.jsonl"])
def test_a_file_may_have_another_encoding(name: str, encoding: str) -> None:
    text = json.dumps(order(Name="Zo\u00eb"), ensure_ascii=False)
    if name != "x.jsonl":
        text = f"{HEADER}001,Zo\u00eb,Bicycle,12.50,{CARD}\n"
    (record,) = read(name, text.encode(encoding))
    assert isinstance(record, Record)
    assert record.fields() == order(Name="Zo\u00eb")


def test_a_second_byte_order_mark_is_ignored() -> None:
    for mark in ("\ufeff\ufeff", "\ufeff\u00ef\u00bb\u00bf", "\u00ef\u00bb\u00bf"):
        assert good(read("x", f"{mark}{HEADER}001,Ada,B,1,{CARD}\n")) == [(2, "001")]


def test_only_rows_of_several_empty_columns_are_named() -> None:
    row = f"001,Ada,Bell,1,{CARD}\n"
    values, reading = read_with(f'{HEADER}  \n""\n{row}')
    assert (len(values), reading.findings.notice()) == (1, None)
    assert (
        read_with(f"{HEADER},,,,\n{row}")[1].findings.notice() == "rows without any value, skipped: 1 (first in line 2)"
    )


def test_a_row_that_is_not_csv_has_the_text_of_its_first_line() -> None:
    content = f'{HEADER}1,"Ada\nEve"x,Bell\n2,Ada,Bell,1,{CARD}\n'
    raw = [each for each, _ in read_records("x.csv", io.BytesIO(content.encode()))]
    assert next((each.line, each.text) for each in raw if each.problem) == (2, '1,"Ada\n')
