import pytest

from tests.workers.fakes import ANOTHER, EXECUTION, order
from workers.domain.orders import (
    FulfillmentDecision,
    Order,
    OrderStatus,
    decide_fulfillment,
    is_order_id,
    is_shipment_id,
    order_id_fault,
    shipment_id,
    unrecorded_shipment,
)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0",
            "a",
            "Z",
            "001",
            "42",
            "true",
            "null",
            "A.b_c-d",
            "a" * 64,
            "1" * 12,
            "1234-5678-9012",
            "a..",
            "x-" * 32,
        ),
        "123456789012a3456789012",
        "12345678-1234-1234-1234-123456789012",  # A UUID, though every group of it is all digits.
        "order-12345678-1234-1234-1234-123456789012",
        "order_550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_is_an_order_id(text: str) -> None:
    assert is_order_id(text)
    assert order_id_fault(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a" * 65,
            "-a",
            ".a",
            "_a",
            " a",
            "a ",
            "a\n",
            "\na",
            "a\r",
            "a b",
            "a/b",
            "a:b",
            "a#b",
            '"001"',
            "{}",
            "[]",
        ),
        *("\u0661\u0662\u0663", "\uff11", "\u00e9", "a\u00e9", "\u5f20", "a\u0000", "a\u200b", "a\ud800"),
        *("1" * 13, "1" * 16, "1" * 19, "1" * 20, "4929123412345678", "4929-1234-1234-5678", "4929--1234-12345678"),
        *("a4929123412345678", "4929123412345678a", "order-4929123412345678", "a-1-2-3-4-5-6-7-8-9-0-1-2-3"),
        "12345678-1234-1234-1234-123456789012-4929123412345678",
        "49291234-1234-5678-1234-12345678901",  # One digit short of a UUID.
    ],
)
def test_is_not_an_order_id(text: str) -> None:
    assert not is_order_id(text)
    assert order_id_fault(text)


def test_the_derived_shipment_id_is_always_the_same() -> None:
    assert shipment_id("001") == shipment_id("001")
    assert shipment_id("001") != shipment_id("002")
    assert shipment_id("001") == "SHIP-PI7GWFWLOX2I7OEX"
    assert is_shipment_id(shipment_id("001"))


@pytest.mark.parametrize("value", ["S", "S-1", "1Z-999_AA/10", "!~", "x" * 128, "1" * 12])
def test_is_a_shipment_id(value: object) -> None:
    assert is_shipment_id(value)


@pytest.mark.parametrize(
    "value",
    [None, 7, b"S-1", ["S-1"], "", "S 1", "S\n", "\u00df", "x" * 129, "4929123412345678", "S-4929-1234-1234-5678"],
)
def test_is_not_a_shipment_id(value: object) -> None:
    assert not is_shipment_id(value)


@pytest.mark.parametrize("named", [EXECUTION, None])
@pytest.mark.parametrize(
    ("status", "decision"),
    [
        ("RECEIVED", "fulfilled"),
        ("FULFILLED", "already_fulfilled"),
        ("ESCALATED", "superseded"),
        ("CANCELLED", "superseded"),
    ],
)
def test_the_status_decides_for_the_same_execution_or_without_one(
    named: str | None, status: str, decision: str
) -> None:
    assert decide_fulfillment(order(status), named) == FulfillmentDecision(decision)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "ESCALATED", "CANCELLED"])
def test_a_message_of_another_execution_is_superseded_whatever_the_status(status: str) -> None:
    assert decide_fulfillment(order(status), ANOTHER) == FulfillmentDecision.SUPERSEDED


@pytest.mark.parametrize("named", [EXECUTION, None])
def test_a_missing_order_is_not_found(named: str | None) -> None:
    assert decide_fulfillment(None, named) == FulfillmentDecision.NOT_FOUND


def test_an_order_without_an_execution_belongs_to_no_named_execution() -> None:
    by_hand = Order("001", OrderStatus.RECEIVED, None)
    assert decide_fulfillment(by_hand, None) == FulfillmentDecision.FULFILL
    assert decide_fulfillment(by_hand, EXECUTION) == FulfillmentDecision.SUPERSEDED


@pytest.mark.parametrize(
    ("order_id", "rejections", "key"),
    [
        ("001", 0, "001"),
        ("001", 1, "001-r1"),
        ("001-r1", 0, "001-r1-r0"),
        ("001-r1", 2, "001-r1-r2"),
        ("a-r", 0, "a-r"),
        ("a-r1x", 0, "a-r1x"),
        ("-r1", 0, "-r1-r0"),
    ],
)
def test_the_idempotency_key_is_the_order_id_and_the_number_of_rejections(
    order_id: str, rejections: int, key: str
) -> None:
    assert order(order_id=order_id, rejections=rejections).idempotency_key == key


def test_two_orders_never_share_an_idempotency_key() -> None:
    ids = ["a", "a-r", "a-r0", "a-r1", "a-r1-r0", "a-r1-r1", "a-r01", "a-r10"]
    keys = [order(order_id=order_id, rejections=n).idempotency_key for order_id in ids for n in range(12)]
    assert len(set(keys)) == len(keys)


def test_a_new_order_has_no_attempts_and_its_id_as_key() -> None:
    new = Order("001", OrderStatus.RECEIVED, None)
    assert (new.attempts, new.rejections, new.idempotency_key) == (0, 0, "001")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("4929123412345678", "looks like a card number"),
        ("a" * 65, "is longer than 64 characters"),
        (" 001\n", "has white space around it"),
        ("-001", "does not begin with a letter or digit"),
        ("0 1", "has a character that is not allowed"),
    ],
)
def test_what_is_wrong_with_an_order_id_is_said(text: str, fault: str) -> None:
    assert order_id_fault(text) == fault


LOST = "Shipped as S, but the order is"


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (order("FULFILLED", shipment_id="S"), None),
        (order("RECEIVED"), None),
        (None, f"{LOST} not in the table any more."),
        (order("FULFILLED", shipment_id="T"), f"{LOST} already FULFILLED by another shipment."),
        (order("CANCELLED"), f"{LOST} CANCELLED now."),
        (
            order("RECEIVED", execution_arn=ANOTHER),
            "Shipped as S, but the order is RECEIVED now, in another execution.",
        ),
    ],
)
def test_why_a_shipment_is_not_recorded_is_said(stored: Order | None, problem: str | None) -> None:
    assert unrecorded_shipment(stored, EXECUTION, "S") == problem
