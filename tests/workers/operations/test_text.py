from workers.operations.text import clean

HOSTILE = "A\x1b]0;owned\x07d\ta\n\x9b2J\u202e\u2028 4929 1234 1234 5678"


def test_control_characters_are_replaced_and_card_numbers_masked() -> None:
    assert clean(HOSTILE) == "A\ufffd]0;owned\ufffdd a \ufffd2J\ufffd\ufffd ****"
    assert clean("Zoë 🚲 東京") == "Zoë 🚲 東京"
