import random

import pytest

from workers.domain.cards import looks_like_card, mask, mask_all, masked_card_number, may_hold_card
from workers.domain.orders import is_order_id

CARD = "4929123412345678"
ARN = "arn:aws:states:us-east-1:123456789012:execution:Orders:4929123412345678"
TRACE_ID = "12345678901234567890abcdef123456"
UUID = "12345678-1234-1234-1234-123456789012"
TIMESTAMP = "2026-11-22T10:00:00.123456Z"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("1" * 13, "****"),
        ("1" * 16, "****"),
        ("1" * 19, "****"),
        ("1" * 20, "****"),
        ("1" * 500, "****"),
        ("4929 1234 1234 5678", "****"),
        ("4929-1234-1234-5678", "****"),
        ("4929 - 1234--1234  5678", "****"),
        ("4 9 2 9 1 2 3 4 1 2 3 4 5", "****"),
        (f"Card {CARD}.", "Card ****."),
        (f"x{CARD}y", "x****y"),
        (f"{CARD},{CARD};4929-1234-1234-5678", "****,****;****"),
        (f"first {CARD}\nsecond {CARD}\n", "first ****\nsecond ****\n"),
        (f"\u5f20{CARD}\u4f1f", "\u5f20****\u4f1f"),
    ],
)
def test_masks_runs_of_thirteen_digits_and_more(text: str, masked: str) -> None:
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1" * 12,
        "1234 5678 9012",
        "4929.1234.1234.5678",
        "1,234,567,890,123",
        "80000",
        "a1b2c3d4e5f6a7b8c9d0",
        "\u0661" * 16,
    ],
)
def test_leaves_shorter_and_other_runs(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "text",
    [
        ARN,
        "arn:aws-us-gov:sqs:us-gov-west-1:123456789012:Queue-1234567890123",
        "arn:aws:s3:::bucket/4929-1234-1234-5678",
        UUID,
        UUID.replace("1", "A"),
        f"message-{UUID}",
        f"order_{UUID}",
        f"2024-{UUID}",
        TIMESTAMP,
        f"{TIMESTAMP} {TIMESTAMP}",
        "2026-11-22 10:00:00.123456789-05:30",
        "00000000-0000-0000-0000-000000000000",
        f"trace_id={TRACE_ID}",
        f"trace_id={TRACE_ID} message_id=1",
        f'{{"trace_id": "{TRACE_ID}"}}',
        f'{{"trace_id":"{TRACE_ID}"}}',
    ],
)
def test_keeps_the_digits_of_arns_uuids_trace_ids_and_timestamps(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"{ARN} {CARD}", f"{ARN} ****"),
        (f"{CARD} {ARN}", f"**** {ARN}"),
        (f"{CARD} {UUID}", f"****{UUID}"),
        (f"{UUID} {CARD}", f"{UUID} ****"),
        (f"{TIMESTAMP} {CARD}", f"{TIMESTAMP} ****"),
        (f"{CARD} {TIMESTAMP}", f"****{TIMESTAMP}"),
        (f"2026-11-22T10:00:00 {CARD}", "2026-11-22T10:00:00 ****"),
        (f"2026-11-22T10:00:00.{CARD}", "2026-11-22T10:00:00.****"),
        (f"2026-11-22T10:00:00+12:00{CARD}", "2026-11-22T10:00:00+12:****"),
        (f"{UUID}{CARD}", "****"),  # Followed by more digits, it is not a UUID.
        (f"{CARD}-abcd-abcd-abcd-abcdefabcdef", "****-abcd-abcd-abcd-abcdefabcdef"),
        (f"00000000-0000-4000-8000-{CARD}", "****"),
        (f"order_{UUID}", f"order_{UUID}"),
        (f"{UUID}-{UUID}", f"{UUID}-{UUID}"),
        (TRACE_ID, "****abcdef123456"),  # Outside of its field it could be anything.
        (f"{CARD}abcdefabcdefabcd", "****abcdefabcdefabcd"),
        (f"trace_id {TRACE_ID}", "trace_id****abcdef123456"),
        (f"trace_id={TRACE_ID}1", "trace_id=****abcdef1234561"),
        (f"trace_id={'1' * 32}", "trace_id=****"),  # An id of a trace has a letter.
        (f"trace_id={TRACE_ID.upper()}", "trace_id=****ABCDEF123456"),
        (f"trace_id={TRACE_ID} {CARD}", "trace_id=****abcdef****"),  # It may end with the begin of a card number.
        (f"trace_id={TRACE_ID};{CARD}", f"trace_id={TRACE_ID};****"),
    ],
)
def test_masks_card_numbers_next_to_arns_uuids_and_timestamps(text: str, masked: str) -> None:
    assert mask(text).replace(" ", "") == masked.replace(" ", "")


@pytest.mark.parametrize(
    ("fields", "masked"),
    [
        ({"trace_id": TRACE_ID}, {"trace_id": TRACE_ID}),
        ({"detail": TRACE_ID}, {"detail": "****abcdef123456"}),
        ({"trace_id": f"{TRACE_ID}0"}, {"trace_id": "****abcdef1234560"}),
        ({"trace_id": CARD * 2}, {"trace_id": "****"}),
        ({"trace_id": int(CARD)}, {"trace_id": "****"}),
    ],
)
def test_keeps_the_id_of_a_trace_in_its_field_alone(fields: dict[str, object], masked: dict[str, object]) -> None:
    assert mask_all(fields) == masked


def test_masks_nested_values_and_keys() -> None:
    assert mask_all(
        {
            "text": CARD,
            CARD: "key",
            "number": int(CARD),
            "float": 4929123412345678.0,
            "small": 42,
            "list": [CARD, {"deep": (CARD, "5")}],
            "set": {CARD},
            "none": None,
            "true": True,
            "error": ValueError(f"Card {CARD}"),
        }
    ) == {
        "text": "****",
        "****": "key",
        "number": "****",
        "float": "****.0",
        "small": 42,
        "list": ["****", {"deep": ["****", "5"]}],
        "set": ["****"],
        "none": None,
        "true": True,
        "error": "Card ****",
    }


@pytest.mark.parametrize(
    ("text", "may"), [(CARD, True), (f"is {UUID} it", True), ("1234567890 12", False), ("", False)]
)
def test_may_hold_card_finds_digits_of_any_kind(text: str, may: bool) -> None:
    assert may_hold_card(text.encode()) is may


def test_may_hold_card_agrees_with_mask_on_random_text() -> None:
    chance = random.Random(0)
    for _ in range(5_000):
        text = "".join(chance.choices("0123456789 -x\u0664", weights=[3] * 10 + [4, 4, 1, 1], k=chance.randint(1, 60)))
        assert may_hold_card(text.encode()) == (mask(text) != text)


@pytest.mark.parametrize("identifier", [CARD, "4929-1234-1234-5678", f"a{CARD}b", f"{UUID}-{CARD}", "1" * 13])
def test_looks_like_card(identifier: str) -> None:
    assert looks_like_card(identifier)


@pytest.mark.parametrize(
    "order_id", ["001", UUID, f"order-{UUID}", f"order_{UUID}", f"1-{UUID}", f"x{UUID}", f"{UUID}.1", "1" * 12]
)
def test_a_valid_order_id_is_never_masked(order_id: str) -> None:
    assert is_order_id(order_id)
    assert mask(order_id) == order_id


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("************5678", "************5678"),
        ("****", "****"),
        ("", "****"),
        ("4929", "****"),
        (CARD, "****"),
        ("************56789", "****"),
        ("****\n", "****"),
    ],
)
def test_only_a_masked_card_number_is_shown(stored: str, shown: str) -> None:
    assert masked_card_number(stored) == shown
