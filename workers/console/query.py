"""Reads the filters of a list from its address."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlencode

from aiohttp import web
from multidict import MultiMapping

from workers.console.addresses import path
from workers.domain.cards import looks_like_card

MAX_FILTER_CHARS: Final = 300
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is set, and the address of the list without it."""

    text: str
    without: str


@dataclass(slots=True)
class Query:
    """
    The parameters of a list. `problems` says by name what is wrong with those that mean nothing.

    What is given stays in `given`, by name, as the forms and the links to the same list need it.
    """

    given: MultiMapping[str]
    problems: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        return self.given.get(name, "").strip()[:MAX_FILTER_CHARS] or None

    def chosen(self, name: str, known: Collection[str]) -> Sequence[str]:
        """Return the values of *name*, each once; others than *known* ones are a problem."""
        values = [value for value in dict.fromkeys(self.given.getall(name, [])) if value]
        if any(value not in known for value in values):
            self.problems[name] = f"must be {', '.join(known)}"
        return [value for value in values if value in known]

    def one_of(self, name: str, known: Collection[str]) -> str | None:
        return next(iter(self.chosen(name, known)), None)

    def check(self, name: str, parse: Callable[[str], object]) -> None:
        """Let *parse* read a text, if there is one; its `ValueError` is a problem."""
        text = self.text(name)
        try:
            if text is not None:
                parse(text)
        except ValueError as error:
            self.problems[name] = str(error)

    def number(self, name: str, default: int, at_most: int) -> int:
        text = self.given.get(name, "")
        return min(max(int(text), 1), at_most) if text.isascii() and text.isdigit() and len(text) < 10 else default  # noqa: PLR2004


def chips(page: str, query: Mapping[str, Any], labels: Mapping[str, str]) -> list[Chip]:
    """Return a chip for each value that *query* has; *labels* has the words before the values."""
    made = list[Chip]()
    for name, value in query.items():
        values = [*value] if isinstance(value, list | tuple) else [value]
        for each in values:
            if name not in labels or each in (None, "", False):
                continue
            rest = {**query, name: [other for other in values if other != each]}
            shown = labels[name] if each is True else f"{labels[name]} {each}"
            made.append(Chip(shown, path(page, **rest)))
    return made


def refuse_cards(request: web.Request) -> None:
    """
    Lead to the same page without the parameters that look like card numbers: an address stays in the browser's history.

    Raises:
        web.HTTPSeeOther: There was one.
    """
    query = [*request.query.items()]
    rest = [(name, value) for name, value in query if not looks_like_card(value) and not looks_like_card(name)]
    if rest != query:
        address = path(*(unquote(part) for part in request.rel_url.raw_path.split("/") if part)).unescape()
        raise web.HTTPSeeOther(f"{address}?{urlencode([*rest, (REFUSED, 'card')])}")
