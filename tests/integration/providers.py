"""A provider for worker processes under test: an order's ItemName decides what happens to it."""

import asyncio
import os
import time

import structlog

from workers.domain.orders import Order
from workers.fulfillment.providers import RejectedError

log = structlog.get_logger(__name__)

CRASHED = 9  # The exit code of a process that `crash` has ended.


class ScriptedProvider:
    """
    Ships every order except for a few items.

    `slow` takes as many seconds as the order's Price. `block` blocks the event loop as long. `reject` and `fail` raise
    an error that quotes the order's Name. `crash` ends the worker's process after `CRASH_AFTER_S` seconds. `slow` and
    `crash` log `provider.called` first.
    """

    async def ship(self, order: Order) -> str:
        match order.item_name:
            case "slow":
                log.info("provider.called")
                await asyncio.sleep(float(order.price or 0))
            case "block":
                time.sleep(float(order.price or 0))  # noqa: ASYNC251 - on purpose.
            case "crash":
                log.info("provider.called")
                await asyncio.sleep(float(os.environ["CRASH_AFTER_S"]))
                os._exit(CRASHED)
            case "reject":
                raise RejectedError(f"we do not ship to {order.name}")
            case "fail":
                raise ValueError(f"cannot ship to {order.name}") from KeyError(order.name)
        return f"shipment-of-{order.order_id}"


class PlainProvider:
    """Ships every order. Not async: logs `provider.called`, and blocks for as many seconds as the order's Price."""

    def __init__(self) -> None:
        self._shipping = set[str]()

    def ship(self, order: Order) -> str:
        self._shipping.add(order.order_id)
        log.info("provider.called", at_once=len(self._shipping))
        time.sleep(float(order.price or 0))
        self._shipping.remove(order.order_id)
        return f"shipment-of-{order.order_id}"


class NoProvider:
    """Ships nothing."""
