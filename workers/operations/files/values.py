"""Corrects values that a spreadsheet has changed, if they can only mean one thing; says of others what is wrong."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from workers.domain.cards import MASK, recorded_text
from workers.domain.orders import MAX_TEXT_CHARS, is_order_id
from workers.domain.submissions import improper_fields

AS_TEXT = "format the column as text before its values are entered, and export it again"


class Correction(StrEnum):
    """What was corrected in a value. The text follows a number: `3 decimal commas`."""

    DECIMAL_COMMA = "decimal commas"
    THOUSANDS = "prices with separators of thousands"
    ZEROS = "prices with zeros after the second decimal"
    NO_ZERO = "prices without a zero before the decimals"
    SIGN = "prices with a plus sign"
    LEADING_ZEROS = "prices with leading zeros"
    BARE_POINT = "prices with a point or comma at the end"
    GROUPS = "card numbers with separators"
    WHOLE = "card numbers with a decimal zero"
    WRAPPED = "values marked as text"
    INVISIBLE = "values with invisible characters"


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is submitted, with what was corrected in it; or, if it cannot be, what is wrong with it."""

    text: str
    corrections: tuple[Correction, ...] = ()
    fault: str | None = None


# Spaces of all kinds and apostrophes only ever separate thousands.
_SPACES = " \u00a0\u2007\u2009\u202f"
_THOUSANDS = re.compile(
    rf"(?P<whole>[1-9][0-9]{{0,2}}(?:(?P<between>[{_SPACES}'\u2019.,])[0-9]{{3}})(?:(?P=between)[0-9]{{3}})*)"
    r"(?:(?P<point>[.,])(?P<decimals>[0-9]{1,2}))?"
)
_DECIMALS = re.compile(r"(?P<whole>0|[1-9][0-9]*|)(?P<point>[.,])(?P<decimals>[0-9]{1,2})(?P<zeros>0*)")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[Ee][+-]?[0-9]+")
_DECORATED = re.compile(r"(?P<plus>\+?)(?P<zeros>0*)(?:(?P<number>[0-9](?:.*[0-9])?)|(?P<whole>[0-9]+)(?P<end>[.,]))")
_NUMBER = rf"[+-]?[0-9](?:[0-9.,{_SPACES}'\u2019]*[0-9])?"
_CODE = r"(?:[A-Z]{3}|[A-Z]{0,2}\$|kr|Kr|z\u0142|K\u010d|Ft|Fr|Rs|R|lei)\.?"
_CURRENCY = re.compile(rf"{_CODE}[{_SPACES}]*{_NUMBER}|{_NUMBER}[{_SPACES}]*{_CODE}")

_DIGITS = re.compile(r"[0-9]{16}")
_BETWEEN_GROUPS = rf"{_SPACES}\-\u2010-\u2013"
_CARD_FORMS = (
    re.compile(rf"[0-9]+(?:[{_BETWEEN_GROUPS}]+[0-9]+)+"),
    re.compile(r"[0-9]{4}(?P<between>[.,'\u2019])[0-9]{4}(?P=between)[0-9]{4}(?P=between)[0-9]{4}"),
    re.compile(r"[0-9](?P<between>[.,'\u2019])[0-9]{3}(?:(?P=between)[0-9]{3}){4}"),
)
_INVISIBLE = r"\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
_CARDS_IN_TEXT = (
    re.compile(rf"[0-9](?:[{_BETWEEN_GROUPS}{_INVISIBLE}]*[0-9]){{12,}}"),
    *_CARD_FORMS[1:],
)
CARD_CHARACTER = re.compile(rf"[0-9.,'\u2019{_BETWEEN_GROUPS}{_INVISIBLE}]")
_WHOLE_CARD = re.compile(r"([0-9]{16})[.,]0{1,2}")
_MAX_EXACT = 2**53  # Up to here, a program that keeps numbers as floats keeps all digits.


def corrected_fields(order: Mapping[str, str]) -> dict[str, Value]:
    """Return the values of an order that cannot be taken as they are, by field: corrected, faulty or hopeless."""
    wrong = improper_fields(order) if is_order_id(order["OrderId"]) else ["OrderId", *improper_fields(order)]
    return {field: corrected(field, order[field]) for field in wrong}


def corrected(field: str, text: str) -> Value:
    """Return the value of *field* as it is submitted. What the workflow accepts is never changed, nor are names."""
    correct = _CORRECTORS.get(field)
    if correct is None or len(text) > MAX_TEXT_CHARS or _is_proper(field, text):
        return Value(text)
    bare, corrections = _unwrapped(text)
    value = Value(bare) if _is_proper(field, bare) else correct(bare)
    if value.fault is not None:
        return Value(text, (), value.fault)
    # A value that would be escalated anyway stays as it is.
    return Value(value.text, corrections + value.corrections) if _is_proper(field, value.text) else Value(text)


def _is_proper(field: str, text: str) -> bool:
    if field == "OrderId":
        return is_order_id(text)
    return field not in improper_fields({"Price": "1", "CC": ""} | {field: text})


def _unwrapped(text: str) -> tuple[str, tuple[Correction, ...]]:
    """Return *text* without what marks it as text for a spreadsheet, and without invisible characters."""
    visible = text
    if not text.isascii():
        visible = "".join(char for char in text if unicodedata.category(char) != "Cf").strip()
    corrections = (Correction.INVISIBLE,) if visible != text else ()
    bare = visible.removeprefix("'")
    if visible.startswith('="') and visible.endswith('"'):
        bare = visible[2:-1]
    return bare.strip(), corrections + ((Correction.WRAPPED,) if bare != visible else ())


def _price(text: str) -> Value:
    if _SCIENTIFIC.fullmatch(text):
        return Value(text, fault=f"Price is in scientific notation, so digits may be lost: {AS_TEXT}")
    if any(unicodedata.category(char) == "Sc" for char in text) or _CURRENCY.fullmatch(text):
        return Value(text, fault="Price has a currency, must be only a number such as 10.50: export it without one")
    if (match := _DECORATED.fullmatch(text)) and match["number"] != text:
        return _without_decoration(match)
    if (match := _THOUSANDS.fullmatch(text)) and match["between"] != match["point"]:
        return _with_thousands(match)
    if match := _DECIMALS.fullmatch(text):
        corrections = [Correction.DECIMAL_COMMA] if match["point"] == "," else []
        corrections += [Correction.ZEROS] if match["zeros"] else []
        corrections += [] if match["whole"] else [Correction.NO_ZERO]
        return Value(f"{match['whole'] or 0}.{match['decimals']}", tuple(corrections))
    return Value(text)


def _without_decoration(match: re.Match[str]) -> Value:
    """Return a price without what does not change a number: a plus, leading zeros, a point at its end."""
    value = _price(match["number"] or match["whole"])
    removed = {"plus": Correction.SIGN, "zeros": Correction.LEADING_ZEROS, "end": Correction.BARE_POINT}
    corrections = tuple(correction for part, correction in removed.items() if match[part])
    return Value(value.text, corrections + value.corrections, value.fault)


def _with_thousands(match: re.Match[str]) -> Value:
    between, digits = match["between"], re.sub("[^0-9]", "", match["whole"])
    if between in ".," and match["point"] is None and match["whole"].count(between) == 1:
        mark = "comma" if between == "," else "point"
        return Value(
            match[0],
            fault=f"Price has a {mark} before three digits, which may be decimals or thousands: "
            "export it without separators of thousands and with two decimals, such as 10.50",
        )
    decimals = f".{match['decimals']}" if match["point"] else ""
    comma = (Correction.DECIMAL_COMMA,) if match["point"] == "," else ()
    return Value(digits + decimals, (Correction.THOUSANDS, *comma))


def _card_number(text: str) -> Value:
    if _SCIENTIFIC.fullmatch(text):
        return Value(text, fault=f"CC is in scientific notation, so its last digits are lost: {AS_TEXT}")
    if any(form.fullmatch(text) for form in _CARD_FORMS):
        return Value(re.sub("[^0-9]", "", text), (Correction.GROUPS,))
    if (match := _WHOLE_CARD.fullmatch(text)) and int(match[1]) <= _MAX_EXACT:
        return Value(match[1], (Correction.WHOLE,))
    return Value(text)


def _order_id(text: str) -> Value:
    if _SCIENTIFIC.fullmatch(text):
        return Value(text, fault=f"OrderId is in scientific notation, so its last digits are lost: {AS_TEXT}")
    return Value(text)


_CORRECTORS: dict[str, Callable[[str], Value]] = {"OrderId": _order_id, "Price": _price, "CC": _card_number}


def mask_card_numbers(text: str) -> str:
    """Mask what the workflow masks in *text*, and what `corrected` would read as a card number."""
    masked = recorded_text(text)
    for form in _CARDS_IN_TEXT:
        masked = form.sub(MASK, masked)
    return masked


def is_card_number(text: str) -> bool:
    return _DIGITS.fullmatch(text) is not None


def passes_check_digit(digits: str) -> bool:
    """Return whether the last digit of a card number is the one that the others ask for (ISO/IEC 7812, Luhn)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0
