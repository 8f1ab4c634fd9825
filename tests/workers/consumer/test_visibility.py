import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from tests.workers.consumer.fakes import (
    LOST,
    REFUSED,
    TIMEOUT_S,
    FakeClock,
    FakeQueue,
    RecordedBackoff,
    message,
    turns,
    until,
)
from workers.consumer import visibility as visibility_module
from workers.consumer.delivery import Cancellation, Delivery, Ending
from workers.consumer.elapsed import elapsed_s
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Acknowledged, Released
from workers.consumer.ports import MAX_BATCH, Refusal
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.consumer.visibility import VisibilityExtender
from workers.errors import FatalError, OutageError
from workers.metrics import Metrics

LEFT_S = 20.0  # Of a timeout of 60 s: to be extended now.


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue(visibility_timeout_s=60)


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight(Slots(1000), 60, Metrics())


def take(in_flight: InFlight, message_id: str, left_s: float = LEFT_S) -> Delivery:
    delivery = in_flight.take(message(message_id), in_flight.now_s())
    assert delivery is not None
    delivery.renew_receipt(delivery.receipt_handle, in_flight.now_s() + left_s)
    return delivery


def ends_with(extender: asyncio.Task[None], kind: type[Exception]) -> bool:
    error = extender.exception()
    return isinstance(error, ExceptionGroup) and error.subgroup(kind) is not None


@contextlib.asynccontextmanager
async def extending(
    queue: FakeQueue, in_flight: InFlight, timings: Timings = DEFAULT_TIMINGS
) -> AsyncIterator[asyncio.Task[None]]:
    extender = VisibilityExtender(queue=queue, in_flight=in_flight, max_handle_s=60, timings=timings)
    task = asyncio.create_task(extender.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_extends_by_a_whole_visibility_timeout(queue: FakeQueue, in_flight: InFlight) -> None:
    delivery = take(in_flight, "m")
    async with extending(queue, in_flight):
        await until(lambda: delivery.visible_at_s > elapsed_s() + 50)
    assert queue.changes == [[("r-m", 60)]]


async def test_leaves_alone_messages_with_most_of_their_time_left(queue: FakeQueue, in_flight: InFlight) -> None:
    take(in_flight, "later", left_s=45)
    expiring = take(in_flight, "expiring")
    async with extending(queue, in_flight):
        await until(lambda: expiring.visible_at_s > elapsed_s() + 50)
    assert queue.changed == [("r-expiring", 60)]


async def test_extends_nearly_expiring_messages_only_along_with_an_expiring_one(
    queue: FakeQueue, in_flight: InFlight
) -> None:
    nearly = take(in_flight, "nearly", left_s=35)
    async with extending(queue, in_flight):
        await asyncio.sleep(0.02)
        assert queue.changes == []
    take(in_flight, "expiring")
    async with extending(queue, in_flight):
        await until(lambda: nearly.visible_at_s > elapsed_s() + 50)
    assert sorted(queue.changed) == [("r-expiring", 60), ("r-nearly", 60)]


async def test_extends_ten_per_request(queue: FakeQueue, in_flight: InFlight) -> None:
    for n in range(25):
        take(in_flight, f"m{n}")
    async with extending(queue, in_flight):
        await until(lambda: len(queue.changed) == 25)
        await asyncio.sleep(0.02)
    assert [len(batch) for batch in queue.changes] == [10, 10, 5]


async def test_extends_again_and_again_for_as_long_as_a_message_is_in_flight(in_flight: InFlight) -> None:
    queue = FakeQueue(visibility_timeout_s=1)
    in_flight = InFlight(Slots(10), 1, Metrics())
    take(in_flight, "m", left_s=0.45)
    async with extending(queue, in_flight):
        await until(lambda: len(queue.changes) >= 3)
    assert queue.changed[:3] == [("r-m", 1)] * 3


async def test_an_answer_about_fewer_messages_than_were_extended_ends_it(in_flight: InFlight) -> None:
    class ShortAnswers(FakeQueue):
        async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
            return (await super().change_visibility(entries))[1:]

    for message_id in ("a", "b"):
        take(in_flight, message_id)
    async with extending(ShortAnswers(visibility_timeout_s=60), in_flight) as extender:
        await asyncio.wait([extender], timeout=TIMEOUT_S)
        assert ends_with(extender, ValueError)


async def test_extends_messages_that_await_their_delete_but_not_released_ones(
    queue: FakeQueue, in_flight: InFlight
) -> None:
    take(in_flight, "handled").settle(Acknowledged("handled"))
    take(in_flight, "released").settle(Released("transient", 30))
    async with extending(queue, in_flight):
        await until(lambda: bool(queue.changes))
        await asyncio.sleep(0.02)
    assert queue.changed == [("r-handled", 60)]


async def test_cancels_a_handler_once_when_it_has_run_for_as_long_as_it_may(
    queue: FakeQueue, in_flight: InFlight
) -> None:
    loop, cancelled_at_s = asyncio.get_running_loop(), list[float]()
    late, waiting = take(in_flight, "late"), take(in_flight, "waiting")
    for delivery in (late, waiting):
        delivery.assign(cast("Any", SimpleNamespace(cancel=lambda: cancelled_at_s.append(loop.time()))))
    began_s = loop.time()
    late.begin_handling(began_s)
    async with extending(queue, in_flight):
        await asyncio.sleep(100)
    assert [at_s - began_s for at_s in cancelled_at_s] == [pytest.approx(60, abs=0.01)]
    assert (late.cancellation, waiting.cancellation) == (Cancellation.TIMED_OUT, None)


@pytest.mark.parametrize(("ran_s", "cancellation"), [(59.9, None), (60.0, Cancellation.TIMED_OUT)])
async def test_a_handler_may_run_for_less_than_its_time(
    queue: FakeQueue,
    in_flight: InFlight,
    monkeypatch: pytest.MonkeyPatch,
    ran_s: float,
    cancellation: Cancellation | None,
) -> None:
    delivery = take(in_flight, "m")
    delivery.begin_handling(1000.0)
    extender = VisibilityExtender(queue=queue, in_flight=in_flight, max_handle_s=60)
    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0 + ran_s)
        extender._cancel_late()
    assert delivery.cancellation is cancellation


async def test_cancels_the_handler_of_a_message_whose_receipt_is_lost(queue: FakeQueue, in_flight: InFlight) -> None:
    lost, extended = take(in_flight, "lost"), take(in_flight, "extended")
    handling_lost, handling_extended = (asyncio.create_task(asyncio.sleep(60)) for _ in range(2))
    lost.assign(handling_lost)
    extended.assign(handling_extended)
    queue.refuse("r-lost", LOST)
    async with extending(queue, in_flight):
        await asyncio.wait([handling_lost], timeout=TIMEOUT_S)
        await asyncio.sleep(0.02)
    assert handling_lost.cancelled()
    assert (lost.cancellation, extended.cancellation) == (Cancellation.RECEIPT_LOST, None)
    assert not handling_extended.done()
    assert len(queue.changes) == 1
    handling_extended.cancel()


async def test_a_handled_message_whose_receipt_is_lost_is_not_extended_again(
    queue: FakeQueue, in_flight: InFlight
) -> None:
    handled = take(in_flight, "handled")
    handled.settle(Acknowledged("handled"))
    queue.refuse("r-handled", *[LOST] * 1000)
    async with extending(queue, in_flight):
        await asyncio.sleep(0.05)
    assert len(queue.changes) == 1
    assert list(in_flight) == [handled]  # Its delete decides what becomes of it.


async def test_a_receipt_renewed_during_its_extension_is_not_lost(in_flight: InFlight) -> None:
    class ReceivedAgain(FakeQueue):
        async def change_visibility(self, entries: list[tuple[str, int]]) -> list[None]:  # type: ignore[override]
            self.changes.append(list(entries))
            in_flight.take(message("m", "r-newest"), in_flight.now_s())
            return [LOST]  # type: ignore[list-item]

    queue = ReceivedAgain(visibility_timeout_s=60)
    delivery = take(in_flight, "m")
    async with extending(queue, in_flight):
        await until(lambda: bool(queue.changes))
        await asyncio.sleep(0.02)
    assert (delivery.cancellation, delivery.receipt_handle) == (None, "r-newest")
    assert len(queue.changes) == 1


@pytest.mark.parametrize(
    ("answers", "expected"), [([OutageError("throttled")] * 3, [1, 2, 3]), ([REFUSED] * 7, [1, 2])]
)
async def test_refused_extensions_are_tried_again_with_backoff(
    queue: FakeQueue,
    in_flight: InFlight,
    answers: list[Refusal | OutageError],
    expected: list[int],
) -> None:
    backoff = RecordedBackoff()
    delivery = take(in_flight, "m")
    queue.refuse("r-m", *answers)
    async with extending(queue, in_flight, replace(DEFAULT_TIMINGS, extension_retry=backoff)):
        await until(lambda: delivery.visible_at_s > elapsed_s() + 50)
    assert backoff.attempts == expected
    assert len(queue.changes) == len(answers) + 1


async def test_a_refused_extension_is_tried_again_before_the_waiting_ones(
    queue: FakeQueue, in_flight: InFlight
) -> None:
    for n in range(200):
        take(in_flight, f"m{n}", left_s=LEFT_S + n / 100)
    queue.refuse("r-m0", REFUSED)
    async with extending(queue, in_flight):
        await until(lambda: len(queue.changed) == 201)
    assert [handle for handle, _ in queue.changed].index("r-m0", 1) < 2 * MAX_BATCH * 5


async def test_a_message_released_meanwhile_is_not_extended(queue: FakeQueue, in_flight: InFlight) -> None:
    for n in range(100):
        take(in_flight, f"m{n}", left_s=LEFT_S + n / 100)
    last = next(delivery for delivery in in_flight if delivery.message.id == "m99")
    queue.answering.clear()
    async with extending(queue, in_flight):
        await until(lambda: len(queue.changes) == 5)
        last.settle(Released("stopping"))
        queue.answering.set()
        await until(lambda: len(queue.changed) == 99)
        await asyncio.sleep(0.02)
    assert "r-m99" not in {handle for handle, _ in queue.changed}


async def test_ends_when_the_queue_is_gone(queue: FakeQueue, in_flight: InFlight) -> None:
    take(in_flight, "m")
    queue.refuse("r-m", FatalError("the queue does not exist"))
    async with extending(queue, in_flight) as extender:
        await asyncio.wait([extender], timeout=TIMEOUT_S)
        assert ends_with(extender, FatalError)


async def test_a_slow_request_does_not_delay_the_others(queue: FakeQueue, in_flight: InFlight) -> None:
    for n in range(100):
        take(in_flight, f"m{n}")
    queue.answering.clear()
    async with extending(queue, in_flight):
        await until(lambda: len(queue.changes) == 5)
        await asyncio.sleep(0.02)
        assert len(queue.changes) == 5
        queue.answering.set()
        await until(lambda: len(queue.changed) == 100)
    assert {handle for handle, _ in queue.changed} == {f"r-m{n}" for n in range(100)}


async def test_an_outage_of_one_request_does_not_affect_the_others(queue: FakeQueue, in_flight: InFlight) -> None:
    no_second_try = replace(DEFAULT_TIMINGS, extension_retry=RecordedBackoff(fixed_s=TIMEOUT_S))
    deliveries = [take(in_flight, f"m{n}", left_s=LEFT_S + n / 100) for n in range(20)]
    before_s = [delivery.visible_at_s for delivery in deliveries]
    queue.refuse("r-m0", OutageError("down"))
    async with extending(queue, in_flight, no_second_try):
        await until(lambda: len(queue.changed) == 20)
        await turns()
    extended = [
        delivery.visible_at_s > visible_at_s for delivery, visible_at_s in zip(deliveries, before_s, strict=True)
    ]
    assert extended == [False] * MAX_BATCH + [True] * MAX_BATCH


@pytest.fixture
def machine() -> FakeClock:
    """The clock of `suspended`."""
    return FakeClock()


@pytest.fixture
def suspended(machine: FakeClock) -> InFlight:
    """The messages in flight of a machine that may be suspended."""
    return InFlight(Slots(1000), 60, Metrics(), now_s=machine)


@pytest.mark.parametrize(
    ("first_s", "second_s", "expiring"),
    [(30.0, 39.0, ["first", "second"]), (30.0, 39.1, ["first"]), (30.1, 39.0, []), (38.0, 30.0, ["second", "first"])],
)
async def test_messages_expire_at_half_of_their_timeout_and_others_soon_after_go_with_them(
    queue: FakeQueue, suspended: InFlight, first_s: float, second_s: float, expiring: list[str]
) -> None:
    take(suspended, "first", left_s=first_s)
    take(suspended, "second", left_s=second_s)
    extender = VisibilityExtender(queue=queue, in_flight=suspended, max_handle_s=60)
    assert [delivery.message.id for delivery in extender._expiring()] == expiring


@pytest.mark.parametrize("accepted", [True, False], ids=["old receipts accepted", "refused"])
async def test_a_message_whose_time_has_run_out_is_cancelled_and_not_extended(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight, *, accepted: bool
) -> None:
    unsettled, handled = take(suspended, "unsettled", left_s=50), take(suspended, "handled", left_s=50)
    handling = asyncio.create_task(asyncio.sleep(60))
    unsettled.assign(handling)
    handled.settle(Acknowledged("handled"))
    for delivery in (unsettled, handled):
        queue.outdate(delivery.receipt_handle, accepted=accepted)
    async with extending(queue, suspended):
        await turns()
        machine.now_s += 50
        await asyncio.wait([handling], timeout=TIMEOUT_S)
    assert handling.cancelled()
    assert unsettled.cancellation is Cancellation.RECEIPT_LOST
    assert queue.changes == []
    assert list(suspended) == [unsettled, handled]  # The delete of the handled one decides how it ends.


async def test_a_handler_is_cancelled_in_time_although_an_extension_hangs(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight
) -> None:
    delivery = take(suspended, "m")
    handling = asyncio.create_task(asyncio.sleep(60))
    delivery.assign(handling)
    queue.answering.clear()
    async with extending(queue, suspended):
        await until(lambda: len(queue.changes) == 1)
        machine.now_s += LEFT_S
        await asyncio.wait([handling], timeout=TIMEOUT_S)
    assert (handling.cancelled(), delivery.cancellation) == (True, Cancellation.RECEIPT_LOST)


async def test_an_extension_is_measured_from_before_its_request(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight
) -> None:
    delivery, began_s = take(suspended, "m"), machine.now_s
    queue.answering.clear()
    async with extending(queue, suspended):
        await until(lambda: len(queue.changes) == 1)
        machine.now_s += LEFT_S - 1
        queue.answering.set()
        await turns()
    assert (delivery.visible_at_s, delivery.cancellation) == (began_s + 60, None)


async def test_an_extension_that_is_answered_too_late_does_not_count(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight
) -> None:
    delivery = take(suspended, "m")
    queue.answering.clear()
    async with extending(queue, suspended):
        await until(lambda: len(queue.changes) == 1)
        machine.now_s += LEFT_S
        queue.answering.set()
        await turns()
    assert delivery.cancellation is Cancellation.RECEIPT_LOST
    assert len(queue.changes) == 1


async def test_messages_that_wait_for_their_extension_until_it_is_too_late_are_not_extended(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight
) -> None:
    for n in range(100):
        take(suspended, f"m{n}")
    queue.answering.clear()
    async with extending(queue, suspended):
        await until(lambda: len(queue.changes) == 5)
        machine.now_s += LEFT_S
        queue.answering.set()
        lost = {Cancellation.RECEIPT_LOST}
        await until(lambda: {delivery.cancellation for delivery in suspended} == lost)
    assert len(queue.changes) == 5


async def test_a_message_received_at_the_end_of_a_long_poll_is_extended_in_time(
    queue: FakeQueue, machine: FakeClock, suspended: InFlight
) -> None:
    async with extending(queue, suspended):
        await turns()
        delivery = take(suspended, "m", left_s=10)
        await until(lambda: delivery.visible_at_s == machine.now_s + 60)
    assert queue.changed == [("r-m", 60)]


async def test_an_outage_lasts_although_the_messages_that_it_hits_are_soon_lost() -> None:
    """None of them is in flight for five minutes: while nothing is due, nothing says that the outage is over."""
    queue, in_flight = FakeQueue(visibility_timeout_s=1), InFlight(Slots(1000), 1, Metrics())
    queue.outage = OutageError("down")
    outage = Metrics(prolonged_after_s=0.1).outages.stage("visibility_extension", fresh_s=visibility_module.FRESH_S)
    timings = replace(DEFAULT_TIMINGS, extension_retry=RecordedBackoff())
    extender = VisibilityExtender(queue=queue, in_flight=in_flight, max_handle_s=60, timings=timings, outage=outage)
    task = asyncio.create_task(extender.run())
    for n in range(3):
        lost, tried = take(in_flight, f"m{n}", left_s=0.45), len(queue.changes)
        await until(lambda tried=tried: len(queue.changes) > tried + 1)  # type: ignore[misc]
        in_flight.end(lost, Ending.ABANDONED, "receipt_lost")
        await asyncio.sleep(0.06)
    assert outage.is_prolonged
    queue.outage = None
    take(in_flight, "extended", left_s=0.45)
    await until(lambda: outage.duration_s == 0)
    task.cancel()
    await asyncio.wait([task])


async def test_of_several_failures_the_first_is_the_reason(queue: FakeQueue, in_flight: InFlight) -> None:
    for number in range(15):
        take(in_flight, f"m{number}")
    queue.refuse("r-m0", OutageError("the first"))
    queue.refuse("r-m10", OutageError("the second"))
    with structlog.testing.capture_logs() as logs:
        async with extending(queue, in_flight, replace(DEFAULT_TIMINGS, extension_retry=RecordedBackoff())):
            await until(lambda: len(logs) >= 2)
    assert [line.get("reason") for line in logs] == ["the first", None]


@pytest.mark.usefixtures("at_debug")
async def test_each_extension_is_logged_with_its_time(queue: FakeQueue, in_flight: InFlight) -> None:
    for message_id in ("a", "b"):
        take(in_flight, message_id)
    queue.refuse("r-b", REFUSED)
    queue.answering.clear()
    with structlog.testing.capture_logs() as logs:
        async with extending(queue, in_flight):
            await turns()
            await asyncio.sleep(1.2345)
            queue.answering.set()
            await until(lambda: len(logs) > 0)
    assert logs[0] == {
        "event": "visibility.extended",
        "log_level": "debug",
        "entries": 2,
        "failed": 1,
        "timeout_s": 60,
        "duration_ms": 1234.5,
    }


@pytest.mark.usefixtures("at_debug")
async def test_the_wait_before_the_next_try_is_logged(queue: FakeQueue, in_flight: InFlight) -> None:
    delivery = take(in_flight, "m")
    queue.refuse("r-m", OutageError("throttled"))
    timings = replace(DEFAULT_TIMINGS, extension_retry=RecordedBackoff(fixed_s=2.0))
    with structlog.testing.capture_logs() as logs:
        async with extending(queue, in_flight, timings):
            await until(lambda: delivery.visible_at_s > elapsed_s() + 50)
    assert [(line["stage"], line["delay_ms"]) for line in logs if line["event"] == "retry.scheduled"] == [
        ("visibility_extension", 2000)
    ]
