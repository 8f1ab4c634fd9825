"""The stub sees whether a consumer has done what it acknowledges, and how long a message took."""

from typing import Any

import pytest

from tests.bench.connection import Connection
from tests.bench.loads import ESCALATION_QUEUE, FULFILLMENT_QUEUE, Load
from tests.bench.stub import PROVIDER, StubServer
from tests.bench.test_network import Clock, Transport
from tests.bench.window import Event, Window


class Consumer:
    """Receives one message of a load, settles it or not, and deletes it."""

    def __init__(self, load: Load) -> None:
        self._stub = StubServer()
        self._stub.control("measure", {"opens_on": Event.DELETE, "pids": [], "expected": 1})
        self._stub.control("backlog", {"load": load})
        queue = self._stub.sqs.queue(ESCALATION_QUEUE if load is Load.ESCALATIONS else FULFILLMENT_QUEUE)
        self._url = f"/123456789012/{queue.name}"
        received: list[Any] = []
        queue.receive({}, lambda answer, messages: received.extend((*answer["Messages"], *messages)))
        self._receipt: str = received[0]["ReceiptHandle"]
        self._order_id: str = received[1].order_id

    def set_status(self, status: str) -> None:
        orders = self._stub.dynamodb.tables["OrderTable"].items
        orders[self._order_id] = orders[self._order_id] | {"Status": {"S": status}}

    def open_case(self) -> None:
        self._stub.dynamodb.tables["EscalationTable"].items[self._order_id] = {}

    def ship(self) -> Any:
        return self._stub.command(PROVIDER, b'{"OrderId": "%s"}' % self._order_id.encode())[0]

    def unsettled(self) -> int:
        """Delete the message; return how many messages were deleted before they were settled."""
        self._stub.act("AmazonSQS.DeleteMessage", {"QueueUrl": self._url, "ReceiptHandle": self._receipt})
        result = self._stub.control("window", {})
        assert result["deleted"] == 1
        return int(result["unsettled"])


@pytest.mark.parametrize(("status", "unsettled"), [("RECEIVED", 1), ("ESCALATED", 1), ("FULFILLED", 0)])
async def test_an_order_must_be_fulfilled_before_its_message_is_deleted(status: str, unsettled: int) -> None:
    consumer = Consumer(Load.ORDERS)
    consumer.set_status(status)
    assert consumer.unsettled() == unsettled


async def test_an_order_must_be_escalated_with_a_case_before_its_message_is_deleted() -> None:
    consumer = Consumer(Load.ESCALATIONS)
    consumer.set_status("ESCALATED")
    assert consumer.unsettled() == 1

    consumer = Consumer(Load.ESCALATIONS)
    consumer.open_case()
    assert consumer.unsettled() == 1

    consumer = Consumer(Load.ESCALATIONS)
    consumer.set_status("ESCALATED")
    consumer.open_case()
    assert consumer.unsettled() == 0


async def test_an_order_must_be_shipped_before_its_message_is_deleted() -> None:
    consumer = Consumer(Load.SHIPMENTS)
    consumer.set_status("FULFILLED")
    assert consumer.unsettled() == 1

    consumer = Consumer(Load.SHIPMENTS)
    assert consumer.ship() == consumer.ship()
    consumer.set_status("FULFILLED")
    assert consumer.unsettled() == 0


def test_the_provider_takes_20_ms() -> None:
    clock, transport = Clock(), Transport()
    loop: Any = clock
    connection = Connection(StubServer(), loop)
    connection.connection_made(transport)
    connection.data_received(f'POST {PROVIDER} HTTP/1.1\r\nContent-Length: 18\r\n\r\n{{"OrderId": "001"}}'.encode())
    clock.pass_until(1000.0199)
    assert transport.answers == []
    clock.pass_until(1000.0201)
    assert transport.answers == [{"ShipmentId": "SHIPMENT-001"}]


async def test_the_window_opens_once_the_consumer_has_warmed_up() -> None:
    window = Window(opens_on=Event.DELETE, pids=(), expected=1, opens_after=3)
    for _ in range(3):
        assert window.result is None
        window.note(Event.RECEIVE)
        window.note(Event.DELETE)
        window.count_delete(0.1, settled=True)
    assert window.result is not None
    assert window.result["deleted"] == 1


async def test_requests_after_the_last_expected_delete_are_counted_separately() -> None:
    window = Window(opens_on=Event.DELETE, pids=(), expected=2, quiet_s=60)
    for _ in range(2):
        window.count_request("ReceiveMessage")
        window.note(Event.DELETE)
        window.count_delete(0.1, settled=True)
    window.count_request("ReceiveMessage")
    window.count_request("ReceiveMessage")
    assert window.result is None
    window._end()
    assert window.result is not None
    assert window.result["requests"] == {"ReceiveMessage": 1}  # The first one came before the window opened.
    assert window.result["quiet_requests"] == {"ReceiveMessage": 2}
    assert window.result["acknowledged_p99_ms"] == pytest.approx(100)
