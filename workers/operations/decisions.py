"""Reads files in which a person has decided what happens to many cases, and files with the card numbers for them."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.domain.resolutions import Action, Request, ResolutionError
from workers.domain.text import clean
from workers.operations.cells import text_of
from workers.operations.errors import OperationError
from workers.operations.files.encodings import encoding_of, without_marks
from workers.operations.files.header import DELIMITERS, separator_of, wrong_width
from workers.operations.files.values import corrected
from workers.operations.order_table import is_key

MAX_DECISIONS = 10_000
MAX_PROBLEMS = 5  # In one error.
# The file's columns, and the fields of an order that they correct. Headers are compared without case, spaces, `_`, `-`.
_COLUMNS = ("case_id", "action", "note", "shipment_id", "order_id", "name", "item_name", "price", "cc")
_FIELDS = {"order_id": "OrderId", "name": "Name", "item_name": "ItemName", "price": "Price"}
_MASKED = re.compile(r"\*+[0-9]{0,4}")
_CARD_LINE = re.compile(r"\s*(\S+?)(?:\s*[,;]\s*|\s+)([0-9][0-9 -]*)\s*")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person has decided about a case. `corrections` and `card_number` are for a resubmission."""

    case_id: str
    request: Request
    corrections: Mapping[str, str]
    card_number: str | None = None


def read_decisions(
    name: str, content: bytes, *, actor: str, note: str | None, cards_allowed: bool
) -> tuple[list[Decision], list[str]]:
    """
    Return the decisions in a CSV file, and the headers of columns that mean nothing here.

    A line without an action is left out: the case stays as it is. *note* is for lines without one. Card numbers may be
    in the file only if *cards_allowed*: if it is standard input.

    Raises:
        OperationError: A line is wrong. The text names the lines, at most five, and never a card number.
    """
    header, *lines = _rows(name, content) or [(1, [])]
    columns = [_normalized(text) for text in header[1]]
    _check_header(name, columns)
    unused = [clean(text) for text, column in zip(header[1], columns, strict=True) if column not in _COLUMNS]
    decisions, problems, seen = list[Decision](), list[str](), dict[str, int]()
    for line, cells in lines:
        try:
            decision = _decision(columns, cells, actor, note, cards_allowed=cards_allowed)
        except (OperationError, ResolutionError) as error:
            problems.append(f"line {line}: {error}")
            continue
        if decision is None:
            continue
        if (before := seen.setdefault(decision.case_id, line)) != line:
            problems.append(f"line {line}: case {clean(decision.case_id)} is already in line {before}")
        decisions.append(decision)
    if problems:
        more = len(problems) - MAX_PROBLEMS
        others = f"; and {more} more {'line' if more == 1 else 'lines'}" if more > 0 else ""
        raise OperationError(f"{name}: nothing was done: {'; '.join(problems[:MAX_PROBLEMS])}{others}")
    return decisions, unused


def read_card_numbers(content: bytes, case_ids: Iterable[str]) -> dict[str, str]:
    """
    Return the card numbers by the id of their case. Each line has a case's id and its card number.

    Raises:
        OperationError: A line is wrong, or its case is not among *case_ids*. The text names the line, and no value.
    """
    known, numbers = set(case_ids), dict[str, str]()
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        found = _CARD_LINE.fullmatch(line)
        if found is None:
            raise OperationError(f"card numbers: line {number} must be a case's id, a comma and a card number")
        case_id = found[1]
        if case_id not in known or case_id in numbers:
            why = "is there twice" if case_id in numbers else "is not among the cases to resubmit"
            raise OperationError(f"card numbers: the case of line {number} {why}")
        numbers[case_id] = found[2]
    return numbers


def _rows(name: str, content: bytes) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, with the numbers of their lines."""
    try:
        text = without_marks(content.decode(encoding_of(name, io.BytesIO(content)).name))
    except UnicodeDecodeError:
        raise OperationError(f"{name} is not UTF-8: save it as UTF-8") from None
    first, end, rest = text.partition("\n")
    separator = separator_of(first)
    if separator is not None:
        text = end + rest  # With an empty line instead, so that the numbers of lines stay right.
    header = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = separator or max(DELIMITERS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    return list(_numbered(name, reader))


def _numbered(name: str, reader: Any) -> Iterator[tuple[int, list[str]]]:
    try:
        begin = 1
        for count, cells in enumerate(reader):
            if count > MAX_DECISIONS:
                raise OperationError(f"{name} has more than {MAX_DECISIONS:,} lines: divide it")
            if any(cell.strip() for cell in cells):
                yield begin, cells
            begin = reader.line_num + 1
    except csv.Error:
        raise OperationError(f"{name}: line {reader.line_num} is not valid CSV") from None


def _check_header(name: str, columns: Sequence[str]) -> None:
    missing = [column for column in ("case_id", "action") if column not in columns]
    twice = [column for column in _COLUMNS if columns.count(column) > 1]
    if missing:
        known = ", ".join(_COLUMNS)
        raise OperationError(f"{name} has no column {' and no column '.join(missing)}; the columns are {known}")
    if twice:
        raise OperationError(f"{name} has the column {twice[0]} twice")


def _normalized(header: str) -> str:
    """Return the name of a column: `Case ID`, `CaseId` and `case-id` are `case_id`."""
    plain = re.sub(r"[\s_-]", "", header).lower()
    return next((column for column in _COLUMNS if column.replace("_", "") == plain), header)


def _decision(
    columns: Sequence[str], cells: Sequence[str], actor: str, note: str | None, *, cards_allowed: bool
) -> Decision | None:
    if any(cell.strip() for cell in cells[len(columns) :]):
        raise OperationError(f"it {wrong_width(cells, len(columns))}")
    given = {column: text_of(cell) for column, cell in zip(columns, cells, strict=False) if cell.strip()}
    if "action" not in given:
        return None
    case_id = _corrected("OrderId", given.get("case_id", ""))
    if not is_key(case_id):
        raise OperationError("case_id is missing" if "case_id" not in given else "case_id is not the id of a case")
    if given["action"].lower() not in set(Action):
        raise OperationError(f"action is none of {', '.join(Action)}")
    action, card = Action(given["action"].lower()), given.get("cc")
    if card is not None and _MASKED.fullmatch(card):
        card = None  # As `orders escalations list --csv` shows it.
    if card is not None and not cards_allowed:
        raise OperationError("a card number may not be in a file, only in standard input or in --card-numbers-fd")
    if (reason := given.get("note", note)) is None:
        raise OperationError("note is missing, and there is no --note")
    shipment_id = given.get("shipment_id") if action is Action.FULFILL else None
    request = Request(action=action, actor=actor, note=reason, shipment_id=shipment_id)
    corrections = {field: _corrected(field, given[column]) for column, field in _FIELDS.items() if column in given}
    is_new = action is Action.RESUBMIT
    return Decision(case_id, request, corrections if is_new else {}, card if is_new else None)


def _corrected(field: str, text: str) -> str:
    """Return a value as in a file of orders: without what a spreadsheet has changed in it."""
    value = corrected(field, text)
    if value.fault is not None:
        raise OperationError(value.fault)
    return value.text
