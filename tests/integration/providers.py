"""A provider for worker processes under test: an order's ItemName decides what happens to it."""

import asyncio

from workers.domain.orders import Order
from workers.fulfillment.providers import RejectedError


class ScriptedProvider:
    """
    Ships every order except for two items.

    `slow` takes as many seconds as the order's Price. `reject` and `fail` raise an error that quotes the order's Name.
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
