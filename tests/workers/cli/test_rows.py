"""Rows for scripts, as they are printed."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import text
from workers.cli.output import print_json
from workers.cli.rows import CsvRows, JsonRows

CARD = "4929123412345678"


def as_csv(capfd: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> bytes:
    printed = CsvRows(["order_id", "name"])
    for row in rows:
        printed.add(row)
    printed.end()
    return capfd.readouterr().out.encode()


@pytest.mark.parametrize("rows", [[], [{}], [{"a": [1, {"b": None}]}, {"name": "Zo\u00eb", "cc": CARD}]])
def test_an_array_is_printed_as_by_print_json(capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]]) -> None:
    printed = JsonRows()
    for row in rows:
        printed.add(row)
    printed.end()
    streamed = capsys.readouterr().out
    print_json(rows)
    at_once = capsys.readouterr().out
    assert json.loads(streamed) == json.loads(at_once)
    assert streamed.replace("{}", "") == at_once.replace("{}", "")


def test_an_array_is_printed_row_by_row(capsys: pytest.CaptureFixture[str]) -> None:
    printed = JsonRows()
    printed.add({"a": 1})
    assert capsys.readouterr().out == '[\n  {\n    "a": 1\n  }'


def test_csv_has_a_header_and_lines_that_end_as_the_standard_says(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printed = CsvRows(["order_id", "name", "reasons"])
    printed.add({"order_id": "001", "name": 'Zo\u00eb "Z", X', "reasons": ["A", "B"], "other": 1})
    printed.add({"order_id": "002", "name": None, "reasons": []})
    printed.end()
    assert capfdbinary.readouterr().out == (
        'order_id,name,reasons\r\n001,"Zo\u00eb ""Z"", X",A; B\r\n002,,\r\n'.encode()
    )


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 170", "'+49 170"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-x", "'-x"),
        (" =1", "' =1"),
        ("\t=1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-123", "-123"),
        ("-12.50", "-12.50"),
        ("-1+1", "'-1+1"),
        ("a=1", "a=1"),
        ("", ""),
        (0, "0"),
        (CARD, "****"),
        ("two\r\nlines", "two  lines"),
    ],
)
def test_no_cell_is_a_formula_and_none_is_more_than_a_line(
    capfd: pytest.CaptureFixture[str], value: object, cell: str
) -> None:
    (_, row) = csv.reader(io.StringIO(as_csv(capfd, {"order_id": "1", "name": value}).decode(), newline=""))
    assert row == ["1", cell]


@given(st.lists(text, max_size=3))
def test_any_text_is_one_cell_that_no_spreadsheet_runs(texts: list[str]) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.echo", lambda line, **_: stream.write(line.decode()))
        printed = CsvRows(["name"])
        for value in texts:
            printed.add({"name": value})
    _, *rows = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert len(rows) == len(texts)
    for (cell,) in (row or [""] for row in rows):
        assert cell[:1] not in {*"=+@"}
        assert not cell.startswith("-") or cell[1:].replace(".", "").isdigit()
