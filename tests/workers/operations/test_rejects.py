import csv
import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workers.operations import rejects as module
from workers.operations.errors import OperationError
from workers.operations.order_batch import OrderBatch, sources
from workers.operations.order_record import Record
from workers.operations.records import BadRecord, RawRecord
from workers.operations.rejects import refuse_path, write_rejects

CARD, SHORT = "4929123412345678", "123412345678"
HEADER = "OrderId,Name,ItemName,Price,CC\n"
MASKED = "************5678"
NAME_RULE = "must be a string of 1 to 256 characters"


def checked(tmp_path: Path, *contents: tuple[str, str | bytes]) -> OrderBatch:
    """Return the batch of these files, by name, after it was checked."""
    paths = []
    for name, content in contents:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(str(path))
    batch = OrderBatch(sources(paths, io.BytesIO()))
    for _ in batch.check():
        pass
    return batch


def written(tmp_path: Path, name: str, *contents: tuple[str, str | bytes]) -> str:
    """Return what is in the rejects file *name* of these files."""
    path, batch = tmp_path / name, checked(tmp_path, *contents)
    assert write_rejects(path, batch.rejects) == len(list(batch.rejects()))
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    assert CARD not in text
    return text


def table(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))


def test_rows_are_written_as_they_came_with_their_problem_first(tmp_path: Path) -> None:
    header = "Date; OrderId ;Name;ItemName;Price;CC\r\n"
    good = f"26.11.;1;Ada;Bell;1;{CARD}\r\n"
    bad = [f'26.11.;2;;" a;""b""\n";1;{CARD}\r\n', "27.11.;3;\r\n", '28.11.;"4"x;\r\n']
    text = written(tmp_path, "rejects", ("orders.csv", header + good + "".join(bad)))
    assert text.startswith(f"\ufeffProblem;{header}Name is empty, {NAME_RULE};{bad[0].replace(CARD, MASKED)}")
    assert table(text, ";")[2:] == [
        ["has 3 columns, the header has 6", "27.11.", "3", ""],
        ["is not CSV: ';' expected after '\"'", bad[2].rstrip()],
    ]


def test_corrected_rejects_can_be_submitted_and_rejected_again(tmp_path: Path) -> None:
    first = written(
        tmp_path, "1.csv", ("orders.csv", f"{HEADER}1,,Bell,1,{CARD}\n2,,Bell,1,{CARD}\n3,,Bell,1,{CARD}\n")
    )
    again = checked(tmp_path, ("uncorrected.csv", first))
    assert len(again.ledger) == 0
    one_corrected = first.replace("1,,Bell,1,************5678", f"1,Ada,Bell,1,{CARD}")
    half_corrected = one_corrected.replace(",2,,", ",2,Ada,")
    batch = checked(tmp_path, ("corrected.csv", half_corrected))
    assert [(record.order_id, record.fields()["CC"]) for record in batch.records()] == [("1", CARD)]
    path, reports = tmp_path / "2.csv", list[int]()
    assert write_rejects(path, batch.rejects, reports.append) == 2
    assert reports == [1, 1]
    assert table(path.read_text(encoding="utf-8")) == [
        ["Problem", "OrderId", "Name", "ItemName", "Price", "CC"],
        ["CC is masked: fill in the whole card number", "2", "Ada", "Bell", "1", MASKED],
        [f"Name is empty, {NAME_RULE}", "3", "", "Bell", "1", MASKED],
    ]


def test_json_is_written_as_lines(tmp_path: Path) -> None:
    good = {"OrderId": "1", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": CARD}
    lines = [
        json.dumps(good),
        json.dumps(good | {"OrderId": "2", "Price": 1.50, "More": [1, {"CC": 7, "x": CARD}, None, True]}, indent=1),
        '{"OrderId": "3", "Price": "1", "Price": "2", "CC": ' + CARD + "}",
        "[1, 2]",
        '{"OrderId": "4", broken 4929-1234-1234-5678}',
        '{"OrderId": "5", "Name": "Zo\u00eb"}',
        "{}",
    ]
    text = written(tmp_path, "rejects", ("orders.jsonl", "\n".join(lines)))
    problems = [json.loads(line).pop("Problem") for line in text.splitlines()]
    assert [
        line.replace(f'"Problem": {json.dumps(problem)}', "")
        for line, problem in zip(text.splitlines(), problems, strict=True)
    ] == [
        (
            '{, "OrderId": "2", "Name": "Ada", "ItemName": "Bell", "Price": 1.5, '
            f'"CC": "{MASKED}", "More": [1, {{"CC": "****", "x": "****"}}, null, true]}}'
        ),
        '{, "OrderId": "3", "Price": "1", "Price": "2", "CC": "****"}',
        '{, "Text": "[1, 2]"}',
        '{, "Text": "{\\"OrderId\\": \\"4\\", broken ****}"}',
        '{, "OrderId": "5", "Name": "Zo\u00eb"}',
        '{, "Text": "{}"}',
    ]
    assert problems[1] == "has Price twice"
    again = written(tmp_path, "again.jsonl", ("rejects.jsonl", text))
    assert [len(line.split('"Problem"')) for line in again.splitlines()] == [2] * 6


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (f",\n{{broken {CARD}}},\n{{}}]", "{broken ****},"),
        (f'\n"{CARD}" {{}}]', '"****" {}]'),
        (f"] x {CARD}\n", "x ****"),
    ],
)
def test_what_is_wrong_in_an_array_is_written_as_its_line(tmp_path: Path, end: str, text: str) -> None:
    order = {"OrderId": "1", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": CARD}
    (line,) = written(tmp_path, "rejects.jsonl", ("orders.json", f"[{json.dumps(order)}{end}")).splitlines()
    reject = json.loads(line)
    assert reject["Text"] == text
    assert reject["Problem"].endswith("the rest of the file was not read")


@pytest.mark.parametrize(
    "escaped",
    [
        CARD,
        "".join(f"\\u003{digit}" for digit in CARD),
        "4929\\u00a01234\\u00A01234\\u00a05678",
        "4929\\u002d1234\\u002d1234\\u002d5678",
    ],
)
@pytest.mark.parametrize("end", ['"}', '"'])
def test_no_card_number_is_written_in_any_form(tmp_path: Path, escaped: str, end: str) -> None:
    text = written(tmp_path, "rejects", ("orders.jsonl", f'{{"OrderId": "{escaped}", "{escaped}": "a {escaped}{end}'))
    assert "****" in text
    assert "5678" not in text
    assert "u003" not in text


def test_a_card_number_that_is_a_json_number_is_masked(tmp_path: Path) -> None:
    record = f'{{"OrderId": "1", "Price": {CARD}, "Name": -{CARD}, "More": [{CARD}.5, 7]}}'
    assert written(tmp_path, "rejects", ("orders.jsonl", record)).endswith(
        '"OrderId": "1", "Price": "****", "Name": "****", "More": ["****", 7]}\n'
    )


GROUPED = [
    f"4929{between}1234{between}1234{between}5678"
    for between in (" ", "-", "\u00a0", "\u202f", "\u2011", "\u200b", ".", "'")
] + ["4.929.123.412.345.678", "4929 12341234 5678"]


@pytest.mark.parametrize("card", [CARD, *GROUPED])
@pytest.mark.parametrize("name", ["rejects.csv", "rejects.jsonl"])
def test_a_card_number_is_masked_wherever_it_is_and_however_it_is_grouped(tmp_path: Path, card: str, name: str) -> None:
    header = f'{HEADER.strip()},"{card}"\n'
    shifted, unreadable = f"1,Ada,a,Bell,1,{card},x\n", f'2,"Ada" b,Bell,1,{card},x\n'
    for content in (
        header + shifted + unreadable,
        json.dumps({"OrderId": "", f"no {card}": [f"no {card}."], "Name": card}),
    ):
        text = written(tmp_path, name, ("orders" if content[0] == "{" else "orders.csv", content))
        assert "****" in text
        assert "678" not in text
        (tmp_path / name).unlink()


def test_rejects_of_an_unusual_separator_can_be_read_again(tmp_path: Path) -> None:
    header = HEADER.replace(",", "^")
    text = written(tmp_path, "rejects.csv", ("orders.csv", f"sep=^\n{header}1^^a,b^1^{CARD}\n"))
    assert table(text)[1] == [f"Name is empty, {NAME_RULE}", "1", "", "a,b", "1", MASKED]
    assert len(list(checked(tmp_path, ("again.csv", text)).rejects())) == 1


def test_characters_that_no_file_may_have_are_replaced_in_a_table(tmp_path: Path) -> None:
    order = {"OrderId": "1", "Name": "A\0\ud800", "ItemName": "", "Price": "1", "CC": CARD}
    text = written(tmp_path, "rejects.csv", ("orders.json", json.dumps(order)))
    assert table(text)[1][1:] == ["1", "A??", "", "1", MASKED]
    assert len(list(checked(tmp_path, ("again.csv", text)).rejects())) == 1


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (CARD, MASKED),
        (f" {CARD} ", MASKED),
        (SHORT, "****"),
        ("4.92912E+15", "****"),
        ("", ""),
        (MASKED, MASKED),
        ("****", "****"),
    ],
)
def test_the_card_number_is_masked_whatever_it_is(tmp_path: Path, given: str, shown: str) -> None:
    text = written(tmp_path, "rejects", ("orders.csv", f"CC,OrderId,Name,ItemName,Price\n{given},1,,Bell,{CARD}\n"))
    (_, row) = table(text)
    assert row[1:] == [shown, "1", "", "Bell", "****"]


FILES = [
    ("a.csv", f"{HEADER}1,,Bell,1,{CARD}\n"),
    ("b.csv", f"CC;Price;ItemName;Name;OrderId;More\n{CARD};1;Bell;;2;x\n3\n"),
    ("c.jsonl", '{"OrderId": "4", "Name": "\\ud800", "Price": 5, "CC": []}\n7\n'),
]


def test_files_with_different_headers_become_one_table_of_orders(tmp_path: Path) -> None:
    text = written(tmp_path, "rejects.csv", *FILES)
    assert [row[1:] for row in table(text)] == [
        ["OrderId", "Name", "ItemName", "Price", "CC"],
        ["1", "", "Bell", "1", MASKED],
        ["2", "", "Bell", "1", MASKED],
        ["3"],
        ["4", "?", "", "5", "****"],
        ["7"],
    ]


def test_a_row_with_too_many_columns_keeps_them_in_any_table(tmp_path: Path) -> None:
    first = ("a.csv", f"Note;CC;OrderId;Name;ItemName;Price\nn;{CARD};1;Ada;Bell;1;x;;y\nn;{CARD};2;Ada\n")
    second = ("b.csv", f"{HEADER}3,Ada,Bell,1,50,{CARD}\n")
    text = written(tmp_path, "rejects.csv", first, second)
    assert [row[1:] for row in table(text)[1:]] == [
        ["1", "Ada", "Bell", "1", MASKED, "n", "x", "", "y"],
        ["n;****;2;Ada"],
        ["3", "Ada", "Bell", "1", "****", "****"],
    ]
    again = written(
        tmp_path, "again.csv", ("rejects.csv", text), ("c.csv", f"CC,OrderId,Name,ItemName,Price\n{CARD}\n")
    )
    assert [row[1:] for row in table(again)[1:]][::2] == [row[1:] for row in table(text)[1:]][::2]
    lines = [json.loads(line)["Text"] for line in written(tmp_path, "rejects.jsonl", first, second).splitlines()]
    assert lines == ["n;****;1;Ada;Bell;1;x;;y", "n;****;2;Ada", "3,Ada,Bell,1,50,****"]


def test_files_of_any_form_become_json_lines_if_the_name_says_so(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in written(tmp_path, "rejects.jsonl", *FILES).splitlines()]
    assert all(line.pop("Problem") for line in lines)
    assert lines == [
        {"OrderId": "1", "Name": "", "ItemName": "Bell", "Price": "1", "CC": MASKED},
        {"OrderId": "2", "Name": "", "ItemName": "Bell", "Price": "1", "CC": MASKED},
        {"Text": "3"},
        {"OrderId": "4", "Name": "\ud800", "Price": 5, "CC": "****"},
        {"Text": "7"},
    ]


@pytest.mark.parametrize("order", [[0, 2], [2, 0]])
def test_without_a_suffix_the_first_reject_decides_the_form(tmp_path: Path, order: list[int]) -> None:
    text = written(tmp_path, "rejects", *(FILES[n] for n in order))
    assert text.startswith("\ufeffProblem,OrderId" if order[0] == 0 else '{"Problem"')


def test_bytes_that_are_not_utf_8_are_written_as_they_were(tmp_path: Path) -> None:
    data = f"{HEADER}1,M\xfcller,Bell,1,{CARD}\n2,\xa4,Bell,1,{CARD}\n".encode("latin-1")
    write_rejects(tmp_path / "rejects.csv", checked(tmp_path, ("orders.csv", data)).rejects)
    assert b",1,M\xfcller,Bell,1," in (tmp_path / "rejects.csv").read_bytes()


@pytest.mark.parametrize("depth", [700, 3_000])
def test_deep_nesting_is_written_as_text(tmp_path: Path, depth: int) -> None:
    deep = '{"OrderId": 1, "a": ' + "[" * depth + "]" * depth + "}"
    reject = json.loads(written(tmp_path, "rejects", ("orders.jsonl", deep)))
    assert reject.get("Text", deep) == deep, "how deep is too deep depends on the version of Python"


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff"])
def test_half_a_pair_stays_escaped_in_json(tmp_path: Path, half: str) -> None:
    text = written(tmp_path, "rejects", ("orders.jsonl", f'{{"OrderId": "1", "Name": "{half}"}}'))
    assert f'"Name": "{half}"' in text


def test_a_directory_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    assert refuse_path(tmp_path / "new.csv") == f"nothing can be written to the directory {tmp_path}"


def test_escapes_that_no_card_number_has_stay_as_they_are(tmp_path: Path) -> None:
    text = '{"a": "\\u00e9\\u0031\\u0061" broken'
    assert json.loads(written(tmp_path, "rejects", ("orders.jsonl", text)))["Text"] == '{"a": "\\u00e91\\u0061" broken'


def test_orders_that_were_not_submitted_are_rejects_too(tmp_path: Path) -> None:
    batch = checked(
        tmp_path, ("orders.csv", f"{HEADER}1,Ada,Bell,1,{CARD}\n2,Ada,Bell,1,{CARD}\n2,Ada,Bell,1,{CARD}\n")
    )
    batch.ledger.mark("1", problem="skipped")
    write_rejects(tmp_path / "rejects.csv", batch.rejects)
    rows = table((tmp_path / "rejects.csv").read_text(encoding="utf-8"))
    assert [row[:2] for row in rows[1:]] == [["skipped", "1"], ["OrderId is already in line 3", "2"]]


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    written(tmp_path, "rejects", FILES[0])
    assert stat.S_IMODE((tmp_path / "rejects").stat().st_mode) == 0o600


def test_without_rejects_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    assert write_rejects(path, checked(tmp_path, ("orders.csv", f"{HEADER}1,Ada,Bell,1,{CARD}\n")).rejects) == 0
    assert not path.exists()


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(OperationError, match=f"{path}: File exists"):
        write_rejects(path, checked(tmp_path, FILES[0]).rejects)
    assert path.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(errno.ENOSPC, "No space left on device"), OperationError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_after_an_error_or_an_interruption_nothing_is_left(
    tmp_path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    batch, path, times = checked(tmp_path, FILES[0]), tmp_path / "rejects.csv", 0

    def rejects() -> Iterator[tuple[RawRecord, str]]:
        nonlocal times
        times += 1
        yield from batch.rejects()
        if times == 3:  # The first records were written.
            raise error

    with pytest.raises(raised):
        write_rejects(path, rejects)
    assert set(tmp_path.iterdir()) == {tmp_path / name for name, _ in FILES[:1]}


def test_a_file_with_the_name_of_the_rejects_is_whole(tmp_path: Path) -> None:
    batch, path, seen = checked(tmp_path, FILES[0]), tmp_path / ("r" * 250), list[bool]()

    def rejects() -> Iterator[tuple[RawRecord, str]]:
        yield from batch.rejects()
        seen.append(path.exists())

    assert write_rejects(path, rejects) == 1
    assert seen == [False, False]
    assert path.exists()


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        return open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123 - the caller closes it.

    batch = checked(tmp_path, FILES[0])
    monkeypatch.setattr(module, "open", full, raising=False)
    with pytest.raises(OperationError, match=r"rejects\.csv: No space left on device"):
        write_rejects(tmp_path / "rejects.csv", batch.rejects)


def test_where_rejects_cannot_be_written(tmp_path: Path) -> None:
    assert refuse_path(tmp_path / "new.csv") is None
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name in ("dangling", "."):
        path = tmp_path / name
        assert refuse_path(path) == f"{path} exists already, and is not overwritten: give another name, or remove it"
    assert refuse_path(Path("-")) == "they are written to a file, not to standard output"
    assert refuse_path(tmp_path / "none" / "new.csv") == f"there is no directory {tmp_path / 'none'}"


def test_all_records_are_good_or_rejects(tmp_path: Path) -> None:
    batch = checked(tmp_path, *FILES)
    assert len(list(batch.rejects())) == 5
    assert not [record for record in batch.records() if isinstance(record, Record | BadRecord)]
