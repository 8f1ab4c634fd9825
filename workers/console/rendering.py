"""
Renders templates.

Every value that a template shows is cleaned here, at one place: control characters are replaced, and runs of digits
that look like a card number are masked. Jinja then escapes it. The only markup that passes is what templates and the
graph write themselves.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from workers import clock
from workers.console.addresses import path
from workers.console.links import way_of
from workers.domain.ids import execution_name
from workers.domain.text import clean
from workers.operations.ages import format_age, seconds_since
from workers.operations.documents import texts

TEMPLATES = Path(__file__).parent / "templates"
_BLANKS = {"\t", "\n", "\r"}


def shown(value: object) -> object:
    """Return *value* as a page may show it. Markup comes only from templates and the graph, and is left as it is."""
    if isinstance(value, Markup) or value is None:
        return "" if value is None else value
    return "\n".join(map(clean, str(value).splitlines())) if isinstance(value, str) else clean(value)


def age(at: object, now: datetime) -> str | None:
    """Return how long ago *at* was, such as `3m`."""
    text = clock.rfc_3339(at)
    return format_age(seconds_since(text, now))


def utc(at: object) -> str | None:
    """Return the time *at* as `2026-11-26 06:58:11 UTC`."""
    text = clock.rfc_3339(at)
    return None if text is None else f"{clock.shown(text)} UTC"


def seconds(value: float | Decimal | None) -> str | None:
    """Return a length of time: `7 ms`, `0.42 s`, `12.3 s`, `3m`."""
    if value is None:
        return None
    number = float(value)
    if number < 0.1:  # noqa: PLR2004 - a tenth of a second.
        return f"{number * 1000:.0f} ms"
    if number < 1:
        return f"{number:.2f} s"
    return f"{number:.1f} s" if number < 120 else format_age(number)  # noqa: PLR2004 - two minutes.


def rate(value: float | None) -> str | None:
    """Return how many a second: `0`, `0.25`, `12.3`."""
    return None if value is None else f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"  # noqa: PLR2004


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: `1 order`, `1,200 orders`."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a sentence: a command, or the text around it."""

    text: str
    is_command: bool


def commands(text: str) -> list[Part]:
    """Return the parts of a sentence, which gets a capital, and which has commands between backticks."""
    parts = re.split(r"`([^`]*)`", text[:1].upper() + text[1:])
    return [Part(part, number % 2 == 1) for number, part in enumerate(parts) if part]


def stored(item: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return an item of a table whose missing attributes are None in templates."""
    return None if item is None else defaultdict(lambda: None, item)


@cache
def environment() -> Environment:
    """Return the environment of all templates, which are compiled once. An unknown name in one is an error."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        {"age": age, "utc": utc, "seconds": seconds, "length_of_time": format_age, "rate": rate, "counted": counted}
    )
    made.filters.update({"moment": clock.rfc_3339, "texts": texts, "commands": commands, "way_of": way_of})
    made.filters.update({"execution_name": execution_name})
    made.globals.update({"path": path})
    return made


def now() -> datetime:
    return datetime.now(UTC)


def render(templates: Environment, name: str, values: Mapping[str, Any]) -> str:
    return templates.get_template(name).render(values)
