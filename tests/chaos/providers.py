"""
Providers that misbehave on purpose: `FULFILLMENT_PROVIDER=tests.chaos.providers:Slow`.

Each call is appended to `shipments.jsonl` in `CHAOS_DIRECTORY` when it begins and when it has succeeded. So a test can
count shipments even if the process was killed.
"""

import asyncio
import json
import os
import signal
import time
from pathlib import Path

from workers.domain.orders import Order, shipment_id
from workers.errors import OutageError

SHIPMENTS = "shipments.jsonl"
DOWN = "down"  # While a file with this name exists, `SometimesDown` is down.
POISON = "poison"  # `Crashing`: orders whose id begins with this crash the worker that ships them.
FAILING = "failing"  # `Failing`: orders whose id begins with this always fail.


class Recorder:
    """Ships at once and records it."""

    def __init__(self) -> None:
        self.directory = Path(os.environ["CHAOS_DIRECTORY"])

    async def ship(self, order: Order) -> str:
        self._write(order, "began")
        await self._work(order)
        self._write(order, "shipped")
        return shipment_id(order.order_id)

    async def _work(self, order: Order) -> None:
        """Do what the subclass is for, before the order is shipped."""

    def _write(self, order: Order, what: str) -> None:
        line = json.dumps({"order_id": order.order_id, "what": what, "pid": os.getpid(), "at_s": time.time()})
        # A single write to a file opened for appending stays whole, even with several processes.
        with (self.directory / SHIPMENTS).open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")


class Slow(Recorder):
    """Takes `CHAOS_SHIP_S` seconds."""

    async def _work(self, order: Order) -> None:
        del order
        await asyncio.sleep(float(os.environ["CHAOS_SHIP_S"]))


class SometimesDown(Recorder):
    """Ships quickly; while it is down, every order fails with an outage."""

    async def _work(self, order: Order) -> None:
        del order
        await asyncio.sleep(0.02)
        if (self.directory / DOWN).exists():
            raise OutageError("the provider is down")


class Crashing(Recorder):
    """Kills its own worker process when it ships an order of `POISON`."""

    async def _work(self, order: Order) -> None:
        await asyncio.sleep(0.02)
        if order.order_id.startswith(POISON):
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Recorder):
    """Always fails for the orders of `FAILING`, and works for all others."""

    async def _work(self, order: Order) -> None:
        if order.order_id.startswith(FAILING):
            raise RuntimeError("this order always fails")
