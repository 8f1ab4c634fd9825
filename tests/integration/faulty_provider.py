"""
An HTTP provider that ships each order once per idempotency key, but injects every kind of fault on the way.

    with FaultyProvider(seed=7, rate=0.2) as provider:
        ...  # a worker with FULFILLMENT_URL=provider.url
        assert provider.shipped["001"] == ["SHIP-1"]

It runs in a thread with its own event loop. The fault of a request depends only on the seed, the key and how often the
key was sent before, not on other requests.
"""

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Self

from aiohttp import web

from tests.support import free_port

HOST = "127.0.0.1"
SILENCE_S = 30.0  # Longer than the timeout of any worker in these tests.


class Fault(StrEnum):
    """What can happen to one request."""

    TIMEOUT = "timeout"  # No response; the order is not shipped.
    LATE = "late"  # No response in time, but the order is shipped.
    RESET = "reset"
    LOST_ANSWER = "lost answer"  # Shipped, then the connection is reset.
    ERROR = "500"
    BUSY = "429"
    REFUSED = "400"  # Permanent, and remembered for the key, unless the order was shipped before.
    GARBAGE = "garbage"  # Shipped, but the response is not JSON.


class State(StrEnum):
    """The state of the whole provider."""

    UP = "up"
    REFUSING = "refusing connections"
    SILENT = "silent"
    BUSY = "503"
    FAILING = "500"


class FaultyProvider:
    """A share `rate` of the requests gets a random fault. `curses` gives all requests of an order the same fault."""

    def __init__(self, seed: int, rate: float = 0.0) -> None:
        self.seed = seed
        self.rate = rate
        self.curses: dict[str, Fault] = {}
        self.state = State.UP
        self.requests: list[tuple[str, State]] = []
        self.bodies: list[str] = []
        self.faults: Counter[Fault] = Counter()
        self.keys: dict[str, list[str]] = {}  # By OrderId: the key of each of its requests.
        self.shipments: dict[str, str] = {}  # By key.
        self.shipped: dict[str, list[str]] = {}  # By OrderId: every shipment that was made.
        self.refused: set[str] = set()  # Keys.
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-provider")
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/orders?key=query-s3cret"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def become(self, state: State) -> None:
        """Change the state of the provider. When it starts to refuse connections, it closes the open ones, too."""
        before, self.state = self.state, state
        if state is State.REFUSING:
            self._run(self._close)
        elif before is State.REFUSING:
            self._run(self._listen)

    def _run(self, call: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    async def _listen(self) -> None:
        application = web.Application()
        application.router.add_post("/orders", self._serve)
        # End handlers whose client is gone, so that the provider can close.
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        await site.start()

    async def _close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        key = request.headers["Idempotency-Key"]
        self.requests.append((key, self.state))
        self.bodies.append(f"{await request.text()} {dict(request.headers)}")
        order_id: str = (await request.json())["OrderId"]
        self.keys.setdefault(order_id, []).append(key)
        match self.state:
            case State.SILENT:
                await asyncio.sleep(SILENCE_S)
            case State.BUSY:
                return web.Response(status=503, text="closed")
            case State.FAILING:
                return web.Response(status=500, text="broken")
            case _:
                pass
        return await self._act(request, order_id, key)

    def _fault(self, order_id: str, key: str) -> Fault | None:
        if order_id in self.curses:
            return self.curses[order_id]
        rng = random.Random(f"{self.seed} {key} {self.keys[order_id].count(key)}")
        return rng.choice(list(Fault)) if rng.random() < self.rate else None

    async def _act(self, request: web.Request, order_id: str, key: str) -> web.StreamResponse:
        fault = self._fault(order_id, key)
        if fault is not None:
            self.faults[fault] += 1
        if fault is Fault.REFUSED and key not in self.shipments:
            self.refused.add(key)
        elif fault in {None, Fault.LATE, Fault.LOST_ANSWER, Fault.GARBAGE}:
            self._ship(order_id, key)
        return await self._answer(request, key, fault)

    async def _answer(self, request: web.Request, key: str, fault: Fault | None) -> web.StreamResponse:
        match fault:
            case Fault.TIMEOUT | Fault.LATE:
                await asyncio.sleep(SILENCE_S)
            case Fault.RESET | Fault.LOST_ANSWER:
                if request.transport is not None:
                    request.transport.abort()
            case Fault.ERROR:
                return web.Response(status=500, text="failed, card 4929 1234 1234 5678")
            case Fault.BUSY:
                at = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
                return web.Response(status=429, headers={"Retry-After": random.Random(key).choice(["1", at])})
            case Fault.GARBAGE:
                return web.Response(text="<html>4929-1234-1234-5678</html>")
            case _:
                pass
        if key in self.refused:
            return web.json_response({"error": "no such street", "card": 4929123412345678}, status=400)
        return web.json_response({"ShipmentId": self.shipments.get(key)})

    def _ship(self, order_id: str, key: str) -> None:
        """Ship once per key, unless that key was refused."""
        if key not in self.refused and key not in self.shipments:
            self.shipments[key] = f"SHIP-{len(self.shipments) + 1}"
            self.shipped.setdefault(order_id, []).append(self.shipments[key])
