import pytest

from workers.domain.orders import (
    FulfillmentDecision,
    Order,
    OrderStatus,
    decide_fulfillment,
    is_order_id,
    is_shipment_id,
    shipment_id,
)

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"


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
def test_is_no_order_id(text: str) -> None:
    assert not is_order_id(text)


def test_a_shipment_id_is_the_same_whenever_it_is_asked_for() -> None:
    assert shipment_id("001") == shipment_id("001")
    assert shipment_id("001") != shipment_id("002")
    assert shipment_id("001").startswith("SHIP-")
    assert is_shipment_id(shipment_id("001"))


@pytest.mark.parametrize("value", ["S", "S-1", "1Z-999_AA/10", "!~", "x" * 128, "1" * 12])
def test_is_a_shipment_id(value: object) -> None:
    assert is_shipment_id(value)


@pytest.mark.parametrize(
    "value",
    [None, 7, b"S-1", ["S-1"], "", "S 1", "S\n", "\u00df", "x" * 129, "4929123412345678", "S-4929-1234-1234-5678"],
)
def test_is_no_shipment_id(value: object) -> None:
    assert not is_shipment_id(value)


def order(status: str) -> Order:
    return Order("001", OrderStatus(status), EXECUTION)


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
def test_decides_by_status_for_the_same_execution_or_where_none_is_named(
    named: str | None, status: str, decision: str
) -> None:
    assert decide_fulfillment(order(status), named) == FulfillmentDecision(decision)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "ESCALATED", "CANCELLED"])
def test_another_executions_order_is_superseded_whatever_its_status(status: str) -> None:
    assert decide_fulfillment(order(status), ANOTHER) == FulfillmentDecision.SUPERSEDED


@pytest.mark.parametrize("named", [EXECUTION, None])
def test_a_missing_order_is_not_found(named: str | None) -> None:
    assert decide_fulfillment(None, named) == FulfillmentDecision.NOT_FOUND


def test_an_order_without_an_execution_belongs_to_none_that_is_named() -> None:
    by_hand = Order("001", OrderStatus.RECEIVED, None)
    assert decide_fulfillment(by_hand, None) == FulfillmentDecision.FULFILL
    assert decide_fulfillment(by_hand, EXECUTION) == FulfillmentDecision.SUPERSEDED
