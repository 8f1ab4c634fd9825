"""The cells of CSV files for spreadsheets, which run a text that looks like a formula."""

import re
from typing import Any

from workers.domain.text import clean

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULAS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # A formula begins so; the last four are wide.


def cell_of(value: Any) -> str:
    """
    Return *value* as a cell. Entries of a list are separated by semicolons, None is empty.

    Card numbers are masked. What a spreadsheet would run as a formula begins with an apostrophe; numbers do not.
    """
    if value is None:
        return ""
    text = clean("; ".join(map(str, value)) if isinstance(value, list | tuple) else value)
    return f"'{text}" if _is_run(text) else text


def text_of(cell: str) -> str:
    """Return the text of a cell, without the space around it and the apostrophe that `cell_of` writes."""
    text = cell.strip()
    return text[1:].strip() if text.startswith("'") and _is_run(text[1:]) else text


def _is_run(text: str) -> bool:
    return text.lstrip()[:1] in _FORMULAS and _NUMBER.fullmatch(text) is None
