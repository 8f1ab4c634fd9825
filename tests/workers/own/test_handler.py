"""A worker of your own: what its handler returns and raises, and where the message goes."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.contextvars import bind_contextvars, clear_contextvars

from tests.workers.consumer.fakes import FakeQueue, limits, message, running
from workers import Message, OutageError, PermanentError, TransientError
from workers.consumer.message import Message as Received
from workers.own.decoding import decoder
from workers.own.handler import OwnHandler

Behavior = Callable[[Any], Awaitable[object]]


class Shop(BaseModel):
    shop_id: str


class Return(BaseModel):
    order_id: str
    items: list[int] = []
    shop: Shop | None = None
    size: tuple[int, int] = (0, 0)


ENDS = {"message.attempts_exhausted", "message.dead_lettered"}
NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"


class FakeDeadLetters:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str, str | None]] = []
        self.outages: list[Exception] = []

    async def send(self, message: Received, *, reason: str, error: Exception | None = None) -> None:
        if self.outages:
            raise self.outages.pop()
        self.sent.append((message.id, reason, None if error is None else type(error).__name__))


def handler(call: Behavior, model: type[BaseModel] | None = None) -> OwnHandler:
    return OwnHandler(
        call=call, decode=decoder(model), dead_letters=FakeDeadLetters(), max_attempts=5, max_deliveries=10
    )


def raising(*errors: BaseException | None) -> Behavior:
    """Return a handler that raises these errors, one a call, and then returns. None: it returns."""
    left = list(errors)

    async def call(_: object) -> None:
        error = left.pop(0) if left else None
        if error is not None:
            raise error

    return call


def sent(own: OwnHandler) -> list[tuple[str, str, str | None]]:
    assert isinstance(own.dead_letters, FakeDeadLetters)
    return own.dead_letters.sent


async def endings(own: OwnHandler, *received: Received) -> list[tuple[str, str, str]]:
    """Return the last lines of these messages."""
    queue = FakeQueue(received)
    async with running(queue, own, limits()) as run:
        await run.until_settled(len(received))
    assert len(queue.deleted) == sum(event != "message.released" for _, event, _ in run.endings())
    return run.endings()


async def test_a_handler_that_returns_has_its_message_acknowledged() -> None:
    own = handler(raising())
    assert await endings(own, message("m1")) == [("m1", "message.acknowledged", "handled")]
    assert sent(own) == []


async def test_a_handler_gets_the_message_as_it_was_sent() -> None:
    got: list[Message] = []

    async def call(given: Message) -> None:
        got.append(given)

    attributes = {
        "who": {"DataType": "String", "StringValue": "me"},
        "n": {"DataType": "Number", "StringValue": "7"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00"},
        "empty": {"DataType": "String"},
    }
    received = message("m1", body=" {} ", receive_count=3, sent_at_s=1.5, first_received_at_s=2, attributes=attributes)
    await endings(handler(call), received)
    assert got == [
        Message(
            id="m1",
            body=" {} ",
            attributes={"who": "me", "n": "7", "raw": b"\x00", "empty": ""},
            receive_count=3,
            sent_at=datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC),
            first_received_at=datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
        )
    ]


async def test_a_handler_gets_the_model_that_its_parameter_is_annotated_with() -> None:
    got: list[Return] = []

    async def call(given: Return) -> None:
        got.append(given)

    await endings(handler(call, Return), message("m1", body='\ufeff {"order_id": "001"}\n'))
    assert got == [Return(order_id="001")]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("nonsense", "Invalid JSON: expected ident at line 1 column 2"),
        ("[]", "Input should be an object"),
        ("{}", "order_id is missing"),
        ('{"OrderId": "001"}', 'order_id is missing ("OrderId" is another name: it must be order_id)'),
        (
            '{"Type": "", "TopicArn": "", "Message": ""}',
            "order_id is missing (this is an SNS notification: turn on raw message delivery for the subscription)",
        ),
        (
            '{"order_id": "1", "shop": {"ShopId": "s"}}',
            'shop.shop_id is missing ("ShopId" is another name: it must be shop_id)',
        ),
        ('{"order_id": "1", "size": [1]}', "size.1: Field required"),
        ('{"order_id": {"secret": 1}}', "order_id: Input should be a valid string"),
        (
            '{"order_id": 1, "items": [1, "secret"]}',
            f"order_id: Input should be a valid string; items.1: {NO_INTEGER}",
        ),
        *(
            (
                json.dumps({"order_id": "1", "items": [""] * wrong}),
                "; ".join([*(f"items.{index}: {NO_INTEGER}" for index in range(5)), *more]),
            )
            for wrong, more in ((5, []), (6, ["and 1 more"]), (7, ["and 2 more"]))
        ),
    ],
)
async def test_a_body_that_is_not_the_model_is_dead_lettered_with_the_field(body: str, fault: str) -> None:
    own = handler(raising(), Return)
    assert await endings(own, message("m1", body=body)) == [("m1", "message.dead_lettered", "undecodable")]
    assert sent(own) == [("m1", f"UNDECODABLE_MESSAGE: {fault}", "UndecodableError")]


async def test_a_permanent_error_is_dead_lettered_with_its_text() -> None:
    own = handler(raising(PermanentError("no such order"), PermanentError()))
    assert await endings(own, message("m1"), message("m2")) == [
        ("m1", "message.dead_lettered", "permanent_error"),
        ("m2", "message.dead_lettered", "permanent_error"),
    ]
    assert sent(own) == [
        ("m1", "PERMANENT_ERROR: no such order", "PermanentError"),
        ("m2", "PERMANENT_ERROR: no reason given", "PermanentError"),
    ]


async def test_a_transient_error_is_released_for_as_long_as_it_asks() -> None:
    own, queue = handler(raising(TransientError("busy", retry_after_s=77))), FakeQueue([message("m1")])
    async with running(queue, own, limits()) as run:
        await run.until_settled(1)
    assert run.endings() == [("m1", "message.released", "transient")]
    assert queue.changed == [("r-m1", 77)]


@pytest.mark.parametrize(
    ("error", "outcome", "last"),
    [
        (TransientError("busy"), "transient", "busy"),
        (KeyError("card 1234"), "unexpected_error", "key error"),
        (SystemExit(3), "transient", "the handler raised system exit"),
        (asyncio.CancelledError(), "transient", "the handler cancelled itself"),
    ],
)
async def test_whatever_fails_is_delivered_again_until_its_attempts_are_used_up(
    error: BaseException, outcome: str, last: str
) -> None:
    own = handler(raising(error, error))
    received = (message("m1", receive_count=4), message("m2", receive_count=5))
    async with running(FakeQueue(received), own, limits()) as run:
        await run.until_settled(2)
    assert sorted(run.endings()) == [
        ("m1", "message.released", outcome),
        ("m2", "message.dead_lettered", "attempts_exhausted"),
    ]
    ((message_id, reason, _),) = sent(own)
    assert (message_id, reason) == ("m2", f"ATTEMPTS_EXHAUSTED: failed at delivery 5; last error: {last}")
    exhausted, end = (line for line in run.logs if line.get("message_id") == "m2" and line["event"] in ENDS)
    assert (exhausted["log_level"], exhausted["attempts"], end["reason"]) == ("error", 5, reason)
    assert error in (exhausted["exc_info"], exhausted["exc_info"].__cause__)


async def test_a_handler_that_returns_what_nothing_awaits_has_failed() -> None:
    async def helper() -> None:
        """Do what the handler leaves to it."""

    async def call(message: Message) -> object:
        return helper() if message.receive_count == 5 else asyncio.ensure_future(helper())

    own = handler(call)
    received = (message("m1", receive_count=4), message("m2", receive_count=5))
    assert sorted(await endings(own, *received)) == [
        ("m1", "message.released", "transient"),
        ("m2", "message.dead_lettered", "attempts_exhausted"),
    ]
    ((_, reason, _),) = sent(own)
    assert reason.endswith("last error: the handler returned a coroutine without awaiting it: is an await missing?")


async def test_the_value_that_a_handler_returns_does_not_matter() -> None:
    async def call(message: Message) -> object:
        return message

    assert await endings(handler(call), message("m1")) == [("m1", "message.acknowledged", "handled")]


async def test_a_validator_that_fails_is_an_unexpected_error() -> None:
    def decode(_: Received) -> object:
        raise ZeroDivisionError

    own = handler(raising())
    own.decode = decode
    assert await endings(own, message("m1")) == [("m1", "message.released", "unexpected_error")]


async def test_in_an_outage_messages_are_held_however_often_they_were_delivered() -> None:
    down = OutageError("the shop is closed")
    own = handler(raising(down, down, down))
    assert await endings(own, message("m1", receive_count=9)) == [("m1", "message.acknowledged", "handled")]
    assert sent(own) == []


async def test_a_message_is_not_deleted_before_its_copy_was_sent() -> None:
    own = handler(raising(PermanentError("no"), PermanentError("no")))
    assert isinstance(own.dead_letters, FakeDeadLetters)
    own.dead_letters.outages = [OutageError("SendMessage: ServiceUnavailable")]
    assert await endings(own, message("m1")) == [("m1", "message.dead_lettered", "permanent_error")]
    assert sent(own) == [("m1", "PERMANENT_ERROR: no", "PermanentError")]


async def test_a_message_that_was_delivered_too_often_is_handled_three_more_times_alone() -> None:
    running_now = most = 0

    async def call(_: object) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(1)
        running_now -= 1

    own = handler(call)
    received = [message(f"m{count}", receive_count=count) for count in (11, 12, 13, 14)]
    assert sorted(await endings(own, *received)) == [
        ("m11", "message.acknowledged", "handled"),
        ("m12", "message.acknowledged", "handled"),
        ("m13", "message.acknowledged", "handled"),
        ("m14", "message.dead_lettered", "delivered_too_often"),
    ]
    assert most == 1
    assert sent(own) == [("m14", "DELIVERED_TOO_OFTEN: delivered 14 times without an outcome; not handled again", None)]


async def test_a_stop_in_a_late_delivery_releases_the_message() -> None:
    began = asyncio.Event()

    async def call(_: object) -> None:
        began.set()
        await asyncio.sleep(1000)

    own = handler(call)
    async with running(FakeQueue([message("m1", receive_count=11)]), own, limits()) as run:
        await began.wait()
        await run.stop()
    assert run.endings() == [("m1", "message.released", "stopping")]


async def test_a_cancelled_handler_settles_nothing_whatever_it_raises() -> None:
    began = asyncio.Event()

    async def call(_: object) -> None:
        began.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise PermanentError("turned into another error") from None

    own = handler(call)
    async with running(FakeQueue([message("m1")]), own, limits()) as run:
        await began.wait()
        await run.stop()
    assert run.endings() == [("m1", "message.released", "stopping")]
    assert sent(own) == []


@pytest.mark.parametrize("error", [None, PermanentError("no")])
async def test_a_handler_that_clears_the_log_context_takes_no_id_from_the_last_line(error: Exception | None) -> None:
    async def call(_: object) -> None:
        clear_contextvars()
        bind_contextvars(message_id="fake", shop="s1")
        if error is not None:
            raise error

    queue = FakeQueue([message("m1")])
    async with running(queue, handler(call), limits()) as run:
        await run.until_settled(1)
    (line,) = [line for line in run.logs if line["event"] in {"message.acknowledged", "message.dead_lettered"}]
    assert (line["message_id"], line["receive_count"], line["shop"]) == ("m1", 1, "s1")


async def test_a_handler_that_cancels_its_own_task_is_not_taken_for_a_stop() -> None:
    async def call(_: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    assert await endings(handler(call), message("m1")) == [("m1", "message.released", "unexpected_error")]
