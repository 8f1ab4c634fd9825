"""A handler on a queue in memory: what becomes of each message."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
import structlog
from pydantic import BaseModel
from structlog.typing import EventDict

from tests.virtual_time import VirtualTimeLoop, virtual_elapsed_s
from workers import Message, OutageError, PermanentError, TransientError
from workers.consumer.message import Acknowledged
from workers.consumer.message import Message as Received
from workers.errors import FatalError
from workers.testing import MemoryQueue, Outcome, memory, run_handler, run_handler_async
from workers.testing.bodies import body_text

__all__ = ["virtual_elapsed_s"]


@pytest.fixture(autouse=True)
def lines() -> Iterator[Sequence[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


class Return(BaseModel):
    order_id: str


async def accept(item: Return) -> None:
    match item.order_id:
        case "unknown":
            raise PermanentError("there is no such order")
        case "busy":
            raise TransientError("busy", retry_after_s=90)
        case "down":
            raise OutageError("the shop is down")
        case "broken":
            raise ZeroDivisionError


def statuses(outcomes: list[Outcome]) -> list[tuple[str, str]]:
    return [(outcome.status, outcome.reason) for outcome in outcomes]


def test_each_message_has_its_outcome_whatever_the_others_have() -> None:
    outcomes = run_handler(
        accept, {"order_id": "down"}, {"order_id": "1"}, '{"order_id": "unknown"}', {"order_id": "busy"}, {}, "?"
    )

    assert statuses(outcomes[:4]) == [
        ("held", "the shop is down"),
        ("acknowledged", ""),
        ("dead_lettered", "PERMANENT_ERROR: there is no such order"),
        ("released", "busy"),
    ]
    assert outcomes[3].delay_s == 90
    assert isinstance(outcomes[3].error, TransientError)
    assert [outcome.status for outcome in outcomes[4:]] == ["dead_lettered", "dead_lettered"]
    assert outcomes[4].reason.startswith("UNDECODABLE_MESSAGE: order_id is missing")


def test_any_other_error_releases_a_message_until_its_attempts_are_used_up() -> None:
    first, fifth = run_handler(
        accept,
        Message(body='{"order_id": "broken"}'),
        Message(body='{"order_id": "broken"}', receive_count=5),
    )
    (only,) = run_handler(accept, {"order_id": "broken"}, max_attempts=1)

    assert first.status == "released"
    assert first.delay_s is not None
    assert isinstance(first.error, ZeroDivisionError)
    assert fifth.reason == "ATTEMPTS_EXHAUSTED: failed at delivery 5; last error: zero division error"
    assert only.status == "dead_lettered"


def test_a_message_delivered_far_too_often_is_not_handled_again() -> None:
    (outcome,) = run_handler(accept, Message(body='{"order_id": "1"}', receive_count=40))
    assert outcome.status == "dead_lettered"
    assert outcome.reason.startswith("DELIVERED_TOO_OFTEN")


def test_a_handler_gets_the_message_as_it_was_sent() -> None:
    seen: list[Message] = []

    async def record(message: Message) -> None:
        await asyncio.sleep(0)
        seen.append(message)

    sent = Message(id="m1", body="hello", attributes={"Who": "Ada", "Key": b"\0"}, receive_count=3)
    assert statuses(run_handler(record, sent)) == [("acknowledged", "")]
    assert seen == [sent]


async def test_what_opens_a_handler_is_opened_once_and_closed() -> None:
    steps: list[str] = []

    @contextlib.asynccontextmanager
    async def opening() -> AsyncIterator[object]:
        steps.append("opened")

        async def handle(message: Message) -> None:
            await asyncio.sleep(0)
            steps.append(message.body)

        yield handle
        steps.append("closed")

    await run_handler_async(opening, "a", "b")
    assert steps == ["opened", "a", "b", "closed"]


async def test_async_code_is_told_what_to_call() -> None:
    with pytest.raises(RuntimeError, match="await run_handler_async"):
        run_handler(accept, "1")


def test_what_cannot_be_a_handler_is_refused_without_inner_frames() -> None:
    with pytest.raises(FatalError, match="print is not async") as raised:
        run_handler(print, "1")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    assert [Path(entry.path).name for entry in raised.traceback] == ["test_memory.py", "memory.py"]
    assert len(raised.traceback.filter(raised)) == 1


def test_why_a_handler_cannot_be_opened_is_kept() -> None:
    @contextlib.asynccontextmanager
    async def opening() -> AsyncIterator[object]:
        await asyncio.sleep(0)
        raise ZeroDivisionError
        yield

    with pytest.raises(FatalError, match="cannot be opened: zero division error") as raised:
        run_handler(opening, "1")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_what_a_handler_raises_has_no_context_that_is_not_its_own() -> None:
    (outcome,) = run_handler(accept, {"order_id": "broken"})
    assert outcome.error is not None
    assert outcome.error.__context__ is None


def test_only_lines_of_the_message_are_shown(lines: Sequence[EventDict]) -> None:
    run_handler(accept, {"order_id": "down"}, {"order_id": "busy"}, {"order_id": "1"})
    assert not any(line["event"] == "consumer.drain_expired" for line in lines)


@pytest.fixture
def _unconfigured() -> Iterator[None]:
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)  # Otherwise the tests that follow in this process would log at every level.


@pytest.mark.usefixtures("_unconfigured")
def test_without_a_configuration_the_lines_are_those_of_a_worker(capsys: pytest.CaptureFixture[str]) -> None:
    run_handler(accept, {"order_id": "busy"})
    shown = capsys.readouterr().out
    assert "message.failed" in shown
    assert "\x1b" not in shown
    assert "debug" not in shown
    assert not structlog.is_configured()


@dataclass
class Parcel:
    order_id: str
    packed: date


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (Return(order_id="1"), '{"order_id": "1"}'),
        ([Return(order_id="1")], '[{"order_id": "1"}]'),
        (Parcel("1", date(2026, 11, 26)), '{"order_id": "1", "packed": "2026-11-26"}'),
        ({"order_id": 1}, '{"order_id": 1}'),
        ("not JSON", "not JSON"),
    ],
)
def test_a_body_may_be_a_model_or_a_dataclass(given: object, body: str) -> None:
    assert body_text(given) == body


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (b"1", "a message of bytes must be a text, a pydantic model, a dataclass, or what becomes JSON"),
        (object(), "a message of object must be .*JSON: Unable to serialize unknown type: <class 'object'>"),
        ({"a": object()}, "a message of dict must be .*JSON: Unable to serialize unknown type: <class 'object'>"),
    ],
)
def test_a_body_that_has_no_json_is_refused_with_its_type(given: object, why: str) -> None:
    with pytest.raises(TypeError, match=why) as raised:
        run_handler(accept, given)
    assert len(raised.traceback.filter(raised)) == 1


def test_a_handler_that_hangs_is_named_by_a_timeout() -> None:
    async def hang(_: Message) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        with pytest.raises(TimeoutError, match=r"the handler took longer than 0\.5 s for message-1"):
            await run_handler_async(hang, "1", timeout_s=0.5)
        await asyncio.sleep(1)
        assert asyncio.all_tasks() == {asyncio.current_task()}, "it is cancelled"

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


def test_a_handler_that_cannot_go_on_ends_with_its_error() -> None:
    async def fail(_: Message) -> None:
        raise FatalError("the key of the shop is wrong") from KeyError("key")

    with pytest.raises(FatalError, match="the key of the shop is wrong") as raised:
        run_handler(fail, "1")
    assert isinstance(raised.value.__cause__, KeyError)


def test_of_a_group_the_first_error_counts() -> None:
    first = KeyError("a")
    group = ExceptionGroup("", [ExceptionGroup("", [first, ValueError()]), TypeError()])
    assert memory.first_error(group) is memory.first_error(first) is first


def test_a_message_has_its_attributes_as_sqs_has_them() -> None:
    (received,) = memory._received([Message(body="", attributes={"Who": "Ada", "Key": b"\0"})])
    assert received.attributes == {
        "Who": {"DataType": "String", "StringValue": "Ada"},
        "Key": {"DataType": "Binary", "BinaryValue": b"\0"},
    }


class Handled:
    """A handler that acknowledges. `steps`: what was asked of it."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    async def handle(self, message: Received) -> Acknowledged:
        self.steps.append(f"handle {message.id}")
        return Acknowledged("handled")

    async def give_up(self, message: Received) -> Acknowledged:
        self.steps.append(f"give up {message.id}")
        return Acknowledged("given up")

    async def take_back(self, message: Received) -> None:
        self.steps.append(f"take back {message.id}")


async def test_what_is_recorded_is_passed_on() -> None:
    handler, received = Handled(), Received(id="m", receipt_handle="r", body="")
    recorder = memory._Recorder(handler, MemoryQueue())
    assert await recorder.handle(received) == Acknowledged("handled")
    assert await recorder.give_up(received) == recorder.settlement == Acknowledged("given up")
    await recorder.take_back(received)
    assert handler.steps == ["handle m", "give up m", "take back m"]


def test_a_receive_waits_for_messages() -> None:
    async def receive() -> None:
        loop, queue = asyncio.get_running_loop(), MemoryQueue(wait_s=60)
        received = Received(id="m", receipt_handle="r", body="")
        loop.call_later(5, queue.send, received)
        began_s = loop.time()
        assert await queue.receive(1) == [received]
        assert loop.time() - began_s < 10
        assert await queue.receive(1) == []
        assert loop.time() - began_s > 60
        assert await queue.receive(1, 1) == []
        assert loop.time() - began_s < 100

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(receive())


def test_a_handler_may_take_longer_than_half_of_the_visibility_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_LOOK_S", 1.0)  # Each look is a turn of the loop.

    async def take_long(message: Message) -> None:
        await asyncio.sleep(100)
        if message.body == "busy":
            raise TransientError("busy", retry_after_s=90)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        outcomes = runner.run(run_handler_async(take_long, "1", "busy", timeout_s=1_000))
    assert statuses(outcomes) == [("acknowledged", ""), ("released", "busy")]
    assert outcomes[1].delay_s == 90


async def test_a_queue_in_memory_delivers_once_and_records_what_becomes_of_it() -> None:
    assert (MemoryQueue().visibility_timeout_s, MemoryQueue().wait_s) == (60, 0.02)
    queue = MemoryQueue(wait_s=0)
    messages = [Received(id=f"m{n}", receipt_handle=f"r{n}", body="") for n in range(3)]
    queue.send(*messages)

    assert [await queue.receive(2), await queue.receive(10), await queue.receive(10)] == [
        messages[:2],
        messages[2:],
        [],
    ]
    assert await queue.delete(["r0", "r1"]) == [None, None]
    assert await queue.change_visibility([("r2", 5)]) == [None]
    assert queue.deleted == ["r0", "r1"]
    assert queue.changed == [("r2", 5)]
