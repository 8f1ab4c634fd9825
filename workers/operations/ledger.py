"""What a command knows of the orders of its files, in little memory."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntFlag, auto
from functools import cache
from hashlib import blake2b
from typing import Any

from workers.domain.submissions import improper_fields, recorded_fields
from workers.operations.order_record import Record

CACHE_KIB = 8_192  # As much as 70,000 orders take.
_MARK_BYTES, _CONTENT_BYTES = 4, 8
_PAGE = 100  # Also as many as DynamoDB reads at once.
_IMPROPER = {"Price": 1, "CC": 2}
_TABLE = """
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, file INTEGER, line INTEGER, element INTEGER,
    content BLOB, marks BLOB, improper INTEGER, state INTEGER DEFAULT 0, started REAL, asked REAL, problem TEXT
)
"""
_INSERT = """
INSERT OR IGNORE INTO orders (order_id, file, line, element, content, marks, improper) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PAGE_OF = """
SELECT number, order_id, file, line, element, marks, improper, state, started, asked FROM orders
WHERE number > ? AND state & ? = ? AND state & ? = 0 ORDER BY number LIMIT ?
"""
_PLACE = "SELECT file, line, element, content FROM orders WHERE order_id = ?"
_PROBLEM = "SELECT problem FROM orders WHERE order_id = ?"
_STATE = "SELECT state FROM orders WHERE order_id = ?"
_MARK = """
UPDATE orders SET state = state | ?, started = coalesce(?, started), asked = coalesce(?, asked),
problem = coalesce(?, problem) WHERE order_id = ?
"""
_UNMARK = "UPDATE orders SET state = state & ~? WHERE order_id = ?"


class State(IntFlag):
    """What has become of an order in this command."""

    NEW = 0
    TAKEN = 1  # It is final, or in progress in another execution: this submission cannot start it.
    EXISTING = 2  # Its execution exists already, and it was not compared with the stored order yet.
    NOT_SUBMITTED = 4  # Step Functions refused it, or it differs from the stored order.


class Found(Enum):
    """What the ledger knows of a record that was read again."""

    UNCHANGED = auto()  # It is in the ledger.
    REPEATED = auto()  # Another record of its OrderId is.
    CHANGED = auto()  # It was not read before.


@dataclass(frozen=True, slots=True)
class Entry:
    """
    An order of a file, without its values.

    *marks* are hashes of its fields as the workflow records them, *improper* the fields for which it escalates it.
    *started_at* is when its execution has started, if AWS has said so. *asked_at* is when this command first asked for
    an execution that exists, if it asked more than once.
    """

    order_id: str
    file: str
    line: int
    marks: bytes
    improper: tuple[str, ...] = ()
    state: State = State.NEW
    started_at: datetime | None = None
    asked_at: datetime | None = None
    element: int | None = None


def marks_of(recorded: Mapping[str, str]) -> bytes:
    """Return the marks of the fields of an order, as the workflow records them."""
    return b"".join(_hash(value, _MARK_BYTES) for value in recorded.values())


def differing(marks: bytes, recorded: Mapping[str, str]) -> list[str]:
    """Return the names of the fields that have other marks."""
    other = marks_of(recorded)
    parts = range(0, len(other), _MARK_BYTES)
    return [
        field
        for field, start in zip(recorded, parts, strict=True)
        if marks[start : start + _MARK_BYTES] != other[start : start + _MARK_BYTES]
    ]


class Ledger:
    """
    The good records of a command's files, in their order, and what became of each.

    It is a table of SQLite, and takes about 120 bytes for an order: an OrderId and hashes. What exceeds `CACHE_KIB` is
    in a temporary file without a name, which is gone when this process ends. The key of the hashes is never in it:
    without a key, a card number could be found by trying all.
    """

    def __init__(self) -> None:
        self._files: list[str] = []
        self._counts: Counter[str] = Counter()  # The orders of each file.
        self._database = sqlite3.connect("", isolation_level=None)  # The empty name means such a file.
        # All is one transaction, which never ends: once the file is written to, each commit looks at the whole cache.
        self._database.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -{CACHE_KIB}; {_TABLE}; BEGIN"
        )

    def __len__(self) -> int:
        return self._counts.total()

    def count(self, file: str) -> int:
        """Return how many orders of a file there are."""
        return self._counts[file]

    def add(self, record: Record) -> str | None:
        """Add a record. If there is one of this OrderId already, return its place."""
        if record.file not in self._files:
            self._files.append(record.file)
        file, order = self._files.index(record.file), record.fields()
        row = (
            record.order_id,
            file,
            record.line,
            record.element,
            _hash(record.text, _CONTENT_BYTES),
            marks_of(recorded_fields(order)),
            sum(_IMPROPER[field] for field in improper_fields(order)),
        )
        if not self._database.execute(_INSERT, row).rowcount:
            return self.place(record.order_id, record.file)
        self._counts[record.file] += 1
        return None

    def place(self, order_id: str, file: str) -> str:
        """Return where an order is that is in the ledger, for a report about *file*."""
        index, line, element, _ = self._read(_PLACE, order_id)
        place = f"line {line}" if element is None else f"element {element}"
        return place if self._files[index] == file else f"{self._files[index]} {place}"

    def find(self, record: Record) -> Found:
        """Return whether a record that was read again is in the ledger."""
        row = self._read(_PLACE, record.order_id)
        if row is None:
            return Found.CHANGED
        file, line, element, content = row
        if (self._files[file], line, element) != (record.file, record.line, record.element):
            return Found.REPEATED
        return Found.UNCHANGED if content == _hash(record.text, _CONTENT_BYTES) else Found.CHANGED

    def entries(self, *, having: State = State.NEW, lacking: State = State.NEW) -> Iterator[Entry]:
        """Yield the orders, in the order of the files, that are in state *having*, and not in state *lacking*."""
        last = 0
        # Page by page, because the caller changes states meanwhile.
        while rows := self._database.execute(_PAGE_OF, (last, having, having, lacking, _PAGE)).fetchall():
            for number, order_id, file, line, element, marks, improper, state, started, asked in rows:
                fields = tuple(field for field, bit in _IMPROPER.items() if improper & bit)
                place = (self._files[file], line)
                yield Entry(order_id, *place, marks, fields, State(state), _time(started), _time(asked), element)
                last = number

    def problem(self, order_id: str) -> str | None:
        """Return why an order was not submitted, if it was not."""
        problem: str | None
        (problem,) = self._read(_PROBLEM, order_id)
        return problem

    def state(self, order_id: str) -> State:
        """Return what has become of an order that is in the ledger."""
        return State(*self._read(_STATE, order_id))

    def mark(
        self,
        order_id: str,
        state: State = State.NEW,
        *,
        started_at: datetime | None = None,
        asked_at: datetime | None = None,
        problem: str | None = None,
    ) -> None:
        """Add what has become of an order to what is known of it."""
        times = (None if time is None else time.timestamp() for time in (started_at, asked_at))
        self._database.execute(_MARK, (state, *times, problem, order_id))

    def unmark(self, order_id: str, state: State) -> None:
        """Remove *state* from the order's state."""
        self._database.execute(_UNMARK, (state, order_id))

    def _read(self, query: str, order_id: str) -> Any:
        return self._database.execute(query, (order_id,)).fetchone()


def _hash(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, key=_key()).digest()


@cache
def _key() -> bytes:
    return os.urandom(32)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
