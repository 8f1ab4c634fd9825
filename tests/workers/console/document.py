"""Reads a page as a person sees it: its text, links, forms and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
UNSEEN = {"script", "style", "head", "noscript", "template"}


@dataclass
class Element:
    """An element of a page. `children` are elements and texts."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Element | str]" = field(default_factory=list)

    def __iter__(self) -> "Iterator[Element]":
        """Yield all elements inside, in the order of the page."""
        inside = self._elements[::-1]
        while inside:
            element = inside.pop()
            yield element
            inside += element._elements[::-1]

    @property
    def _elements(self) -> "list[Element]":
        return [child for child in self.children if isinstance(child, Element)]

    def all(self, *tags: str, **attributes: str) -> "list[Element]":
        """Return the elements inside with one of *tags* (by default any) and *attributes*; see `has`."""
        return [each for each in self if (not tags or each.tag in tags) and each.has(**attributes)]

    def one(self, *tags: str, **attributes: str) -> "Element":
        """Return the only such element."""
        (found,) = self.all(*tags, **attributes)
        return found

    def has(self, **attributes: str) -> bool:
        """Return whether it has *attributes*: `data_live` is `data-live`, and a class may be one of several."""
        return all(self._has(name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())

    def _has(self, name: str, value: str) -> bool:
        given = self.attributes.get(name)
        return given is not None and (value in given.split() if name == "class" else given == value)

    @property
    def text(self) -> str:
        """The text that is seen, with single blanks."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            elif child.tag not in UNSEEN:
                yield from child._texts()
                if child.tag not in {"a", "b", "bdi", "code", "em", "i", "span", "strong", "time"}:
                    yield " "

    @property
    def links(self) -> dict[str, str]:
        """The addresses of the links inside, by their text."""
        return {each.text: each.attributes["href"] for each in self.all("a") if "href" in each.attributes}

    @property
    def forms(self) -> "list[Form]":
        return [Form.of(each) for each in self.all("form")]

    @property
    def tables(self) -> list[list[list[str]]]:
        """The rows of each table, as the texts of their cells; the first is mostly that of the headers."""
        return [[[cell.text for cell in row.all("td", "th")] for row in table.all("tr")] for table in self.all("table")]


@dataclass(frozen=True)
class Form:
    """A form with what a browser would send if nobody changed anything; a checkbox without a tick is not in it."""

    action: str
    method: str
    fields: dict[str, list[str]]
    labels: Sequence[str]  # Of its buttons.

    @classmethod
    def of(cls, element: Element) -> "Form":
        fields: dict[str, list[str]] = {}
        for each in element.all("input", "textarea", "select"):
            name = each.attributes.get("name")
            if name is not None and "disabled" not in each.attributes:
                fields.setdefault(name, []).extend(_values(each))
        buttons = [each.text for each in element.all("button")]
        given = element.attributes
        return cls(
            given.get("action", ""), given.get("method", "get").lower(), {k: v for k, v in fields.items() if v}, buttons
        )


def _values(element: Element) -> list[str]:
    given = element.attributes
    if element.tag == "textarea":
        return ["".join(each for each in element.children if isinstance(each, str))]
    if element.tag == "select":
        options = element.all("option")
        chosen = [each for each in options if "selected" in each.attributes] or options[:1]
        return [each.attributes.get("value", each.text) for each in chosen]
    if given.get("type") in {"checkbox", "radio"} and "checked" not in given:
        return []
    if given.get("type") in {"submit", "button", "image", "reset"}:
        return []
    return [given.get("value", "on" if given.get("type") in {"checkbox", "radio"} else "")]


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document")
        self._open = [self.root]

    def updatepos(self, _i: int, j: int) -> int:
        return j  # Nobody asks for line numbers.

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        # A page that leaves an element open is one that a browser may show otherwise than it was meant.
        assert self._open[-1].tag == tag, f"</{tag}> ends <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(html: str) -> Element:
    """Return the page. Fails if an element is not closed, or closed by another."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser._open == [parser.root], f"not closed: {[each.tag for each in parser._open[1:]]}"
    return parser.root
