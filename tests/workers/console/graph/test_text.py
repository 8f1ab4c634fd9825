"""How wide texts are, and how they are cut to fit."""

import pytest

from workers.console.graph.text import LABEL, TITLE, Font, cut, label_width, width_of, wrap


def test_widths_are_at_least_those_of_a_wide_font() -> None:
    # DejaVu Sans Bold at 12.4 pixels, and DejaVu Sans at 10.5, as a browser shows them.
    assert 164 < width_of("OrderFulfillment Queue", TITLE) < 185
    assert 122 < width_of("ConditionalCheckFailed", LABEL) < 134
    assert width_of("漢字", LABEL) > 20
    assert [width_of(char, Font(100)) for char in "\u10ff\u1100\N{RIGHTWARDS ARROW}"] == [64, 104, 104]


def test_each_letter_has_a_width_and_bold_ones_are_wider() -> None:
    widths = [width_of(letter, Font(100)) for letter in "iIfckEmDAb"]
    assert widths == pytest.approx([29, 36, 41, 55, 59, 64, 100, 79, 70, 64])
    assert width_of("bb", Font(50, is_bold=True)) == pytest.approx(72.12)


def test_a_label_has_space_around_it() -> None:
    assert label_width("bb") == pytest.approx(width_of("bb", LABEL) + 14)
    assert label_width("no") > width_of("no", LABEL)
    assert label_width("") == 0


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("Short", ["Short"]),
        ("Put message in Escalation Queue", ["Put message in", "Escalation Queue"]),
        ("One two three four five six seven eight nine ten", ["One two three", "four five six sev…"]),
        ("Pneumonoultramicroscopicsilicovolcanoconiosis", ["Pneumonoultramic", "roscopicsilicovol…"]),
        ("WW WWWWWWWWWWWWWW", ["WW", "WWWWWWWWW…"]),
        ("  spaces \n between  ", ["spaces between"]),
        ("", [""]),
    ],
)
def test_a_long_name_is_wrapped_once_and_then_cut(text: str, lines: list[str]) -> None:
    assert wrap(text, 140, TITLE) == lines
    assert all(width_of(line, TITLE) <= 140 for line in lines)


def test_what_fits_exactly_is_not_cut() -> None:
    assert cut("aa", width_of("aa", LABEL), LABEL) == "aa"
    assert cut("aaaa", width_of("aa…", LABEL), LABEL) == "aa…"
    assert wrap("aa bb", width_of("aa bb", LABEL), LABEL) == ["aa bb"]
    assert wrap("aa bbb", width_of("bbb", LABEL), LABEL) == ["aa", "bbb"]
    assert wrap("aaaa", width_of("aa", LABEL), LABEL) == ["aa", "aa"]


def test_a_line_has_at_least_one_letter() -> None:
    assert wrap("abc", 1, TITLE) == ["a", "…"]


def test_no_text_is_longer_than_its_room() -> None:
    assert cut("abcdef", 0, TITLE) == "…"
    assert cut("abc", 100, TITLE) == "abc"
