"""Order files of any content: what is in them is read as it is, and reported without its values."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import card_numbers, digit_text, json_texts, json_values, order_ids, text, unicode_text
from workers.domain.submissions import improper_fields, malformed_fields
from workers.operations.errors import OperationError
from workers.operations.files.encodings import named_encoding
from workers.operations.files.header import FIELDS
from workers.operations.order_files import MAX_INPUT_BYTES, Reading, read_orders
from workers.operations.order_record import Record
from workers.operations.records import BadRecord

NAMES = st.sampled_from(["orders.csv", "orders.tsv", "orders.json", "orders.jsonl", "-"])
VALUES = st.sampled_from(["Ada", "Zo\u00eb", 'a "b"', "a,b", "a;b", "a\nb", " x ", "1e", "\u5f20"]) | card_numbers
HALF = st.just("half a pair, \ud800")
PLAIN_ORDERS = st.fixed_dictionaries({"OrderId": order_ids} | dict.fromkeys(FIELDS[1:], VALUES))
ORDERS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "OrderId": st.sampled_from(["001", "002"]) | order_ids | text,
        **dict.fromkeys(FIELDS[1:], VALUES | HALF | json_values),
        "More": json_values,
    },
)


AGAIN = PLAIN_ORDERS.map(lambda order: order | {"OrderId": "001"})


def read(name: str, data: bytes) -> list[Record | BadRecord]:
    return list(read_orders(name, io.BytesIO(data)))


def refusal(name: str, data: bytes, reading: Reading | None = None) -> str | None:
    """Return why the whole file is refused; None if it is read."""
    try:
        list(read_orders(name, io.BytesIO(data), reading=reading))
    except OperationError as error:
        return str(error)
    return None


def read_all(name: str, content: str) -> list[Record]:
    """Read a file that has good records only."""
    found = read(name, content.encode())
    assert all(isinstance(record, Record) for record in found), found
    return [record for record in found if isinstance(record, Record)]


def unique(orders: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return list({order["OrderId"]: order for order in orders}.values())


SOME_ORDERS = st.lists(PLAIN_ORDERS, max_size=4).map(unique)


@given(SOME_ORDERS, st.sampled_from([None, 0, 2]), st.sampled_from(["\n", "\r\n", "\n\n", " ", ""]), st.booleans())
def test_json_is_submitted_as_it_is_in_the_file(
    orders: list[Mapping[str, str]], indent: int | None, between: str, ascii_only: bool
) -> None:
    texts = [json.dumps(order, indent=indent, ensure_ascii=ascii_only) for order in orders]
    stream = between.join(texts)
    found = read_all("orders.jsonl", stream)
    assert [record.text for record in found] == texts
    assert [record.order_id for record in found] == [order["OrderId"] for order in orders]
    lines = [stream[: stream.index(text)].count("\n") + 1 for text in texts]
    assert [record.line for record in found] == lines
    array = f"{between}[{between}{f'{between},'.join(texts)}]{between}"
    assert [record.text for record in read_all("orders.json", array)] == texts


@given(SOME_ORDERS, st.sampled_from(",;\t"), st.permutations(FIELDS), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_rows_of_csv_become_their_json(
    orders: list[Mapping[str, str]], delimiter: str, fields: list[str], end: str, bom: bool
) -> None:
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, fields, delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(orders)
    found = read_all("orders.csv", ("\ufeff" if bom else "") + written.getvalue())
    stripped = [{field: value.strip() for field, value in order.items()} for order in orders]
    read = [json.loads(record.text) for record in found]
    for order, before in zip(read, stripped, strict=True):
        improper = improper_fields(before)  # Only these may be corrected.
        assert order == before | {field: order[field] for field in improper if field not in improper_fields(order)}
    assert [record.order_id for record in found] == [order["OrderId"] for order in orders]


@given(st.lists(ORDERS | AGAIN, max_size=3), st.sampled_from(["-", "orders.json"]))
def test_an_order_is_submitted_if_and_only_if_the_workflow_records_it(orders: list[Any], name: str) -> None:
    found = read(name, "\n".join(map(json.dumps, orders)).encode())
    assert len(found) == len(orders)
    seen: set[str] = set()
    for record, order in zip(found, orders, strict=True):
        well_formed = not malformed_fields(order) and not any(has_surrogate(order[field]) for field in FIELDS)
        good = well_formed and order["OrderId"] not in seen
        assert isinstance(record, Record) == good, record
        if well_formed:
            seen.add(order["OrderId"])


def has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


SECRET = "\u2603SECRET"  # Nothing in a reason may come from a value.


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([SECRET, SECRET * 99, [SECRET], {}, 1])))
       | st.lists(st.just(SECRET)), st.sampled_from([None, 1]))  # fmt: skip
def test_a_reason_never_shows_a_value(orders: list[Any], indent: int | None) -> None:
    for record in read("-", json.dumps(orders, indent=indent, ensure_ascii=False).encode()):
        assert isinstance(record, BadRecord)
        assert SECRET not in f"{record.reason}{record.order_id}"


ROWS = st.lists(st.lists(digit_text | unicode_text | st.sampled_from(['"', "'", "\r"]), max_size=6))
CSV_TEXTS = st.builds(
    lambda header, rows, delimiter, end: end.join([delimiter.join(header), *(delimiter.join(row) for row in rows)]),
    st.just(FIELDS) | st.permutations(FIELDS) | st.lists(st.sampled_from(FIELDS)),
    ROWS,
    st.sampled_from([",", ";", "\t", '","']),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)


@given(NAMES, (json_texts(st.lists(ORDERS)) | CSV_TEXTS).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example("-", b"\0")
@example("orders.csv", b'""')
@example("orders.csv", b"\xff\xfea")
@example("orders.json", b"[" * 100_000)
@example("orders.jsonl", b'{"a":' * 100_000)
def test_any_file_is_read_or_refused_in_one_line(name: str, data: bytes) -> None:
    lines = data.count(b"\n") + data.count(b"\r") + 1
    refused = refusal(name, data)
    if refused is not None:
        assert refused.startswith(name)
        assert "\n" not in refused
        return
    for record in read(name, data):
        assert 1 <= record.line <= lines
        if isinstance(record, Record):
            order = json.loads(record.text)
            assert malformed_fields(order) == []
            assert record.order_id == order["OrderId"]
            assert len(record.text.encode()) <= MAX_INPUT_BYTES
        else:
            assert record.reason
            assert "\n" not in record.reason


BAD_JSON = ["{", '{"OrderId": "1"', "nonsense", "\udcff", '{"OrderId": "1",\n "Name": x,\n "Price": "1"\n}']
BAD_ROWS = ['"never closed', '1,2,"x"y,3,4', "1,2", "\udcff,a,b,1,2"]


@given(SOME_ORDERS.filter(len), st.integers(0, 3), st.sampled_from(BAD_JSON))
def test_a_bad_object_costs_no_other_record(orders: list[Mapping[str, str]], place: int, bad: str) -> None:
    texts = [json.dumps(order) for order in orders]
    lines = [*texts[:place], bad, *texts[place:]]
    found = read("orders.jsonl", "\n".join(lines).encode("utf-8", "surrogateescape"))
    assert [record.text for record in found if isinstance(record, Record)] == texts
    (report,) = (record for record in found if isinstance(record, BadRecord))
    assert report.line == lines.index(bad) + 1


@given(st.lists(order_ids, max_size=4, unique=True), st.integers(0, 4), st.sampled_from(BAD_ROWS))
def test_a_bad_row_costs_no_other_record(order_ids: list[str], place: int, bad: str) -> None:
    rows = [f"{order_id},Ada,Bicycle,1,2" for order_id in order_ids]
    lines = [",".join(FIELDS), *rows[:place], bad, *rows[place:]]
    found = read("orders.csv", "\n".join(lines).encode("utf-8", "surrogateescape"))
    assert [record.order_id for record in found if isinstance(record, Record)] == order_ids
    (report,) = (record for record in found if isinstance(record, BadRecord))
    assert report.line == lines.index(bad) + 1


@given(
    st.binary(),
    st.none() | st.sampled_from(["utf-8", "utf-16", "windows-1252", "cp037", "utf-7", "undefined", "idna", "big5"]),
    st.sampled_from([{}, {"OrderId": "Nr"}]),
)
@example(b"OrderId\xff", "undefined", {})
def test_bytes_that_are_not_text_raise_no_other_error(
    data: bytes, encoding: str | None, columns: dict[str, str]
) -> None:
    for name in ("orders.csv", "orders.json", "-"):
        reading = Reading(columns, None if encoding is None else named_encoding(encoding))
        assert "\n" not in (refusal(name, data, reading) or "")


@given(st.integers(-2, 2))
def test_the_largest_order_is_the_longest_input_of_an_execution(difference: int) -> None:
    order = dict.fromkeys(FIELDS, "1")
    text = json.dumps(order | {"More": ""})
    padded = json.dumps(order | {"More": "x" * (MAX_INPUT_BYTES - len(text) + difference)})
    (record,) = read("-", padded.encode())
    assert isinstance(record, Record) == (difference <= 0)


def test_the_examples_here_are_not_all_bad() -> None:
    assert read_all("-", '{"OrderId": "1", "Name": "a", "ItemName": "b", "Price": "1", "CC": ""}')
    assert refusal("orders.csv", b"OrderId") is not None
