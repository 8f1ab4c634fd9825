"""The stub is as far away as its network says."""

import asyncio
import math
import random
import statistics
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.bench.connection import Connection
from tests.bench.network import AS_AWS, LOOPBACK, Mode, Network, Sampler, networks
from tests.bench.stub import StubServer
from tests.bench.stub_errors import AwsError
from tests.bench.stub_sqs import Body

PUT = {"TableName": "OrderTable", "Item": {"OrderId": {"S": "001"}}}
QUEUE_URL = "/123456789012/OrderFulfillmentQueue"
RECEIVE = {"QueueUrl": QUEUE_URL, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 20}


@pytest.mark.parametrize(
    ("target", "median_ms"),
    [
        ("AmazonSQS.ReceiveMessage", 15),
        ("AmazonSQS.DeleteMessageBatch", 12),
        ("DynamoDB_20120810.GetItem", 5),
        ("DynamoDB_20120810.BatchExecuteStatement", 15),
        ("DynamoDB_20120810.BatchGetItem", 15),
        ("DynamoDB_20120810.TransactWriteItems", 15),
    ],
)
def test_latencies_are_log_normal_around_the_median_of_the_call(target: str, median_ms: float) -> None:
    sampler = Sampler(AS_AWS)
    drawn = sorted(1000 * sampler.latency_s(target) for _ in range(10_000))
    assert statistics.median(drawn) == pytest.approx(median_ms, rel=0.03)
    # One standard deviation to each side of a log-normal distribution.
    assert drawn[1587] == pytest.approx(median_ms / 1.419, rel=0.05)
    assert drawn[8413] == pytest.approx(median_ms * 1.419, rel=0.05)


def test_every_measurement_draws_the_same_latencies() -> None:
    first, second = ([sampler.latency_s("AmazonSQS.DeleteMessage") for _ in range(5)] for sampler in _two_samplers())
    assert first == second


def _two_samplers() -> tuple[Sampler, Sampler]:
    return Sampler(AS_AWS), Sampler(AS_AWS)


def test_a_network_on_loopback_answers_at_once() -> None:
    assert Sampler(LOOPBACK).latency_s("AmazonSQS.ReceiveMessage") == 0


def test_receive_sizes_are_uniform() -> None:
    sampler = Sampler(AS_AWS)
    drawn = [sampler.receive_size() for _ in range(10_000)]
    assert set(drawn) == set(range(1, 11))
    assert all(800 < drawn.count(size) < 1200 for size in range(1, 11))


def test_the_figures_of_a_real_account_apply_to_two_modes() -> None:
    measured = Network(receive_ms=18, sqs_ms=11, receive_sizes=(2, 6))
    by_mode = networks(measured)
    assert by_mode[Mode.AWS] == measured
    assert by_mode[Mode.FULL_RECEIVES] == Network(receive_ms=18, sqs_ms=11)
    assert by_mode[Mode.FAR] == Network(
        receive_ms=30, sqs_ms=24, dynamodb_ms=10, batch_ms=30, transaction_ms=30, receive_sizes=(1, 10)
    )
    assert by_mode[Mode.LOOPBACK] == LOOPBACK


class Clock:
    """A loop whose time passes only in `pass_until`."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now_s

    def call_at(self, when: float, callback: Callable[..., None], *args: Any) -> None:
        self._timers.append((when, callback, args))

    def pass_until(self, at_s: float) -> None:
        while due := sorted((timer for timer in self._timers if timer[0] <= at_s), key=lambda timer: timer[0]):
            self._timers.remove(due[0])
            self.now_s, callback, args = due[0]
            callback(*args)
        self.now_s = at_s


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers.append(orjson.loads(bytes(data).partition(b"\r\n\r\n")[2]))


class FixedSource(random.Random):
    """Draws the median, the largest size, and a duplicate each time."""

    def lognormvariate(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        del sigma
        return math.exp(mu)

    def randint(self, a: int, b: int) -> int:
        del a
        return b

    def random(self) -> float:
        return 0.0


class Client:
    """A connection to a stub that is away by exactly the medians of *network*."""

    def __init__(self, network: Network) -> None:
        self.clock, self.stub, self.transport = Clock(), StubServer(), Transport()
        sampler = Sampler(network, FixedSource())
        self.stub.sampler = sampler
        self.stub.sqs.clear(sampler)
        loop: Any = self.clock
        self.connection = Connection(self.stub, loop)
        self.connection.connection_made(self.transport)

    def send(self, target: str, request: dict[str, Any]) -> None:
        body = orjson.dumps(request)
        head = f"POST / HTTP/1.1\r\nX-Amz-Target: {target}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.connection.data_received(head.encode() + body)


def test_a_call_is_applied_half_way_and_answered_after_its_latency() -> None:
    client = Client(Network(dynamodb_ms=10))
    items = client.stub.dynamodb.tables["OrderTable"].items

    client.send("DynamoDB_20120810.PutItem", PUT)
    client.clock.pass_until(1000.0049)
    assert items == {}
    client.clock.pass_until(1000.0051)
    assert items == {"001": PUT["Item"]}
    assert client.transport.answers == []
    client.clock.pass_until(1000.0099)
    assert client.transport.answers == []
    client.clock.pass_until(1000.0101)
    assert client.transport.answers == [{}]


def test_an_error_takes_as_long_as_an_answer() -> None:
    client = Client(Network(dynamodb_ms=10))
    client.send("DynamoDB_20120810.GetItem", {"TableName": "Nowhere"})
    client.clock.pass_until(1000.0099)
    assert client.transport.answers == []
    client.clock.pass_until(1000.0101)
    assert client.transport.answers[0]["__type"].endswith("ResourceNotFoundException")


async def test_a_waiting_poll_is_answered_a_latency_after_its_message_came() -> None:
    client = Client(Network(receive_ms=10))
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    client.clock.pass_until(1003)
    message = client.stub.sqs.queue("OrderFulfillmentQueue").send(Body("001"))
    client.clock.pass_until(1003.0099)
    assert client.transport.answers == []
    client.clock.pass_until(1003.0101)
    assert [received["Body"] for received in client.transport.answers[0]["Messages"]] == ["001"]
    assert message.received_at_s == pytest.approx(1003.01)
    client.stub.sqs.clear(Sampler(LOOPBACK))


async def test_messages_are_for_others_if_the_receiver_leaves_before_its_request_arrives() -> None:
    client = Client(Network(receive_ms=10))
    queue = client.stub.sqs.queue("OrderFulfillmentQueue")
    queue.send(Body("001"))
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    client.connection.connection_lost(None)
    client.clock.pass_until(1001)
    assert [message.receive_count for message in queue.messages.values()] == [0]


async def test_a_receive_brings_as_many_messages_as_the_network_says() -> None:
    client = Client(Network(receive_sizes=(1, 4)))
    for number in range(10):
        client.stub.sqs.queue("OrderFulfillmentQueue").send(Body(str(number)))
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    client.send("AmazonSQS.ReceiveMessage", RECEIVE | {"MaxNumberOfMessages": 2})
    assert [len(answer["Messages"]) for answer in client.transport.answers] == [4, 2]
    client.stub.sqs.clear(Sampler(LOOPBACK))


async def test_a_duplicate_comes_at_once_with_a_receipt_of_its_own() -> None:
    client = Client(Network(duplicates=0.5))
    queue = client.stub.sqs.queue("OrderFulfillmentQueue")
    queue.send(Body("001"))
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    client.send("AmazonSQS.ReceiveMessage", RECEIVE | {"WaitTimeSeconds": 0})

    first, second, third = client.transport.answers
    (one,), (other,) = first["Messages"], second["Messages"]
    assert one["MessageId"] == other["MessageId"]
    assert one["ReceiptHandle"] != other["ReceiptHandle"]
    assert third == {}
    # Either receipt deletes the message.
    client.send("AmazonSQS.DeleteMessage", {"QueueUrl": QUEUE_URL, "ReceiptHandle": one["ReceiptHandle"]})
    assert queue.messages == {}
    client.send("AmazonSQS.DeleteMessage", {"QueueUrl": QUEUE_URL, "ReceiptHandle": other["ReceiptHandle"]})
    assert client.transport.answers[3:] == [{}, {}]


async def test_a_deleted_message_is_not_delivered_as_a_duplicate() -> None:
    client = Client(Network(duplicates=0.5))
    client.stub.sqs.queue("OrderFulfillmentQueue").send(Body("001"))
    client.send("AmazonSQS.ReceiveMessage", RECEIVE)
    [message] = client.transport.answers[0]["Messages"]
    client.send("AmazonSQS.DeleteMessage", {"QueueUrl": QUEUE_URL, "ReceiptHandle": message["ReceiptHandle"]})
    client.send("AmazonSQS.ReceiveMessage", RECEIVE | {"WaitTimeSeconds": 0})
    assert client.transport.answers[2] == {}


def test_unknown_commands_are_refused() -> None:
    with pytest.raises(AwsError):
        StubServer().control("unknown", {})
