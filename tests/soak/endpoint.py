"""
The benchmark's endpoint as AWS, with everything that goes wrong in a week; and the provider and the channel.

It runs in the process of the soak, which so sees every message, write, shipment and notification as it happens. Each
worker process signs with an access key id of its own: so the endpoint knows what it has delivered to whom.
"""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

import orjson

from tests.bench.connection import Connection
from tests.bench.loads import ESCALATION_QUEUE, FULFILLMENT_QUEUE, Loads
from tests.bench.network import AS_AWS, Sampler
from tests.bench.stub import HOST, QUEUES, TABLES
from tests.bench.stub_dynamodb import DynamoDb
from tests.bench.stub_errors import AwsError
from tests.bench.stub_sqs import Body, Message, Queue, Sqs
from tests.soak.ledger import Ledger, Orders
from tests.soak.plan import DELIVERED_TWICE, ESCALATED, SENT_TWICE, Plan, Trouble

PROVIDER, CHANNEL = "/provider/orders", "/channel/notifications"
ANSWERS_AFTER_S, SLOW_S = 0.02, 2.0
RARELY, SOMETIMES, OFTEN = 0.002, 0.1, 0.3  # Shares of requests that fail: always; in a spell.
TWICE_WITHIN_S = 30  # After which the second message about an order comes at the latest.
# Not one of them is JSON of a message, or an OrderId.
GARBAGE = ("{", "not an order!", '{"OrderId": 42}', "[]", '{"Order": "order-0000001"}', "\N{SNOWMAN}", '""')

_CREDENTIAL = re.compile(rb"\r\nauthorization: [^\r]*Credential=([^/\r]+)/", re.IGNORECASE)
_KEY = re.compile(rb"\r\nidempotency-key: *([^\r]+)", re.IGNORECASE)


class Fault(Enum):
    """What goes wrong with one request."""

    THROTTLED = auto()
    FAILED = auto()
    RESET = auto()  # Before it takes effect.
    LOST_ANSWER = auto()


_CODES = {
    (Fault.THROTTLED, True): (b"400 Bad Request", "RequestThrottled"),
    (Fault.THROTTLED, False): (b"400 Bad Request", "ThrottlingException"),
    (Fault.FAILED, True): (b"503 Service Unavailable", "ServiceUnavailable"),
    (Fault.FAILED, False): (b"500 Internal Server Error", "InternalServerError"),
}


class Endpoint:
    """SQS, DynamoDB, the provider and the channel. `troubles` are those of the moment."""

    def __init__(self, plan: Plan, ledger: Ledger, delivered: Callable[[str, str, int], None]) -> None:
        self.ledger = ledger
        self.delivered = delivered
        self.troubles: set[Trouble] = set()
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.sqs = Sqs(QUEUES, self._deleted)
        self.dynamodb = DynamoDb(TABLES)
        self.orders = self.dynamodb.tables["OrderTable"].items = Orders(ledger)
        self._plan = plan
        self._loads = Loads(self.sqs, self.orders, lambda: None)
        self._source = random.Random(f"{plan.seed} faults")
        self._arrivals = random.Random(f"{plan.seed} arrivals")
        network = replace(AS_AWS, duplicates=DELIVERED_TWICE)
        self._sampler = Sampler(network, random.Random(f"{plan.seed} network"))
        self.sqs.clear(self._sampler)
        for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE):
            self.sqs.queue(name).visibility_timeout_s = plan.visibility_s

    @property
    def url(self) -> str:
        return self.sqs.endpoint

    async def listen(self) -> asyncio.Server:
        """Listen on a free loopback port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self, loop), HOST, 0)
        self.sqs.endpoint = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
        return server

    def send_order(self) -> None:
        """Play the workflow: store an order and send its message, some of them twice; now and then send garbage."""
        if self.ledger.sent % self._plan.garbage_every == 0:
            self._send_garbage(self.ledger.sent // self._plan.garbage_every)
        improper = self._arrivals.random() < ESCALATED
        body = self._loads.escalation() if improper else self._loads.order()
        assert body.order_id is not None
        queue = self.sqs.queue(ESCALATION_QUEUE if improper else FULFILLMENT_QUEUE)
        twice = self._arrivals.random() < SENT_TWICE
        self.ledger.order_sent(body.order_id, messages=1 + twice, improper=improper)
        queue.send(body)
        if twice:
            queue.send(body, self._arrivals.randint(0, min(TWICE_WITHIN_S, self._plan.visibility_s)))

    def _send_garbage(self, number: int) -> None:
        for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE):
            message = self.sqs.queue(name).send(Body(GARBAGE[number % len(GARBAGE)]))
            self.ledger.garbage[name].add(message.id)

    def waiting(self, queue: str) -> int:
        """Return how many messages a queue has: visible, in flight and delayed."""
        return len(self.sqs.queue(queue).messages)

    def check(self) -> None:
        """Check everything that can be checked only at the end."""
        self.ledger.check_orders(self.orders)
        self.ledger.check_cases(self.dynamodb.tables["EscalationTable"].items)
        for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE):
            self.ledger.check_queue(name, (message.body for message in self.sqs.queue(name).messages.values()))
            letters = self.sqs.queue(name.replace("Queue", "DLQ")).messages.values()
            self.ledger.check_dead_letters(name, (letter.attributes or {} for letter in letters))

    # What a connection needs.

    def begin(self, target: str) -> float:
        self.requests[target.partition(".")[2]] += 1
        return self._sampler.latency_s(target)

    def act(self, target: str, request: dict[str, Any]) -> dict[str, Any]:
        service, _, action = target.partition(".")
        return (self.sqs if service == "AmazonSQS" else self.dynamodb).act(action, request)

    def receive(self, request: dict[str, Any]) -> Queue:
        return self.sqs.of(request)

    def command(self, path: str, body: bytes) -> tuple[Any, float]:
        raise AwsError("UnknownOperationException", f"{path} ({len(body)} bytes) is neither AWS nor the provider")

    def fault(self) -> Fault | None:
        """Return what goes wrong with the next request to AWS, mostly nothing."""
        shares = {
            Fault.THROTTLED: OFTEN if Trouble.AWS_THROTTLES in self.troubles else RARELY,
            Fault.FAILED: OFTEN if Trouble.AWS_FAILS in self.troubles else RARELY,
            Fault.RESET: SOMETIMES if Trouble.AWS_RESETS in self.troubles else RARELY,
            Fault.LOST_ANSWER: SOMETIMES if Trouble.AWS_RESETS in self.troubles else RARELY,
        }
        fault = self._drawn(shares)
        if fault is not None:
            self.faults[f"AWS: {fault.name.lower().replace('_', ' ')}"] += 1
        return fault

    def ship(self, order: Mapping[str, Any], key: str) -> tuple[HTTPStatus | None, Any, float]:
        """Return status (None resets the connection), answer, and after how many seconds."""
        after_s = SLOW_S if Trouble.PROVIDER_SLOW in self.troubles else ANSWERS_AFTER_S
        if Trouble.PROVIDER_DOWN in self.troubles:
            return self._failed("provider", HTTPStatus.SERVICE_UNAVAILABLE, after_s)
        if Trouble.PROVIDER_REFUSES in self.troubles:
            return self._failed("provider", None, 0)
        match self._drawn(
            {
                Fault.FAILED: OFTEN if Trouble.PROVIDER_FAILS in self.troubles else RARELY,
                Fault.LOST_ANSWER: SOMETIMES if Trouble.PROVIDER_FAILS in self.troubles else RARELY,
            }
        ):
            case Fault.FAILED:
                return self._failed("provider", HTTPStatus.INTERNAL_SERVER_ERROR, after_s)
            case Fault.LOST_ANSWER:
                self.ledger.shipment(order["OrderId"], key)
                return self._failed("provider", None, after_s)
        return HTTPStatus.OK, {"ShipmentId": self.ledger.shipment(order["OrderId"], key)}, after_s

    def notify(self, notification: Mapping[str, Any]) -> tuple[HTTPStatus | None, Any, float]:
        """The same for a notification."""
        if Trouble.CHANNEL_DOWN in self.troubles:
            return self._failed("channel", HTTPStatus.SERVICE_UNAVAILABLE, ANSWERS_AFTER_S)
        self.ledger.notified(notification)
        return HTTPStatus.OK, {}, SLOW_S if Trouble.CHANNEL_SLOW in self.troubles else ANSWERS_AFTER_S

    def _failed(self, what: str, status: HTTPStatus | None, after_s: float) -> tuple[HTTPStatus | None, Any, float]:
        self.faults[f"{what}: {'reset' if status is None else f'HTTP {status}'}"] += 1
        return status, {"error": "injected"}, after_s

    def _drawn(self, shares: Mapping[Fault, float]) -> Fault | None:
        left = self._source.random()
        for fault, share in shares.items():
            left -= share
            if left < 0:
                return fault
        return None

    def _deleted(self, queue: Queue, message: Message) -> None:
        del queue
        if message.order_id is not None:
            self.ledger.message_deleted(message.order_id)


class _Connection(Connection):
    """A connection of a worker, which may be cut."""

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(endpoint, loop)
        self._endpoint = endpoint
        self._worker = ""
        self._loses_answer = False

    def data_received(self, data: bytes) -> None:
        if not self._worker and (found := _CREDENTIAL.search(data)):
            self._worker = found[1].decode()
        super().data_received(data)

    def _apply(self, target: str, body: bytes, latency_s: float, answers_at_s: float) -> None:
        match self._endpoint.fault():
            case Fault.RESET:
                self._cut()
                return
            case Fault.LOST_ANSWER:
                self._loses_answer = True
            case (Fault.THROTTLED | Fault.FAILED) as fault:
                status, code = _CODES[fault, target.startswith("AmazonSQS.")]
                document = {"__type": f"com.amazonaws.injected#{code}", "message": "Injected."}
                self._answer_at(answers_at_s, document, status)
                return
        super()._apply(target, body, latency_s, answers_at_s)

    def _command(self, head: bytes, body: bytes) -> None:
        path = head.decode("latin-1").split(" ", 2)[1]
        if path == PROVIDER and (key := _KEY.search(head)):
            status, document, after_s = self._endpoint.ship(orjson.loads(body), key[1].decode())
        elif path == CHANNEL:
            status, document, after_s = self._endpoint.notify(orjson.loads(body))
        else:
            super()._command(head, body)
            return
        if status is None:
            self._loses_answer = True
            status = HTTPStatus.OK
        self._answer_at(self._loop.time() + after_s, document, f"{status.value} {status.phrase}".encode())

    def _answer(self, document: Any, status: bytes, messages: Sequence[Message]) -> None:
        if self._loses_answer:
            self._cut()
            return
        if self._transport is not None and not self._transport.is_closing():
            for received in document.get("Messages", ()):
                receive_count = int(received["ReceiptHandle"].rpartition(":")[2])  # The message may have a newer one.
                self._endpoint.delivered(self._worker, received["MessageId"], receive_count)
        super()._answer(document, status, messages)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
