"""
Providers that misbehave on purpose: `FULFILLMENT_PROVIDER=tests.chaos.providers:Slow`.

Each call is appended to `shipments.jsonl` in `CHAOS_DIRECTORY` when it begins and when it has succeeded, so that the
effects outside can be counted, whatever becomes of the process that made them.
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
DOWN = "down"  # While a file of this name exists, the provider is down.
POISON = "poison"  # Orders whose id begins so crash the worker that ships them.
FAILING = "failing"  # Orders whose id begins so fail every time.


class Recorder:
    """Ships at once."""

    def __init__(self) -> None:
        self.directory = Path(os.environ["CHAOS_DIRECTORY"])

    async def ship(self, order: Order) -> str:
        self._write(order, "began")
        await self._work(order)
        self._write(order, "shipped")
        return shipment_id(order.order_id)

    async def _work(self, order: Order) -> None:
        """Do what this provider is for."""

    def _write(self, order: Order, what: str) -> None:
        line = json.dumps({"order_id": order.order_id, "what": what, "pid": os.getpid(), "at_s": time.time()})
        # One write to a file opened for appending is never torn, whichever process makes it.
        with (self.directory / SHIPMENTS).open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")


class Slow(Recorder):
    """Takes `CHAOS_SHIP_S` seconds."""

    async def _work(self, order: Order) -> None:
        del order
        await asyncio.sleep(float(os.environ["CHAOS_SHIP_S"]))


class SometimesDown(Recorder):
    """Answers quickly, but for every order the same way while it is down."""

    async def _work(self, order: Order) -> None:
        del order
        await asyncio.sleep(0.02)
        if (self.directory / DOWN).exists():
            raise OutageError("the provider is down")


class Crashing(Recorder):
    """Takes the whole worker with it when asked for a poisonous order."""

    async def _work(self, order: Order) -> None:
        await asyncio.sleep(0.02)
        if order.order_id.startswith(POISON):
            os.kill(os.getpid(), signal.SIGKILL)


class Failing(Recorder):
    """Fails for some orders every time, and works for all others."""

    async def _work(self, order: Order) -> None:
        if order.order_id.startswith(FAILING):
            raise RuntimeError("no luck with this one")
