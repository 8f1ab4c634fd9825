"""Card masking for any text. `surviving_runs` and `masked_by_hand` say independently what `mask` must do."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import any_text, card_numbers, digit_text, digits, exempt, json_values, text
from workers.domain.cards import MASK, looks_like_card, mask, mask_all, masked_card_number, may_hold_card

DIGITS, GAPS = frozenset("0123456789"), frozenset(" -")
# No digits, spaces and dashes, and nothing that could begin or continue an ARN, a UUID or a timestamp.
NEUTRAL = st.text("xyz\u00e9\u5f20\u0664\uff11!?\n\t()*", min_size=1, max_size=5).map("({})".format)


def runs(text: str) -> list[tuple[int, int]]:
    """Return start and end of each longest run of digits, with spaces and dashes between them."""
    found: list[tuple[int, int]] = []
    for place, char in enumerate(text):
        if char not in DIGITS:
            continue
        if found and set(text[found[-1][1] : place]) <= GAPS:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
    return found


def card_runs(text: str) -> list[tuple[int, int]]:
    return [(start, end) for start, end in runs(text) if sum(char in DIGITS for char in text[start:end]) >= 13]


def masked_by_hand(text: str) -> str:
    """Mask a text that has no ARN, no UUID and no timestamp."""
    for start, end in reversed(card_runs(text)):
        text = f"{text[:start]}{MASK}{text[end:]}"
    return text


def surviving_runs(text: str) -> list[str]:
    """Return the runs of 13 digits and more that are in no ARN, UUID or timestamp."""
    patterns = (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?(?![0-9])",
        r"(?<![0-9])[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9])",
        r"trace_id=(?=[0-9]*[a-f])[0-9a-f]{32}(?![0-9A-Za-z])(?![ -]+[0-9])",
        r"arn:aws[^\s\"'*]*",
    )
    for pattern in patterns:
        text = re.sub(pattern, "#", text)
    return [text[start:end] for start, end in card_runs(text)]


@given(text | st.builds("{}{}".format, exempt, digits(1, 14)) | st.builds("{}{}".format, digits(1, 14), exempt))
def test_no_card_number_survives(text: str) -> None:
    assert surviving_runs(mask(text)) == []


@given(st.lists(NEUTRAL | digits(1, 12).map("({})".format) | card_numbers.map("({})".format) | any_text))
def test_a_text_without_exempt_parts_is_masked_as_by_hand(pieces: list[str]) -> None:
    text = "".join(pieces)
    if re.search("[0-9A-Fa-f-]{36}|trace_id=|:[0-9]{2}:|arn:", text) is None:
        assert mask(text) == masked_by_hand(text)


@given(st.lists(NEUTRAL | digits(1, 12).map("({})".format) | exempt.map("({})".format)))
def test_a_text_without_card_numbers_is_not_changed(pieces: list[str]) -> None:
    assert mask("".join(pieces)) == "".join(pieces)


@given(st.lists(st.tuples(NEUTRAL, st.tuples(exempt, st.just("")) | card_numbers.map(lambda run: (run, MASK)))))
def test_only_the_card_numbers_change(pieces: list[tuple[str, tuple[str, str]]]) -> None:
    text = "".join(f"{before}({run})" for before, (run, _) in pieces)
    assert mask(text) == "".join(f"{before}({masked or run})" for before, (run, masked) in pieces)


@given(text)
def test_masking_twice_changes_nothing_more(text: str) -> None:
    assert mask(mask(text)) == mask(text)


@given(text | st.builds("{}{}{}".format, text, card_numbers, text))
def test_the_cheap_test_never_rules_out_a_text_that_masking_changes(text: str) -> None:
    if looks_like_card(text):
        assert may_hold_card(text.encode())
    assert looks_like_card(text) == (mask(text) != text)


@given(json_values | st.dictionaries(digit_text | st.integers(0, 10**20), card_numbers))
def test_no_card_number_survives_in_nested_values(value: object) -> None:
    def strings(value: object) -> list[str]:
        match value:
            case dict():
                return [found for pair in value.items() for item in pair for found in strings(item)]
            case list():
                return [found for item in value for found in strings(item)]
            case _:
                return [str(value)]

    masked = mask_all(value)
    assert [run for found in strings(masked) for run in surviving_runs(found)] == []
    assert mask_all(masked) == masked


STARS = st.sampled_from([0, 3, 4, 5, 11, 12, 13]).map("*".__mul__)


@given(
    st.builds("{}{}".format, STARS, st.sampled_from(["", "567", "5678", "56789", "567\u0668"]))
    | card_numbers
    | any_text
)
@example("*" * 12 + "56789")
def test_at_most_four_digits_of_a_stored_card_number_are_shown(stored: str) -> None:
    shown = masked_card_number(stored)
    well_masked = len(stored) == 16 and set(stored[:12]) == {"*"} and set(stored[12:]) <= DIGITS
    assert shown == (stored if well_masked else "****")
