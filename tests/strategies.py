"""Strategies for property-based tests: text with digits that may look like card numbers, JSON, ids and ARNs."""

import itertools
import json
from typing import Any

from hypothesis import strategies as st

from workers.domain.orders import is_order_id

# Characters that can be encoded as UTF-8. That is the default of hypothesis, which tries all characters to find them.
unicode_characters = st.characters(exclude_categories=["Cs"])
unicode_text = st.text(unicode_characters)
st.register_type_strategy(str, unicode_text)
# Any text, also with half a surrogate pair: Python makes it from bytes that are not UTF-8.
any_text = st.text(st.characters())


def matching(pattern: str, *, fullmatch: bool = False) -> st.SearchStrategy[str]:
    """Texts in which *pattern* is found, or which it describes."""
    return st.from_regex(pattern, fullmatch=fullmatch, alphabet=unicode_characters)


# A draw is what takes time, so each of these needs only one or two: a number for all digits, a place in a list for the
# rest.


def _numerals(least: int, most: int) -> st.SearchStrategy[str]:
    """Numerals of *least* to *most* digits."""
    numbers = st.integers(0, 10**most - 1)
    if least == most:
        return numbers.map(lambda number: str(number).zfill(most))
    return st.builds(lambda size, number: str(number).zfill(size)[-size:], st.integers(least, most), numbers)


def _grouped(number: int, shape: tuple[int, int, str]) -> str:
    length, size, gap = shape
    run = str(number).zfill(length)[-length:]
    return gap.join(run[start : start + size] for start in range(0, length, size))


def digits(least: int, most: int) -> st.SearchStrategy[str]:
    """Runs of *least* to *most* digits, some with spaces and dashes between them."""
    shapes = itertools.product(range(least, most + 1), [4, 1, 5], ["", " ", "-", "  ", "--", " - "])
    return st.builds(_grouped, st.integers(0, 10**most - 1), st.sampled_from(list(shapes)))


card_numbers = digits(13, 25)

uuids = st.uuids().map(str) | st.builds(
    lambda run, upper: f"{run[:8]}-{run[8:12]}-{run[12:16]}-{run[16:20]}-{run[20:]}".replace("9", upper),
    _numerals(32, 32),
    st.sampled_from("9Aa"),
)
timestamps = st.builds(
    lambda run, ways, fraction: (
        f"{run[:4]}-{run[4:6]}-{run[6:8]}{ways[0]}{run[8:10]}:{run[10:12]}:{run[12:]}{fraction}{ways[1]}"
    ),
    _numerals(14, 14),
    st.sampled_from(list(itertools.product("T ", ["", "Z", "+02:00", "-11:30"]))),
    st.just("") | _numerals(1, 9).map(".{}".format),
)
_names = st.sampled_from(["one", "Orders-2", "a_1", "0"]) | _numerals(13, 20) | digits(13, 20).map("x{}".format)
execution_arns = st.builds(
    lambda place, account, *names: f"arn:aws{place[0]}:states:{place[1]}:{account}:execution:{names[0]}:{names[1]}",
    st.sampled_from(list(itertools.product(["", "-cn", "-us-gov"], ["us-east-1", "eu-central-1"]))),
    _numerals(12, 12),
    *[_names.map(lambda name: name.replace(" ", "_"))] * 2,
)
# What the masks leave as it is, whatever its digits are.
trace_ids = st.builds(
    lambda run, letter, end: f"trace_id={(run + letter + end)[:32].ljust(32, '0')}",
    _numerals(13, 30),
    st.sampled_from("abcdef"),
    _numerals(1, 18),
)
exempt = uuids | timestamps | execution_arns | trace_ids

# Pieces in any order, so that runs of digits begin and end next to each other, to letters and to exempt text.
digit_text = st.lists(
    digits(1, 14) | exempt | st.sampled_from([" ", "-", "x", "T", ":", ".", "\n", "\u0664", "\uff11", "arn:aws:"]),
    max_size=6,
).map("".join)
text = unicode_text | digit_text

order_ids = (
    st.text("abcXYZ0123456789._-", min_size=1, max_size=64) | st.builds("{}{}".format, st.sampled_from("aZ0"), uuids)
).filter(is_order_id)

_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
json_values: st.SearchStrategy[Any] = st.recursive(
    _scalars, lambda values: st.lists(values, max_size=4) | st.dictionaries(text, values, max_size=4), max_leaves=8
)


def json_texts(*documents: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Texts that are JSON, nearly JSON (a few characters are missing or added), or anything."""
    values = st.one_of(*documents, json_values)
    valid = st.builds(lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only), values, st.booleans())
    few = st.integers(0, 3)
    cut = st.builds(lambda whole, start, end: whole[start : len(whole) - end], valid, few, few)
    return valid | cut | st.builds("{}{}".format, valid, any_text) | any_text
