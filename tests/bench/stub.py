"""
The benchmark's endpoint: a minimal SQS and DynamoDB in memory, fast enough not to be the bottleneck.

    python -m tests.bench.stub      # Prints its URL, serves until SIGTERM.

- It speaks the JSON protocols of both services over HTTP/1.1 with keep-alive, and does not check signatures.
- It knows the calls that consumers of orders make, and refuses others with an error that names them.
- It is as near as `reset` says: it answers at once, or with the latencies and receives of a `Network`.
- It is also a provider that ships orders, at `PROVIDER`, and takes traces at `TRACES`.
- It is the neutral observer: it counts requests by action, and opens and closes the window in which a consumer is
  measured, whose CPU time it reads at both ends. Of every message that is deleted, it checks that its order is settled.
- `POST /_stub/<command>` with a JSON object controls it; `StubServer.control` has the commands.
"""

import asyncio
import gc
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from tests.bench.connection import Connection
from tests.bench.loads import FULFILLMENT_QUEUE, Load, Loads
from tests.bench.network import LOOPBACK, Network, Sampler
from tests.bench.stub_dynamodb import DynamoDb
from tests.bench.stub_errors import AwsError
from tests.bench.stub_sqs import Message, Queue, Sqs
from tests.bench.window import Event, Window

HOST = "127.0.0.1"
QUEUES = ("OrderFulfillmentQueue", "OrderFulfillmentDLQ", "EscalationQueue", "EscalationDLQ")
TABLES = {"OrderTable": "OrderId", "EscalationTable": "CaseId"}
COMMANDS = "/_stub/"
PROVIDER = "/provider/orders"
TRACES = "/otlp"
PROVIDER_S = 0.02  # How long the provider takes to ship an order.


class StubServer:
    """Both services, the counters, and the commands of the harness."""

    def __init__(self) -> None:
        self.sqs = Sqs(QUEUES, self._deleted)
        self.dynamodb = DynamoDb(TABLES)
        self.requests: Counter[str] = Counter()
        self._orders = self.dynamodb.tables["OrderTable"].items
        self._cases = self.dynamodb.tables["EscalationTable"].items
        self._loads = Loads(self.sqs, self._orders, self._sent)
        self.sampler = Sampler(LOOPBACK)
        self._window: Window | None = None
        self._shipments: dict[str, str] | None = None  # By OrderId, if orders need the provider.

    def begin(self, target: str) -> float:
        action = target.partition(".")[2]
        self.requests[action] += 1
        if self._window is not None:
            if action == "ReceiveMessage":
                self._window.note(Event.RECEIVE)
            self._window.count_request(action)
        return self.sampler.latency_s(target)

    def act(self, target: str, request: dict[str, Any]) -> dict[str, Any]:
        service, _, action = target.partition(".")
        return (self.sqs if service == "AmazonSQS" else self.dynamodb).act(action, request)

    def receive(self, request: dict[str, Any]) -> Queue:
        return self.sqs.of(request)

    def command(self, path: str, body: bytes) -> tuple[Any, float]:
        if path == PROVIDER:
            return self._ship(orjson.loads(body)), PROVIDER_S
        if path.startswith(TRACES):
            return {}, 0
        if not path.startswith(COMMANDS):
            raise AwsError("UnknownOperationException", "neither a request of the SDK nor a command")
        return self.control(path.removeprefix(COMMANDS), orjson.loads(body or b"{}")), 0

    def control(self, command: str, request: Mapping[str, Any]) -> Any:
        """
        Carry out a command of the harness.

        - `reset`: empty queues and tables, set the counters to zero, and be as far away as `network`.
        - `backlog`: fill a queue that never runs empty.
        - `fill`: send a number of orders.
        - `arrive`: send a number of orders at a fixed rate, some of them to be escalated.
        - `trickle`: send messages at a fixed rate.
        - `measure`: prepare the window.
        - `window`: return its result, null until it is closed.
        - `stats`: return the requests and the CPU time so far.
        """
        match command:
            case "reset":
                self._reset(Network.of_document(request["network"]) if "network" in request else LOOPBACK)
            case "backlog":
                load = Load(request["load"])
                self._shipments = {} if load is Load.SHIPMENTS else None
                self._loads.backlog(load)
            case "fill":
                self._loads.fill(request["number"])
            case "arrive":
                self._loads.arrive(request["number"])
            case "trickle":
                self._loads.trickle(request["per_second"])
            case "measure":
                opens_on, pids = Event(request["opens_on"]), tuple(request["pids"])
                self._window = Window(**{**request, "opens_on": opens_on, "pids": pids})
            case "window":
                return None if self._window is None else self._window.result
            case "stats":
                return {"requests": dict(self.requests), "cpu_s": time.process_time()}
            case _:
                raise AwsError("UnknownCommand", command)
        return {}

    def _reset(self, network: Network) -> None:
        self.sampler = Sampler(network)
        self._loads.clear()
        self.sqs.clear(self.sampler)
        for table in self.dynamodb.tables.values():
            table.items.clear()
        self._window = None
        self._shipments = None
        self.requests.clear()
        gc.collect()

    def _ship(self, order: Mapping[str, Any]) -> dict[str, str]:
        """Ship an order, the second time with the same shipment, as docs/providers.md asks for."""
        shipment = f"SHIPMENT-{order['OrderId']}"
        if self._shipments is not None:
            self._shipments[order["OrderId"]] = shipment
        return {"ShipmentId": shipment}

    def _sent(self) -> None:
        if self._window is not None:
            self._window.note(Event.SEND)

    def _deleted(self, queue: Queue, message: Message) -> None:
        if self._window is None:
            return
        self._window.note(Event.DELETE)
        after_s = 0.0
        if message.received_at_s is not None:
            after_s = asyncio.get_running_loop().time() - message.received_at_s
        self._window.count_delete(after_s, settled=self._is_settled(queue, message))

    def _is_settled(self, queue: Queue, message: Message) -> bool:
        """Return whether the consumer has done what the message asked for."""
        if message.order_id is None:
            return True
        status = self._orders[message.order_id]["Status"]["S"]
        if queue.name == FULFILLMENT_QUEUE:
            shipped = self._shipments is None or message.order_id in self._shipments
            return shipped and bool(status == "FULFILLED")
        return bool(status == "ESCALATED") and message.order_id in self._cases


async def serve() -> None:
    """Serve on a free loopback port until SIGTERM. The only line on standard output is the URL."""
    loop = asyncio.get_running_loop()
    stub = StubServer()
    server = await loop.create_server(lambda: Connection(stub, loop), HOST, 0)
    stub.sqs.endpoint = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    os.write(1, f"{stub.sqs.endpoint}\n".encode())
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    gc.disable()  # `reset` collects between measurements, so that no pause of the stub slows a consumer down.
    asyncio.run(serve())
