"""Writes the records that were not submitted to a file, each with its problem, to be corrected and submitted again."""

import contextlib
import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from workers.domain.cards import MASK, is_masked_card_number, recorded_card_number
from workers.operations.errors import OperationError
from workers.operations.files.header import DELIMITERS, FIELDS
from workers.operations.files.values import CARD_CHARACTER, mask_card_numbers
from workers.operations.json_records import DuplicateFields
from workers.operations.progress import Progress, unreported
from workers.operations.records import RawRecord, Table

PROBLEM = "Problem"
_TABLES, _JSON = {".csv", ".tsv"}, {".json", ".jsonl", ".ndjson"}
_ESCAPED = re.compile(r"\\u([0-9A-Fa-f]{4})")
_NEW, _PRIVATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600

Reject = tuple[RawRecord, str]
Rejects = Callable[[], Iterable[Reject]]  # Can be called several times.


def refuse_path(path: Path) -> str | None:
    """Return why rejects cannot be written to *path*; None if they can."""
    if str(path) == "-":
        return "they are written to a file, not to standard output"
    if path.exists() or path.is_symlink():
        return f"{path} exists already, and is not overwritten: give another name, or remove it"
    if not path.parent.is_dir():
        return f"there is no directory {path.parent}"
    if not os.access(path.parent, os.W_OK):
        return f"nothing can be written to the directory {path.parent}"
    return None


def write_rejects(path: Path, rejects: Rejects, progress: Progress = unreported) -> int:
    """
    Write *rejects* to the new file *path*, which only its owner can read, and return how many there were.

    It is CSV or JSON lines, as its name says, or else as the first reject was. Rows of CSV are as in their file if all
    rejects have the same header. Card numbers are masked. Nothing is written without rejects, or after an error or an
    interruption.

    Raises:
        OperationError: The file exists, or cannot be written.
    """
    first = next(iter(rejects()), None)
    if first is None:
        return 0
    table, suffix = first[0].table, path.suffix.lower()
    write = _write_json
    if suffix in _TABLES or (suffix not in _JSON and table is not None):
        # A third reading; only rows of one table can be written as they are.
        same = table if all(raw.table == table for raw, _ in rejects()) else None
        write = partial(_write_table, same)
    return _write_new(path, lambda file: write(file, _counted(rejects(), progress)))


def _counted(rejects: Iterable[Reject], progress: Progress) -> Iterator[Reject]:
    for reject in rejects:
        progress(1)
        yield reject


def _write_new(path: Path, write: Callable[[TextIO], int]) -> int:
    # Under its name the file is whole, also if this process is killed. A name of any length becomes this one.
    part = path.with_name(f".rejects-{os.urandom(8).hex()}.part")
    try:
        # Bytes that are not UTF-8 are written as they were.
        with open(  # noqa: PTH123
            os.open(part, _NEW, _PRIVATE), "w", encoding="utf-8", errors="surrogateescape", newline=""
        ) as file:
            count = write(file)
        os.close(os.open(path, _NEW, _PRIVATE))  # Never overwrite a file that was made meanwhile.
        part.replace(path)
    except OSError as error:
        raise OperationError(f"{path}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return count


def _write_table(same: Table | None, file: TextIO, rejects: Iterable[Reject]) -> int:
    """Write CSV with the header that all rejects have, or else with the fields of an order."""
    header = same.header if same else FIELDS
    first = int(header[0].strip() == PROBLEM)  # The files are corrected rejects themselves.
    file.write("\ufeff")  # Without it, Excel does not read UTF-8.
    # Another delimiter than these is not found out, and the line that named it is not written.
    delimiter = same.delimiter if same and same.delimiter in DELIMITERS else DELIMITERS[0]
    writer, count = csv.writer(file, delimiter=delimiter), 0
    writer.writerow([PROBLEM, *map(mask_card_numbers, header[first:])])
    for record, problem in rejects:
        columns = _row(record)[first:] if same else _values(record) or _placed(record)
        writer.writerow([mask_card_numbers(problem), *(columns or [_text(record)])])
        count += 1
    return count


def _row(record: RawRecord) -> list[str]:
    """Return the columns of a row of CSV, masked."""
    card = record.table.places["CC"] if record.table else None
    return [
        _card_number(text) if place == card else mask_card_numbers(text) for place, text in enumerate(record.columns)
    ]


def _placed(record: RawRecord) -> list[str]:
    """Return the columns of a row that has too many of them, masked: first those of the fields, then all others."""
    table, row = record.table, _row(record)
    if table is None or len(row) <= len(table.header):
        return []
    skipped = {*table.places.values(), *([0] if table.header[0].strip() == PROBLEM else [])}
    return [row[table.places[field]] for field in FIELDS] + [
        text for place, text in enumerate(row) if place not in skipped
    ]


def _values(record: RawRecord) -> list[str]:
    """Return the fields of a readable order, masked; those of JSON that are not strings as their JSON."""
    order = dict(_order(record))
    values = (order.get(field, "") for field in FIELDS)
    texts = [value if type(value) is str else _json(value) for value in values] if order else []
    # A file with half a pair, or with a zero byte, could not be read again.
    return [text.encode("utf-8", "replace").decode().replace("\0", "?") for text in texts]


def _write_json(file: TextIO, rejects: Iterable[Reject]) -> int:
    """Write JSON lines. A record that is no object becomes one with its text."""
    count = 0
    for record, problem in rejects:
        start, unreadable = (PROBLEM, mask_card_numbers(problem)), ("Text", _text(record))
        fields = [field for field in _order(record) if field[0] != PROBLEM] or [unreadable]
        try:
            line = _json(_Fields([start, *fields]))
        except RecursionError:
            line = _json(_Fields([start, unreadable]))
        file.write(f"{line}\n")
        count += 1
    return count


class _Number(str):
    """A number of JSON, as it is in the file."""

    __slots__ = ()


class _Fields(list[tuple[str, Any]]):
    """An object of JSON: all its fields, repeated ones, too."""

    __slots__ = ()


_decoder = json.JSONDecoder(object_pairs_hook=_Fields, parse_int=_Number, parse_float=_Number)


def _order(record: RawRecord) -> _Fields:
    """Return the fields of an order, masked; none if it cannot be read as an object."""
    if not isinstance(record.value, Mapping | DuplicateFields):
        return _Fields()
    try:
        order: _Fields = _masked(_decoder.decode(record.text))
    except RecursionError:
        return _Fields()
    return order


def _masked(value: Any) -> Any:
    match value:
        case _Number():
            return value if mask_card_numbers(value) == value else MASK
        case str():
            return mask_card_numbers(value)
        case _Fields():
            pairs = (
                (mask_card_numbers(name), _masked_card(item) if name == "CC" else _masked(item)) for name, item in value
            )
            return _Fields(pairs)
        case list():
            return [_masked(item) for item in value]
    return value


def _masked_card(value: Any) -> str:
    return _card_number(value) if type(value) is str else MASK


def _card_number(text: str) -> str:
    """Return a card number, masked. An empty one stays empty, and a masked one as it is."""
    return text if not text.strip() or is_masked_card_number(text) else recorded_card_number(text.strip())


def _json(value: Any) -> str:
    match value:
        case _Number():
            return str(value)
        case _Fields():
            return "{" + ", ".join(f"{_json(name)}: {_json(item)}" for name, item in value) + "}"
        case list():
            return "[" + ", ".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=not _is_unicode(value))


def _is_unicode(value: Any) -> bool:
    return not isinstance(value, str) or not any("\ud800" <= char <= "\udfff" for char in value)


def _text(record: RawRecord) -> str:
    """Return the text of a record that cannot be read, masked."""
    text = record.text
    if not text and record.table:
        text = record.table.delimiter.join(map(mask_card_numbers, record.columns))
    return mask_card_numbers(_ESCAPED.sub(_unescaped, text).rstrip("\r\n"))


def _unescaped(match: re.Match[str]) -> str:
    """Return an escaped character of JSON as it is, if a card number may have it."""
    char = chr(int(match[1], 16))
    return char if CARD_CHARACTER.fullmatch(char) else match[0]
