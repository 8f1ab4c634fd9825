"""What the stub's queues hold: endless backlogs, counted ones, and messages that arrive one by one."""

import asyncio
import hashlib
import json
import random
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from tests.bench.stub_expressions import Item
from tests.bench.stub_sqs import Body, Sqs

FULFILLMENT_QUEUE = "OrderFulfillmentQueue"
ESCALATION_QUEUE = "EscalationQueue"
ARRIVALS_PER_S = 500
ESCALATED_EVERY = 20  # 5 % of the arriving orders are to be escalated.
_STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:execution:OrderFulfillmentStateMachine"
_AT = "2026-01-01T12:00:00.000Z"


class Load(StrEnum):
    """What a consumer is measured with."""

    MESSAGES = "messages"  # An endless backlog of messages that no order belongs to.
    ORDERS = "orders"  # An endless backlog of orders to fulfill.
    SHIPMENTS = "shipments"  # The same, with a provider that takes `PROVIDER_S`.
    ESCALATIONS = "escalations"  # An endless backlog of orders to escalate.
    TRICKLE = "trickle"  # Messages at a fixed rate.
    IDLE = "idle"  # Nothing.
    DRAIN = "drain"  # A number of orders, then nothing.
    ARRIVALS = "arrivals"  # Orders at a fixed rate for a while; some of them are to be escalated.


@dataclass(slots=True)
class Loads:
    """Fills queues. It plays the workflow: it stores an order before it sends the message about it."""

    sqs: Sqs
    orders: dict[str, Item]
    on_sent: Callable[[], None]
    _numbers: Iterator[int] = field(default_factory=count)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def clear(self) -> None:
        for task in self._tasks:
            task.cancel()

    def backlog(self, load: Load) -> None:
        """Let a queue never run empty."""
        match load:
            case Load.ORDERS | Load.SHIPMENTS:
                self.sqs.queue(FULFILLMENT_QUEUE).backlog = self._endless(self.order)
            case Load.ESCALATIONS:
                self.sqs.queue(ESCALATION_QUEUE).backlog = self._endless(self.escalation)
            case _:
                self.sqs.queue(FULFILLMENT_QUEUE).backlog = self._endless(self._message)

    def fill(self, number: int) -> None:
        """Send a number of orders to fulfill."""
        for _ in range(number):
            self._send(FULFILLMENT_QUEUE, self.order())

    def arrive(self, number: int) -> None:
        """Send a number of orders at `ARRIVALS_PER_S`, once consumers poll both queues."""
        self._start(self._arrive(number))

    def trickle(self, per_second: float) -> None:
        """
        Send messages at this rate until `clear`, once a consumer polls.

        Their bodies have the time of sending, in `time.monotonic_ns`.
        """
        self._start(self._trickle(1 / per_second))

    def _start(self, arriving: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(arriving)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _trickle(self, period_s: float) -> None:
        await self.sqs.queue(FULFILLMENT_QUEUE).polled.wait()
        loop = asyncio.get_running_loop()
        pace = random.Random(0)  # The same arrivals for every consumer, in step with no timer.
        due_s = loop.time()
        while True:
            due_s += period_s * pace.uniform(0.5, 1.5)
            await asyncio.sleep(due_s - loop.time())
            self._send(FULFILLMENT_QUEUE, self._message())

    async def _arrive(self, number: int) -> None:
        for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE):
            await self.sqs.queue(name).polled.wait()
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        pace = random.Random(0)
        for position in range(number):
            due_s = started_s + (position + pace.random()) / ARRIVALS_PER_S
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            if position % ESCALATED_EVERY == ESCALATED_EVERY - 1:
                self._send(ESCALATION_QUEUE, self.escalation())
            else:
                self._send(FULFILLMENT_QUEUE, self.order())

    def _send(self, queue: str, body: Body) -> None:
        self.on_sent()
        self.sqs.queue(queue).send(body)

    def _endless(self, make: Callable[[], Body]) -> Iterator[Body]:
        while True:
            yield make()

    def _message(self) -> Body:
        return Body(json.dumps({"Number": next(self._numbers), "SentAtNs": time.monotonic_ns()}))

    def order(self) -> Body:
        """Store a new order; return the message to fulfill it."""
        order_id, arn = self._store("80000")
        return Body(json.dumps({"OrderId": order_id, "ExecutionArn": arn}), order_id)

    def escalation(self) -> Body:
        """Store a new order; return the message to escalate it."""
        order_id, arn = self._store("-123")
        body = {
            "OrderId": order_id,
            "Reasons": ["INVALID_PRICE"],
            "Source": "workflow",
            "Detail": "The order's details are not proper.",
            "ExecutionArn": arn,
        }
        return Body(json.dumps(body), order_id)

    def _store(self, price: str) -> tuple[str, str]:
        """Store a new order as the workflow does; return its id and its execution's ARN."""
        order_id = f"order-{next(self._numbers):07}"
        arn = f"{_STATE_MACHINE}:{uuid.uuid4()}"
        values = {
            "OrderId": order_id,
            "Name": "Jane Doe",
            "ItemName": "A lamp, brass, with a green shade",
            "Price": price,
            "CC": "************5678",
            "Status": "RECEIVED",
            "OpenKey": f"RECEIVED#{hashlib.sha256(order_id.encode()).hexdigest()[0]}",
            "ExecutionArn": arn,
            "StartedAt": _AT,
            "CreatedAt": _AT,
            "UpdatedAt": _AT,
        }
        self.orders[order_id] = {name: {"S": value} for name, value in values.items()}
        return order_id, arn
