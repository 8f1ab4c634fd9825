"""How much a run does, and the orders that it submits."""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.aws_facts.fact import Fact
from tests.aws_facts.runner import ALL_FACTS
from workers.domain.orders import OrderStatus
from workers.operations.order_record import Record

PREFIX = re.compile(r"acceptance-[0-9a-f]{6}-")
# Of 16 orders, the second must be escalated, by turns for each reason.
_ESCALATED_EVERY = 16
_FAULTS = ({"Price": "-1"}, {"CC": "1234"}, {"Price": "-1", "CC": "1234"})
_REASONS = (("INVALID_PRICE",), ("INVALID_CARD_NUMBER",), ("INVALID_CARD_NUMBER", "INVALID_PRICE"))
_NO_CARD = "0" * 16  # Of the right form, but no card has it.


@dataclass(frozen=True, slots=True)
class Expected:
    """How an order must end."""

    status: OrderStatus
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What a run does.

    `probes` is how often each single call is timed; `backlog`, how many messages wait when the sizes of receives are
    measured; `wait_s`, how long to wait for the last order; `patience_s`, for what AWS does eventually.
    """

    prefix: str
    facts: Sequence[Fact]
    orders: int
    probes: int
    backlog: int
    patience_s: float
    wait_s: float
    expected: dict[str, Expected] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "expected", dict(_expected(number) for number in range(self.orders)))

    @property
    def facts_prefix(self) -> str:
        return f"{self.prefix}facts-"

    @property
    def escalated(self) -> int:
        return sum(order.status is OrderStatus.ESCALATED for order in self.expected.values())


def plan(*, is_local: bool, orders: int | None, facts: str, prefix: str | None = None) -> Plan:
    """Return the plan for AWS, or a smaller one for a local AWS. *facts* is a part of the ids of the facts to check."""
    return Plan(
        prefix=prefix or f"acceptance-{secrets.token_hex(3)}-",
        facts=[fact for fact in ALL_FACTS if facts in fact.id],
        orders=orders if orders is not None else 40 if is_local else 1000,
        probes=10 if is_local else 100,
        backlog=50 if is_local else 1000,
        patience_s=5.0 if is_local else 60.0,
        wait_s=180.0 if is_local else 900.0,
    )


def records(orders: int) -> list[Record]:
    """Return the orders, as `orders submit` reads them from a file."""
    return [_record(number) for number in range(orders)]


def _order_id(number: int) -> str:
    return f"acceptance-{number + 1}"


def _fault(number: int) -> int | None:
    """Return what is wrong with an order: the index of a fault. The second order has one already."""
    return number // _ESCALATED_EVERY % len(_FAULTS) if number % _ESCALATED_EVERY == 1 else None


def _expected(number: int) -> tuple[str, Expected]:
    fault = _fault(number)
    if fault is None:
        return _order_id(number), Expected(OrderStatus.FULFILLED)
    return _order_id(number), Expected(OrderStatus.ESCALATED, _REASONS[fault])


def _record(number: int) -> Record:
    fault = _fault(number)
    order = {
        "OrderId": _order_id(number),
        "Name": "Acceptance",
        "ItemName": "Road bicycle",
        "Price": "100",
        "CC": _NO_CARD,
    }
    return Record(number + 1, order["OrderId"], json.dumps(order | ({} if fault is None else _FAULTS[fault])))
