"""Providers for worker processes under test: what an order's ItemName says is what becomes of it."""

import asyncio

from workers.domain.orders import Order
from workers.fulfillment.providers import RejectedError


class ScriptedProvider:
    """
    Ships whatever it is given, but for three items.

    `slow` takes as many seconds as the order's Price says; `reject` and `fail` say the order's Name in an error.
    """

    async def ship(self, order: Order) -> str:
        match order.item_name:
            case "slow":
                await asyncio.sleep(float(order.price or 0))
            case "reject":
                raise RejectedError(f"we do not ship to {order.name}")
            case "fail":
                raise ValueError(f"cannot ship to {order.name}") from KeyError(order.name)
        return f"shipment-of-{order.order_id}"
