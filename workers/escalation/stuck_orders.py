"""Finds orders that have waited too long without an open case."""

from workers.domain.cases import CaseState
from workers.ports import CaseReader, OpenOrders


async def find_stuck(orders: OpenOrders, cases: CaseReader, *, since_before: str) -> list[str]:
    """
    Return the ids of orders that became `RECEIVED` before *since_before* (RFC 3339), still are, and have no open case.

    Such an order is not handled, or not fast enough: for example, its execution was aborted between two states, or
    its message was deleted by hand. Send the bare OrderId to the OrderFulfillmentQueue to fulfill it, or to the
    EscalationQueue to open a case.
    """
    stuck = []
    for order_id in await orders.received_before(since_before):
        case = await cases.get(order_id)
        if case is None or case.state is not CaseState.OPEN:
            stuck.append(order_id)
    return stuck
