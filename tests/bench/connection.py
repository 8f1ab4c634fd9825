"""The stub's HTTP/1.1 with keep-alive, and where an answer waits for its latency."""

import asyncio
import re
import uuid
import zlib
from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from tests.bench.stub_errors import AwsError
from tests.bench.stub_sqs import Message, Poll, Queue, Sqs

_TARGET = re.compile(rb"\r\nx-amz-target: *([^\r]+)", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Server(Protocol):
    """What a connection needs of the stub."""

    sqs: Sqs

    def begin(self, target: str) -> float:
        """Count a call, and return its latency in seconds."""

    def act(self, target: str, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out any call except a receive, which may wait."""

    def receive(self, request: dict[str, Any]) -> Queue:
        """Return the queue that a receive is about."""

    def command(self, path: str, body: bytes) -> tuple[Any, float]:
        """Carry out a request that is not a call of AWS; return the answer, and in how many seconds to send it."""


class Connection(asyncio.Protocol):
    """
    One connection. A client sends a request only after the response to the one before.

    With a latency, a call is applied half-way: its request takes half of the time, and so does its answer. So calls
    take effect in the order in which they arrive, not in the order in which they were sent, as on a network. A receive
    that has to wait for messages is answered a whole latency after the message came.
    """

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._buffer = b""
        self._poll: tuple[Queue, Poll] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None
        if self._poll is not None:
            queue, poll = self._poll
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
        if (found := _TARGET.search(head)) is None:
            self._command(head, body)
            return
        target = found[1].decode()
        latency_s = self._server.begin(target)
        if latency_s:
            arrives_at_s = self._loop.time() + latency_s / 2
            self._loop.call_at(arrives_at_s, self._apply, target, body, latency_s, arrives_at_s + latency_s / 2)
        else:
            self._apply(target, body, 0.0, 0.0)

    def _apply(self, target: str, body: bytes, latency_s: float, answers_at_s: float) -> None:
        try:
            request = orjson.loads(body)
            if target == "AmazonSQS.ReceiveMessage":
                self._receive(request, latency_s, answers_at_s)
            else:
                self._answer_at(answers_at_s, self._server.act(target, request))
        except AwsError as error:
            self._answer_at(answers_at_s, *_failure(error))
        except (KeyError, ValueError) as error:
            message = f"the stub cannot read the request: {error!r}"
            self._answer_at(answers_at_s, *_failure(AwsError("ValidationException", message)))

    def _receive(self, request: dict[str, Any], latency_s: float, answers_at_s: float) -> None:
        if self._transport is None:
            return  # The client closed the connection: the messages are for others.
        queue = self._server.receive(request)
        waits = False

        def answer(document: dict[str, Any], messages: Sequence[Message]) -> None:
            self._poll = None
            at_s = self._loop.time() + latency_s if waits and latency_s else answers_at_s
            self._answer_at(at_s, document, messages=messages)

        if (poll := queue.receive(request, answer)) is not None:
            waits = True
            self._poll = queue, poll

    def _command(self, head: bytes, body: bytes) -> None:
        _method, path, _ = head.decode("latin-1").split(" ", 2)
        try:
            answer, after_s = self._server.command(path, body)
        except AwsError as error:
            self._answer_at(0, *_failure(error))
        else:
            self._answer_at(self._loop.time() + after_s if after_s else 0, answer)

    def _answer_at(
        self, at_s: float, document: Any, status: bytes = b"200 OK", *, messages: Sequence[Message] = ()
    ) -> None:
        """Answer at this time of the loop, or at once if it is 0."""
        if at_s:
            self._loop.call_at(at_s, self._answer, document, status, messages)
        else:
            self._answer(document, status, messages)

    def _answer(self, document: Any, status: bytes, messages: Sequence[Message]) -> None:
        if self._transport is None:
            return  # The client closed the connection.
        for message in messages:
            message.received_at_s = message.received_at_s or self._loop.time()
        body = orjson.dumps(document)
        self._transport.write(
            b"HTTP/1.1 %s\r\nx-amzn-RequestId: %s\r\nContent-Type: application/x-amz-json-1.0\r\n"
            b"x-amz-crc32: %d\r\nContent-Length: %d\r\n\r\n%s"
            % (status, uuid.uuid4().hex.encode(), zlib.crc32(body), len(body), body)
        )


def _failure(error: AwsError) -> tuple[dict[str, Any], bytes]:
    shape = error.code if "#" in error.code else f"com.amazonaws.dynamodb.v20120810#{error.code}"
    return {"__type": shape, "message": error.message} | error.extra, b"400 Bad Request"
