"""Collects what was noticed in a file while it was read: what was corrected, and what the whole file looks like."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from workers.domain.submissions import IMPROPER_REASONS, improper_fields
from workers.domain.text import clean
from workers.operations.files.encodings import Encoding, is_misread
from workers.operations.files.values import AS_TEXT, Correction, is_card_number, passes_check_digit


class Skipped(StrEnum):
    """What was left out of a table."""

    EMPTY_ROWS = "rows without any value, skipped"
    HEADERS = "rows that repeat the header, skipped"
    EMPTY_COLUMNS = "rows with empty columns after the header's last"
    MISSING_COLUMNS = "rows without the header's last columns"


ANYWAY = "--anyway"
# One order with a wrong price is one case. Several that are all wrong have one reason.
_MANY = 2
_ROUNDED = f"a spreadsheet keeps only 15 digits; {AS_TEXT}"
_EXPORT = "export the file again as UTF-8"
_MONTHS = "Jan|Feb|Mar|Apr|May|Mai|Jun|Jul|Aug|Sep|Oct|Okt|Nov|Dec|Dez"
_DATE = re.compile(rf"[0-9]{{1,2}}[.-](?:{_MONTHS})|(?:{_MONTHS})[.-][0-9]{{2}}", re.IGNORECASE)


@dataclass(slots=True)
class Count:
    """How many there are, and the line of the first one."""

    count: int = 0
    line: int = 0

    def add(self, line: int) -> None:
        self.line = self.line or line
        self.count += 1

    def __str__(self) -> str:
        return f"{self.count:,} (first in line {self.line})"


@dataclass(slots=True)
class _CardNumbers:
    """
    The card numbers with 16 digits. A spreadsheet keeps 15, and makes the last one a zero.

    Of genuine card numbers one in ten ends with a zero, and then it is the right check digit. That is the case of only
    one in ten that a spreadsheet has changed.
    """

    all: int = 0
    zeros: Count = field(default_factory=Count)
    rounded: Count = field(default_factory=Count)  # They end with a zero that is a wrong check digit.
    are_different: bool = False
    _first: str = field(default="", repr=False)

    def add(self, number: str, line: int) -> None:
        self.all += 1
        if number.endswith("0"):
            self.zeros.add(line)
            if not passes_check_digit(number):
                self.rounded.add(line)
            self._first = self._first or number
            self.are_different |= number != self._first

    def refusal(self) -> str | None:
        """Return what is suspicious about most of them, if there are several."""
        if not self.are_different or not self.rounded.count or not _most(self.zeros.count, self.all):
            return None
        return (
            f"{self.zeros.count:,} of {self.all:,} card numbers end with 0 (first in line {self.zeros.line}), which is "
            f"a wrong check digit for {self.rounded.count:,} of them: {_ROUNDED}"
        )

    def warning(self) -> str | None:
        """Return what is suspicious about some of them."""
        if not self.rounded.count:
            return None
        return (
            f"{self.rounded.count:,} of {self.all:,} card numbers end with 0, a wrong check digit "
            f"(first in line {self.rounded.line}), and were probably rounded: {_ROUNDED}"
        )


def _most(count: int, of: int) -> bool:
    return 10 * count >= 9 * of


@dataclass(slots=True)
class Findings:
    """What was noticed in one file. Lines are those of the file; there is no value in any text."""

    encoding: Encoding | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    _counts: dict[Correction | Skipped, Count] = field(default_factory=dict)
    _dates: Count = field(default_factory=Count)
    _misread: Count = field(default_factory=Count)
    _orders: int = 0
    _escalated: Count = field(default_factory=Count)
    _improper: dict[str, Count] = field(default_factory=dict)
    _card_numbers: _CardNumbers = field(default_factory=_CardNumbers)

    def skipped(self, kind: Skipped, line: int) -> None:
        self._add(kind, line)

    def _add(self, kind: Correction | Skipped, line: int) -> None:
        self._counts.setdefault(kind, Count()).add(line)

    def add_order(self, order: Mapping[str, str], line: int, corrections: Iterable[Correction] = ()) -> None:
        """Look at an order that can be submitted, as it is submitted, after *corrections*."""
        for correction in corrections:
            self._add(correction, line)
        self._orders += 1
        if improper := improper_fields(order):
            self._escalated.add(line)
        for name in improper:
            self._improper.setdefault(name, Count()).add(line)
        if is_card_number(order["CC"]):
            self._card_numbers.add(order["CC"], line)
        if _DATE.fullmatch(order["OrderId"]):
            self._dates.add(line)
        if any(is_misread(order[name]) for name in ("Name", "ItemName")):
            self._misread.add(line)

    def notice(self) -> str | None:
        """Return what was done to the file's text, in one line; None if it was taken as it is."""
        return "; ".join(self._corrections()) or None

    def _corrections(self) -> Iterator[str]:
        if self.encoding is not None and self.encoding.guessed:
            yield f"read as {self.encoding.name}"
        for name, meant in self.renamed.items():
            yield f'column "{clean(name)}" read as {meant}'
        for kind, count in self._counts.items():
            yield f"{kind}: {count}" if isinstance(kind, Skipped) else f"corrected {kind}: {count}"

    def warnings(self) -> Iterator[str]:
        """Yield what looks wrong, but may be meant so."""
        if not self._card_numbers.refusal() and (warning := self._card_numbers.warning()):
            yield warning
        if self._dates.count:
            yield f"OrderIds that look like dates: {self._dates}; spreadsheets make 1-2 a date; {AS_TEXT}"

        if self._misread.count:
            yield f"names that look like UTF-8 read in another encoding: {self._misread}; {_EXPORT}"

    def refusal(self) -> str | None:
        """Return why the file should not be submitted, although its orders could be; None if it should."""
        if rounded := self._card_numbers.refusal():
            return f"{rounded}; {ANYWAY} submits them as they are"
        if self._escalated.count < _MANY or not _most(self._escalated.count, self._orders):
            return None
        reasons = ", ".join(f"{IMPROPER_REASONS[name]}: {count}" for name, count in self._improper.items())
        return (
            f"{self._escalated.count:,} of {self._orders:,} orders would be escalated: {reasons}; a price is above 0 "
            f"and like 10.50, a card number has 16 digits; correct the file, or use {ANYWAY} to open a case for each"
        )
