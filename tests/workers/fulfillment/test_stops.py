"""Stops and crashes of workers, played with a consumer, a handler and a queue that gives a message back each time."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.workers.consumer.fakes import QUICK, FakeQueue, Run, limits, running, until
from tests.workers.fakes import (
    EXECUTION,
    FakeDeadLetters,
    FakeEscalations,
    FakeOrders,
    Journal,
    message,
    order,
)
from workers.consumer.timings import Timings
from workers.domain.orders import Order, OrderStatus
from workers.errors import OutageError
from workers.fulfillment.handler import FulfillmentHandler

BODY = json.dumps({"OrderId": "001", "ExecutionArn": EXECUTION})
STOPS = 40


@dataclass
class SlowProvider:
    """Ships once it is `released`; raises the `outage` first."""

    outage: OutageError | None = None
    calls: int = 0
    shipped: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def ship(self, order: Order) -> str:
        self.calls += 1
        if self.outage is not None:
            raise self.outage
        await self.released.wait()
        self.shipped += 1
        return f"shipment-of-{order.order_id}"


class World:
    """One order, its table and its provider, which outlast the workers."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.orders = FakeOrders(self.journal, order("RECEIVED"))
        self.escalations = FakeEscalations(self.journal)
        self.provider = SlowProvider()
        self.deliveries = 0

    def handler(self) -> FulfillmentHandler:
        return FulfillmentHandler(
            queue_name="OrderFulfillmentQueue",
            orders=self.orders,
            orders_to_ship=self.orders,
            escalations=self.escalations,
            dead_letters=FakeDeadLetters(self.journal),
            provider=self.provider,
            max_attempts=5,
            max_ship_s=60,
        )

    @asynccontextmanager
    async def worker(self, timings: Timings = QUICK) -> AsyncIterator[Run]:
        """Run a worker that receives the message once more."""
        self.deliveries += 1
        queue = FakeQueue([message(BODY, receive_count=self.deliveries)])
        async with running(queue, self.handler(), limits(drain_s=0.0), timings) as run:
            yield run

    async def crash(self) -> None:
        """Have a worker receive the message, and end like a killed process: it settles nothing and undoes nothing."""
        self.deliveries += 1
        received, handler = message(BODY, receive_count=self.deliveries), self.handler()
        handle = handler.handle if self.deliveries <= 10 else handler.give_up
        calls = self.provider.calls
        task = asyncio.create_task(handle(received))
        await until(lambda: self.provider.calls > calls or task.done())
        task.cancel()
        await asyncio.wait([task])

    @property
    def status(self) -> OrderStatus:
        return self.orders.orders["001"].status


async def test_forty_stops_escalate_no_order_that_never_failed() -> None:
    world = World()
    for stops in range(STOPS):
        async with world.worker() as run:
            await until(lambda stops=stops: world.provider.calls > stops)  # type: ignore[misc]
        assert [ending[1:] for ending in run.endings()] == [("message.released", "stopping")]
        assert world.orders.trials.get("001", 0) == 0
    world.provider.released.set()
    async with world.worker() as run:
        await run.until_settled(1)
    assert [ending[1:] for ending in run.endings()] == [("message.acknowledged", "fulfilled")]
    assert (world.status, world.orders.orders["001"].attempts, world.escalations.sent) == ("FULFILLED", 0, [])


async def test_forty_stops_in_an_outage_escalate_no_order() -> None:
    world = World()
    world.provider.outage = OutageError("down")
    for _ in range(STOPS):
        async with world.worker() as run:
            await until(lambda run=run: "downstream.failed" in run.events())  # type: ignore[misc]
        assert world.orders.trials.get("001", 0) == 0
    world.provider.outage = None
    world.provider.released.set()
    async with world.worker() as run:
        await run.until_settled(1)
    assert (world.status, world.escalations.sent) == ("FULFILLED", [])


@pytest.mark.parametrize("stops_between", [0, 1, 5])
async def test_a_message_that_crashes_its_worker_is_escalated_despite_stops(stops_between: int) -> None:
    world = World()
    for _ in range(10):
        await world.crash()
    for trial in range(3):
        for _ in range(stops_between):
            calls = world.provider.calls
            async with world.worker():
                await until(lambda calls=calls: world.provider.calls > calls)  # type: ignore[misc]
        await world.crash()
        assert world.orders.trials["001"] == trial + 1
    async with world.worker() as run:
        await run.until_settled(1)
    assert [ending[1:] for ending in run.endings()] == [("message.acknowledged", "escalated")]
    (sent,) = world.escalations.sent
    assert sent.detail == f"Delivered {world.deliveries} times without an outcome; not handled again."


async def test_a_stop_after_the_shipment_ships_under_the_same_key_again() -> None:
    world = World()
    world.deliveries = 10
    world.provider.released.set()
    writing = asyncio.Event()

    async def never_answers(*_: object) -> Order | None:
        writing.set()
        await asyncio.Event().wait()
        return None

    fulfill, world.orders.fulfill = world.orders.fulfill, never_answers  # type: ignore[method-assign, assignment]
    async with world.worker():
        await writing.wait()
    assert (world.provider.shipped, world.orders.trials["001"]) == (1, 0)
    world.orders.fulfill = fulfill  # type: ignore[method-assign]
    async with world.worker() as run:
        await run.until_settled(1)
    assert (world.status, world.provider.shipped, world.escalations.sent) == ("FULFILLED", 2, [])


async def test_a_stop_whose_take_back_fails_costs_one_trial() -> None:
    world = World()
    world.deliveries = 10
    world.journal.fail("orders.take_back_trial", OutageError("down"))
    async with world.worker() as run:
        await until(lambda: world.provider.calls == 1)
    assert "trial.not_taken_back" in run.events()
    assert [ending[1:] for ending in run.endings()] == [("message.released", "stopping")]
    assert world.orders.trials["001"] == 1
    world.provider.released.set()
    async with world.worker() as run:
        await run.until_settled(1)
    assert (world.status, world.escalations.sent) == ("FULFILLED", [])


async def test_of_an_undecodable_message_no_trial_is_taken_back() -> None:
    world = World()
    await world.handler().take_back(message("{"))
    assert world.journal.steps == []
