import pytest

from workers.domain.text import clean

HOSTILE = "A\x1b]0;owned\x07d\ta\n\x9b2J\u202e\u2028 4929 1234 1234 5678"


def test_control_characters_are_replaced_and_card_numbers_masked() -> None:
    assert clean(HOSTILE) == "A\ufffd]0;owned\ufffdd a \ufffd2J\ufffd\ufffd ****"
    assert clean("Zoë 🚲 東京") == "Zoë 🚲 東京"


@pytest.mark.parametrize(
    ("category", "char"),
    [
        ("control", "\x7f"),
        ("format", "\u200b"),
        ("surrogate", chr(0xD800)),
        ("private use", "\ue000"),
        ("not assigned", "\u0378"),
        ("line separator", "\u2028"),
        ("paragraph separator", "\u2029"),
    ],
)
def test_a_character_that_cannot_be_printed_is_replaced(category: str, char: str) -> None:
    assert clean(f"a{char}b") == "a\ufffdb", category


def test_tabs_and_line_ends_become_spaces() -> None:
    assert clean("a\tb\rc\nd") == "a b c d"


def test_a_card_number_on_several_lines_is_masked() -> None:
    assert clean("4929\n1234\n1234\n5678") == "****"


def test_anything_is_shown_as_text() -> None:
    assert [clean(value) for value in (None, 7, ["a"], "plain")] == ["None", "7", "['a']", "plain"]
