"""
The benchmark's endpoint: a minimal SQS and DynamoDB in memory, fast enough not to be the bottleneck.

    python -m tests.bench.stub      # Prints its URL, serves until SIGTERM.

- It speaks the JSON protocols of both services over HTTP/1.1 with keep-alive, and does not check signatures.
- It knows the calls that consumers of orders make, and refuses others with an error that names them.
- It is the neutral observer: it counts requests by action, and opens and closes the window in which a consumer is
  measured, whose CPU time it reads at both ends.
- `POST /_stub/<command>` with a JSON object controls it; `StubServer.control` has the commands.
"""

import asyncio
import gc
import json
import os
import re
import signal
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.bench.stub_dynamodb import AwsError, DynamoDb, Item
from tests.bench.stub_sqs import Queue, Sqs

HOST = "127.0.0.1"
QUEUES = ("OrderFulfillmentQueue", "OrderFulfillmentDLQ", "EscalationQueue", "EscalationDLQ")
TABLES = {"OrderTable": "OrderId", "EscalationTable": "CaseId"}

_TARGET = re.compile(rb"\r\nx-amz-target: *([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Window:
    """The measured period: it opens `settle_s` after the first delete (or receive) and closes `seconds` later."""

    seconds: float
    settle_s: float
    opens_on_receive: bool
    pids: tuple[int, ...]
    opened_at_ns: int | None = None
    result: dict[str, Any] | None = None
    requests: Counter[str] = field(default_factory=Counter)
    deleted: int = 0
    fulfilled: int = 0
    settling: bool = False
    _client_cpu_s: float = 0.0
    _own_cpu_s: float = 0.0

    def begin(self) -> None:
        """Open the window after `settle_s`: the consumer has begun to work. Later calls do nothing."""
        if not self.settling:
            self.settling = True
            if self.settle_s:
                asyncio.get_running_loop().call_later(self.settle_s, self._open)
            else:
                self._open()

    @property
    def is_open(self) -> bool:
        return self.opened_at_ns is not None and self.result is None

    def _open(self) -> None:
        self.opened_at_ns = time.monotonic_ns()
        self._client_cpu_s, self._own_cpu_s = _cpu_s(self.pids), time.process_time()
        asyncio.get_running_loop().call_later(self.seconds, self._close)

    def _close(self) -> None:
        assert self.opened_at_ns is not None
        self.result = {
            "opened_at_ns": self.opened_at_ns,
            "seconds": (time.monotonic_ns() - self.opened_at_ns) / 1e9,
            "deleted": self.deleted,
            "fulfilled": self.fulfilled,
            "requests": dict(self.requests),
            "client_cpu_s": _cpu_s(self.pids) - self._client_cpu_s,
            "stub_cpu_s": time.process_time() - self._own_cpu_s,
        }


def _cpu_s(pids: tuple[int, ...]) -> float:
    """Return the user and system time of these processes so far, including all their threads."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # The process ended; the harness notices.
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


class StubServer:
    """Both services, the counters, and the commands of the harness."""

    def __init__(self) -> None:
        self.sqs = Sqs(QUEUES, self._deleted)
        self.dynamodb = DynamoDb(TABLES, self._updated)
        self.window: Window | None = None
        self.requests: Counter[str] = Counter()
        self._numbers = count()

    def count(self, action: str) -> None:
        self.requests[action] += 1
        if self.window is not None:
            if self.window.opens_on_receive and action == "ReceiveMessage":
                self.window.begin()
            if self.window.is_open:
                self.window.requests[action] += 1

    def control(self, command: str, request: Mapping[str, Any]) -> Any:
        """
        Carry out a command of the harness.

        - `reset`: empty queues and tables, and set the counters to zero.
        - `backlog`: fill a queue that never runs empty, with `orders` or plain `messages`.
        - `trickle`: send messages at a fixed rate.
        - `measure`: prepare the window.
        - `window`: return its result, null until it is closed.
        - `stats`: return the requests and the CPU time so far.
        """
        match command:
            case "reset":
                self._reset()
            case "backlog":
                bodies = self._orders() if request["of"] == "orders" else self._bodies()
                self.sqs.queue(request["queue"]).backlog = bodies
            case "trickle":
                self.sqs.trickle(request["queue"], request["per_second"])
            case "measure":
                self.window = Window(
                    seconds=request["seconds"],
                    settle_s=request["settle_s"],
                    opens_on_receive=request["opens_on_receive"],
                    pids=tuple(request["pids"]),
                )
            case "window":
                return None if self.window is None else self.window.result
            case "stats":
                return {"requests": dict(self.requests), "cpu_s": time.process_time()}
            case _:
                raise AwsError("UnknownCommand", command)
        return {}

    def _reset(self) -> None:
        self.sqs.clear()
        for table in self.dynamodb.tables.values():
            table.items.clear()
        self.window = None
        self.requests.clear()
        gc.collect()

    def _deleted(self) -> None:
        if self.window is not None:
            if not self.window.opens_on_receive:
                self.window.begin()
            if self.window.is_open:
                self.window.deleted += 1

    def _updated(self, before: Item, after: Item) -> None:
        fulfilled = {"S": "FULFILLED"}
        if self.window is not None and self.window.is_open and after.get("Status") == fulfilled != before.get("Status"):
            self.window.fulfilled += 1

    def _bodies(self) -> Iterator[str]:
        for number in self._numbers:
            yield json.dumps({"Number": number, "SentAtNs": time.monotonic_ns()})

    def _orders(self) -> Iterator[str]:
        """Store an order as the workflow does, then yield its message."""
        orders = self.dynamodb.tables["OrderTable"].items
        for number in self._numbers:
            order_id = f"order-{number:07}"
            arn = f"arn:aws:states:us-east-1:123456789012:execution:OrderFulfillmentStateMachine:{uuid.uuid4()}"
            orders[order_id] = _order(order_id, arn)
            yield json.dumps({"OrderId": order_id, "ExecutionArn": arn})


def _order(order_id: str, arn: str) -> Item:
    at = "2026-01-01T12:00:00.000Z"
    values = {
        "OrderId": order_id,
        "Name": "Jane Doe",
        "ItemName": "A lamp, brass, with a green shade",
        "Price": "80000",
        "CC": "************5678",
        "Status": "RECEIVED",
        "OpenKey": "RECEIVED#a",
        "ExecutionArn": arn,
        "CreatedAt": at,
        "UpdatedAt": at,
    }
    return {name: {"S": value} for name, value in values.items()}


class _Connection(asyncio.Protocol):
    """One connection. The SDK's clients send a request only after the response to the one before."""

    def __init__(self, server: StubServer) -> None:
        self._server = server
        self._buffer = b""
        self._forget: tuple[Queue, Any] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._forget is not None:
            queue, poll = self._forget
            queue.forget(poll)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[: end + 2]
        length = _LENGTH.search(head)
        size = end + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < size:
            return
        body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
        target = _TARGET.search(head)
        try:
            if target is None:
                self._control(head, body)
            else:
                self._act(target[1].decode(), json.loads(body))
        except AwsError as error:
            self._fail(error)
        except (KeyError, ValueError) as error:
            self._fail(AwsError("ValidationException", f"the stub cannot read the request: {error!r}"))

    def _act(self, target: str, request: dict[str, Any]) -> None:
        service, _, action = target.partition(".")
        self._server.count(action)
        if action == "ReceiveMessage":
            queue = self._server.sqs.of(request)
            poll = queue.receive(request, self._answer_poll)
            self._forget = None if poll is None else (queue, poll)
        elif service == "AmazonSQS":
            self._answer(self._server.sqs.act(action, request))
        else:
            self._answer(self._server.dynamodb.act(action, request))

    def _answer_poll(self, answer: dict[str, Any]) -> None:
        self._forget = None
        self._answer(answer)

    def _control(self, head: bytes, body: bytes) -> None:
        _method, path, _ = head.decode("latin-1").split(" ", 2)
        if not path.startswith("/_stub/"):
            raise AwsError("UnknownOperationException", "neither a request of the SDK nor a command")
        self._answer(self._server.control(path.removeprefix("/_stub/"), json.loads(body or b"{}")))

    def _answer(self, answer: Any, status: bytes = b"200 OK", more: bytes = b"") -> None:
        if self._transport is None:
            return  # The client closed the connection.
        body = json.dumps(answer).encode()
        self._transport.write(
            b"HTTP/1.1 %s\r\nx-amzn-RequestId: %s\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"x-amz-crc32: %d\r\n%sContent-Length: %d\r\n\r\n%s"
            % (status, uuid.uuid4().hex.encode(), zlib.crc32(body), more, len(body), body)
        )

    def _fail(self, error: AwsError) -> None:
        shape = error.code if "#" in error.code else f"com.amazonaws.dynamodb.v20120810#{error.code}"
        self._answer({"__type": shape, "message": error.message} | error.extra, b"400 Bad Request")


async def serve() -> None:
    """Serve on a free loopback port until SIGTERM. The only line on standard output is the URL."""
    loop = asyncio.get_running_loop()
    stub = StubServer()
    server = await loop.create_server(lambda: _Connection(stub), HOST, 0)
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
