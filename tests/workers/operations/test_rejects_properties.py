"""Rejects of any content: no card number is written, and what is written can be read again."""

import io
import json
import re
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import card_numbers, json_texts, json_values, order_ids, text, unicode_text
from workers.domain.cards import recorded_text
from workers.operations.order_batch import OrderBatch, Source
from workers.operations.order_files import read_records
from workers.operations.rejects import write_rejects

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")
VALUES = st.sampled_from(["Ada", 'a "b"', "a,b", "a;b", "a\nb", " x ", "\ud800", ""]) | card_numbers
ORDERS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "OrderId": order_ids | text,
        "Problem": text,
        **dict.fromkeys(FIELDS[1:], VALUES | json_values),
        "More": json_values | card_numbers,
    },
)
CELLS = card_numbers | unicode_text | st.sampled_from(['"', "", "1", "Ada"])
CSV = st.builds(
    lambda rows, delimiter, end: end.join([delimiter.join(FIELDS), *(delimiter.join(row) for row in rows)]),
    st.lists(st.lists(CELLS, max_size=6)),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
)
JSON = st.tuples(st.sampled_from(["a.json", "a.jsonl"]), json_texts(st.lists(ORDERS)))
CONTENTS = (JSON | st.tuples(st.just("a.csv"), CSV)).filter(lambda content: "\0" not in content[1])


def rejects_of(name: str, files: list[tuple[str, str]]) -> tuple[int, bytes]:
    """Return how many rejects these files have, and what is in the file *name* of them."""
    sources = [
        Source(f"{n}-{source}", partial(io.BytesIO, data.encode("utf-8", "surrogatepass")))
        for n, (source, data) in enumerate(files)
    ]
    batch = OrderBatch(sources)
    for _ in batch.check():
        pass
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        count = write_rejects(path, batch.rejects)
        assert path.exists() == (count > 0)
        return count, path.read_bytes() if count else b""


@given(st.lists(CONTENTS, max_size=2), st.sampled_from(["rejects", "rejects.csv", "rejects.jsonl"]))
def test_no_reject_shows_a_card_number(files: list[tuple[str, str]], name: str) -> None:
    count, data = rejects_of(name, files)
    written = data.decode("utf-8", "surrogateescape")
    shown = re.sub(r"\\u[0-9a-f]{4}", "", written)  # The digits of an escaped character are not a card number's.
    assert recorded_text(shown) == shown
    form = name if name != "rejects" else "rejects.csv" if written.startswith("\ufeff") else "rejects.jsonl"
    if count:
        assert len(list(read_records(form, io.BytesIO(data)))) == count


@given(st.lists(ORDERS, min_size=1, max_size=3))
def test_json_lines_keep_every_field_but_card_numbers(orders: list[dict[str, Any]]) -> None:
    orders = [order | {"OrderId": ""} for order in orders]
    count, data = rejects_of("rejects.jsonl", [("a.json", json.dumps(orders))])
    assert count == len(orders)
    for order, line in zip(orders, data.decode("utf-8", "surrogateescape").split("\n")[:-1], strict=True):
        written = json.loads(line)
        assert written.pop("Problem")
        assert list(written) == [recorded_text(name) for name in order if name != "Problem"]
        for name in ("Name", "ItemName", "Price"):
            if isinstance(order.get(name), str) and recorded_text(order[name]) == order[name]:
                assert written[name] == order[name]


def test_the_examples_here_have_rejects() -> None:
    assert rejects_of("x", [("a.csv", ",".join(FIELDS) + "\n1,2\n")])[0] == 1
