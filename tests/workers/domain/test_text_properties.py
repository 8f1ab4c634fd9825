"""Text from strangers is shown on one line, masked, and without characters that change a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, digit_text
from workers.domain.cards import looks_like_card, mask
from workers.domain.characters import REPLACEMENT
from workers.domain.text import clean


@given(any_text | digit_text | st.text("\x1b\x07\u202e\u200b\u2028\ue000 a1\n\t"))
def test_shown_text_is_masked_and_harmless(text: str) -> None:
    shown = clean(text)
    assert not looks_like_card(shown)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in shown)
    assert clean(shown) == shown


@given(any_text | digit_text)
def test_only_harmful_characters_change_before_the_mask(text: str) -> None:
    changed = {"\t": " ", "\r": " ", "\n": " "}
    harmful = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    by_hand = "".join(
        changed.get(char, REPLACEMENT if unicodedata.category(char) in harmful else char) for char in text
    )
    assert clean(text) == mask(by_hand)
