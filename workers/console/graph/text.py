"""How wide a text is when it is drawn, and how it is cut to fit."""

from dataclasses import dataclass

# Widths in hundredths of the font size: those of DejaVu Sans, which is wider than the other fonts of `graph.css`. What
# fits here fits there.
_WIDTHS = (
    (frozenset("ijl'"), 29),
    (frozenset("I.,:;|! "), 36),
    (frozenset('ftr()[]/\\-"'), 41),
    (frozenset("cs"), 55),
    (frozenset("kvxyz"), 59),
    (frozenset("EFJLPSTY"), 64),
    (frozenset("mwMW%@—…"), 100),
    (frozenset("DGHNOQU"), 79),
)
_UPPER, _OTHER, _WIDE_SCRIPT = 70, 64, 104
# Bold letters are wider, the narrow ones most.
_BOLD, _BOLD_EACH = 1.08, 3
_ELLIPSIS = "…"
_LABEL_PADDING = 14.0


@dataclass(frozen=True, slots=True)
class Font:
    size: float
    is_bold: bool = False


TITLE, SUBTITLE, LABEL, PILL = Font(12.4, is_bold=True), Font(10.8), Font(10.5), Font(10.5, is_bold=True)


def width_of(text: str, font: Font) -> float:
    """Return the width that *text* has at most, in user units."""
    width = sum(_width(char) for char in text)
    return (width * _BOLD + len(text) * _BOLD_EACH if font.is_bold else width) / 100 * font.size


def label_width(label: str) -> float:
    """Return the width of a line's label with the space around it, 0 for none."""
    return width_of(label, LABEL) + _LABEL_PADDING if label else 0.0


def wrap(text: str, room: float, font: Font, most: int = 2) -> list[str]:
    """Return *text* on at most *most* lines of at most *room*, cut with an ellipsis."""
    lines: list[str] = []
    rest = " ".join(text.split())
    while rest and len(lines) < most - 1 and width_of(rest, font) > room:
        line, rest = _first_line(rest, room, font)
        lines.append(line)
    if rest or not lines:
        lines.append(cut(rest, room, font))
    return lines


def cut(text: str, room: float, font: Font) -> str:
    """Return *text*, or what of it fits before an ellipsis."""
    if width_of(text, font) <= room:
        return text
    while text and width_of(f"{text}{_ELLIPSIS}", font) > room:
        text = text[:-1]
    return f"{text.rstrip()}{_ELLIPSIS}"


def _first_line(text: str, room: float, font: Font) -> tuple[str, str]:
    """Return the words that fit, and the rest. A word that is too long is broken."""
    end = len(text)
    while end and width_of(text[:end], font) > room:
        end = text.rfind(" ", 0, end)
        if end < 0:
            end = next(size for size in range(len(text), 0, -1) if size <= 1 or width_of(text[:size], font) <= room)
            return text[:end], text[end:]
    return text[:end], text[end:].lstrip()


def _width(char: str) -> int:
    for chars, width in _WIDTHS:
        if char in chars:
            return width
    if not char.isascii() and not char.isalpha():
        return _WIDE_SCRIPT
    if ord(char) >= 0x1100:  # noqa: PLR2004 - Hangul and what follows it: most are as wide as they are high.
        return _WIDE_SCRIPT
    return _UPPER if char.isupper() else _OTHER
