"""Records around the ends of the pieces in which a file is read, and longer ones than those."""

import io
import json

import pytest

from workers.operations.errors import OperationError
from workers.operations.order_files import read_orders, read_records
from workers.operations.order_record import Record
from workers.operations.order_text import MAX_RECORD_CHARS
from workers.operations.records import MAX_ROW_LINES, BadRecord

HEADER = "OrderId,Name,ItemName,Price,CC\n"
TOO_LONG = f"is longer than {MAX_RECORD_CHARS:,} characters"


def read(name: str, text: str) -> list[Record | BadRecord]:
    return list(read_orders(name, io.BytesIO(text.encode())))


def good(found: list[Record | BadRecord]) -> list[tuple[int, str]]:
    return [(record.line, record.order_id) for record in found if isinstance(record, Record)]


def bad(found: list[Record | BadRecord]) -> list[tuple[int, str]]:
    return [(record.line, record.reason) for record in found if isinstance(record, BadRecord)]


def order(order_id: str, more: str = "") -> str:
    fields = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": "12", "More": more}
    return json.dumps(fields, ensure_ascii=False)


@pytest.mark.parametrize("missing", range(-3, 4))
@pytest.mark.parametrize("name", ["x.jsonl", "x.json"])
def test_json_is_read_across_the_end_of_a_piece(name: str, missing: int) -> None:
    filler = " " * (MAX_RECORD_CHARS - len(order("1")) // 2 + missing)
    text = f"{filler}{order('1', 'Zoë')}{{between}}\n{filler}\n{order('2')}{{between}}\n\n{order('3')}"
    found = read(name, f"[{text.replace('{between}', ',')}]" if name == "x.json" else text.replace("{between}", ""))
    assert (good(found), bad(found)) == ([(1, "1"), (3, "2"), (5, "3")], [])


def test_an_object_that_is_too_long_costs_no_other() -> None:
    found = read("x.jsonl", f"{order('1')}\n{order('2', 'x' * MAX_RECORD_CHARS * 3)}\n{order('3')}")
    assert (good(found), bad(found)) == ([(1, "1"), (3, "3")], [(2, TOO_LONG)])


def test_an_object_that_is_never_closed_costs_no_other() -> None:
    endless = '{"a": [' + "1, " * MAX_RECORD_CHARS
    found = read("x.jsonl", f"{order('1')}\n{endless}\n{order('3')}")
    assert (good(found), bad(found)) == ([(1, "1"), (3, "3")], [(2, TOO_LONG)])


def test_a_bad_object_before_a_long_file_is_not_too_long() -> None:
    found = read("x.jsonl", '{"OrderId": x}\n' + f"{order('3')}\n" + "\n" * MAX_RECORD_CHARS * 2)
    assert (good(found), bad(found)) == ([(2, "3")], [(1, "is not JSON: Expecting value")])


def test_the_line_of_an_error_counts_from_the_start_of_the_file() -> None:
    found = read("x.jsonl", "\n" * MAX_RECORD_CHARS * 2 + '{"OrderId":\n x}')
    assert bad(found) == [
        (2 * MAX_RECORD_CHARS + 1, f"is not JSON: Expecting value in line {2 * MAX_RECORD_CHARS + 2}")
    ]


@pytest.mark.parametrize("times", [1, 3])
def test_a_line_of_csv_that_is_too_long_costs_no_other(times: int) -> None:
    found = read("x.csv", f"{HEADER}1,Ada,Bell,1,12\n{'2,' * MAX_RECORD_CHARS * times}\n3,Ada,Bell,1,12\n")
    assert (good(found), bad(found)) == ([(2, "1"), (4, "3")], [(3, TOO_LONG)])


def test_a_quote_that_is_never_closed_in_a_large_file_costs_one_row() -> None:
    long = "x" * 200
    rows = [f'{n},"Ada,{long},1,12' if n == 5 else f"{n},Ada,{long},1,12" for n in range(1, 1_001)]
    found = read("x.csv", HEADER + "\n".join(rows))
    assert len(good(found)) == 999
    assert bad(found) == [(6, "is not CSV: a quote is never closed, or a column is longer than 131,072 characters")]


def test_a_quote_that_is_never_closed_costs_a_look_at_some_lines_only() -> None:
    rows = [f'{n},"Ada,Bell,1,12' if n == 1 else f"{n},Ada,Bell,1,12" for n in range(1, MAX_ROW_LINES + 2)]
    found = read("x.csv", HEADER + "\n".join(rows))
    assert len(good(found)) == MAX_ROW_LINES
    assert bad(found) == [(2, "is not CSV: a quote is never closed, or it has more than 1,000 lines")]
    longest = "\n" * (MAX_ROW_LINES - 1)
    found = read("x.csv", f'More,{HEADER}"{longest}",1,Ada,Bell,1,12\n,2,Ada,Bell,1,12')
    assert good(found) == [(2, "1"), (MAX_ROW_LINES + 2, "2")]


def test_a_row_of_many_lines_that_is_too_long_costs_one_line() -> None:
    cells = ",".join(f'"{"x" * 50_000}\n"' for _ in range(12))
    found = read("x.csv", f"{HEADER}1,Ada,Bell,1,12\n{cells}\n3,Ada,Bell,1,12\n")
    assert bad(found)[0] == (3, TOO_LONG)
    assert good(found)[-1] == (16, "3")
    content = io.BytesIO(f"{HEADER}{cells}\n".encode())
    (first, *_) = (raw for raw, _ in read_records("x.csv", content))
    assert first.text == f'"{"x" * 50_000}\n'


def test_the_longest_row_is_read() -> None:
    row = ("x" * 99_999 + ",") * 6
    for chars, reason in ((MAX_RECORD_CHARS, "has 6 columns, the header has 5"), (MAX_RECORD_CHARS + 1, TOO_LONG)):
        found = read("x.csv", f"{HEADER}{row[: chars - 1]}\n3,Ada,Bell,1,12\n")
        assert (good(found), bad(found)[0][1][:31]) == ([(3, "3")], reason[:31])


def test_a_file_of_white_space_has_no_orders() -> None:
    for name in ("x", "x.csv", "x.jsonl"):
        assert read(name, f"{' ' * 999}\n" * (2 * MAX_RECORD_CHARS // 1_000)) == []


def test_a_file_with_zero_bytes_is_refused() -> None:
    with pytest.raises(OperationError, match=r"^x\.csv is not text: it has zero bytes$"):
        read("x.csv", f"{HEADER}1,A\0da,Bell,1,12\n")


@pytest.mark.parametrize(("left", "reason"), [(7, "is not JSON: Expecting ',' delimiter"), (6, TOO_LONG)])
def test_an_error_that_the_end_of_a_piece_may_have_caused_means_too_long(left: int, reason: str) -> None:
    """`left` characters of the piece are left where the error is: an escape such as `\\uffff` could be cut off."""
    start = '{"OrderId": "'
    filler = "x" * (MAX_RECORD_CHARS - left - len(start) - 2)
    found = read("x.jsonl", f'{start}{filler}" x}}\n{order("2")}\n' + "\n" * MAX_RECORD_CHARS)
    assert (good(found), bad(found)) == ([(2, "2")], [(1, reason)])
