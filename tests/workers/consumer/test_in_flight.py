import asyncio

import pytest
import structlog

from tests.workers.consumer.fakes import FakeClock, message
from workers.consumer.delivery import DeliveryState, Ending
from workers.consumer.in_flight import MAX_REMEMBERED, InFlight
from workers.consumer.slots import Slots
from workers.metrics import Metrics


async def test_takes_a_message_in_flight() -> None:
    in_flight = InFlight(Slots(10), 60, Metrics())
    before_s = asyncio.get_running_loop().time()
    delivery = in_flight.take(message("m", "r1", receive_count=3), 940.0)
    assert delivery is not None
    assert (delivery.receipt_handle, delivery.state, delivery.cancellation) == ("r1", DeliveryState.RECEIVED, None)
    assert delivery.context.run(structlog.contextvars.get_contextvars) == {"message_id": "m", "receive_count": 3}
    assert before_s <= delivery.received_at_s
    assert delivery.visible_at_s == 1000.0
    assert list(in_flight) == [delivery]


@pytest.mark.parametrize(("sent_at_s", "age_s"), [(900.0, 100.0), (1_100.0, 0.0)])
async def test_the_age_of_a_message_is_counted_and_never_below_zero(
    monkeypatch: pytest.MonkeyPatch, sent_at_s: float, age_s: float
) -> None:
    metrics = Metrics()
    in_flight = InFlight(Slots(10), 60, metrics)
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    in_flight.take(message("m", sent_at_s=sent_at_s), 0.0)
    assert metrics.registry.get_sample_value("workers_message_age_seconds_sum") == age_s
    assert metrics.registry.get_sample_value("workers_messages_received_total") == 1
    assert metrics.registry.get_sample_value("workers_messages_in_flight") == 1


async def test_folds_a_second_delivery_into_the_first_with_the_newest_receipt() -> None:
    clock = FakeClock()
    in_flight = InFlight(Slots(10), 60, Metrics(), now_s=clock)
    delivery = in_flight.take(message("m", "r1"), clock.now_s)
    assert delivery is not None
    assert in_flight.take(message("m", "r2"), clock.now_s + 5) is None
    assert (delivery.receipt_handle, delivery.visible_at_s) == ("r2", clock.now_s + 65)
    assert len(in_flight) == 1


async def test_remembers_handled_messages() -> None:
    in_flight = InFlight(Slots(10), 60, Metrics())
    delivery = in_flight.take(message("m"), 0.0)
    assert delivery is not None
    assert not in_flight.was_handled("m")
    in_flight.remember(delivery)
    assert in_flight.was_handled("m")
    assert not in_flight.was_handled("another")


async def test_forgets_handled_messages_after_two_visibility_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    in_flight = InFlight(Slots(10), 60, Metrics())
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    for name, handled_at_s in (("old", now_s - 121), ("new", now_s - 119)):
        delivery = in_flight.take(message(name), 0.0)
        assert delivery is not None
        with monkeypatch.context() as patched:
            patched.setattr(loop, "time", lambda at_s=handled_at_s: at_s)
            in_flight.remember(delivery)
    assert not in_flight.was_handled("old")
    assert in_flight.was_handled("new")


async def test_handled_messages_are_remembered_for_exactly_two_visibility_timeouts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_flight, clock = InFlight(Slots(10), 60, Metrics()), FakeClock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock)

    def remember(name: str) -> list[str]:
        delivery = in_flight.take(message(name), 0.0)
        assert delivery is not None
        in_flight.remember(delivery)
        return list(in_flight._handled)

    assert remember("a") == ["a"]
    clock.now_s += 120
    assert in_flight.was_handled("a")
    assert remember("b") == ["a", "b"]
    clock.now_s += 0.1
    assert not in_flight.was_handled("a")
    assert remember("c") == ["b", "c"], "otherwise the memory would grow"


async def test_a_message_handled_again_is_remembered_from_then_on() -> None:
    in_flight = InFlight(Slots(10), 60, Metrics(), max_remembered=2)
    for name in ("a", "b", "a", "c"):
        delivery = in_flight.take(message(name), 0.0)
        assert delivery is not None
        in_flight.remember(delivery)
        in_flight.end(delivery, Ending.ACKNOWLEDGED, "handled")
    assert [in_flight.was_handled(name) for name in ("a", "b", "c")] == [True, False, True]


async def test_ends_once_with_one_line_and_frees_the_slot() -> None:
    slots = Slots(1)
    await slots.reserve(1, 1)
    metrics = Metrics()
    in_flight = InFlight(slots, 60, metrics)
    delivery = in_flight.take(message("m", receive_count=2), 0.0)
    assert delivery is not None
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await asyncio.sleep(1.2345)
        in_flight.end(delivery, Ending.RELEASED, "transient")
        in_flight.end(delivery, Ending.ABANDONED, "unconfirmed")
    assert len(in_flight) == 0
    assert await slots.reserve(1, 10) == 1
    settled = {"ending": "message.released", "outcome": "transient"}
    assert metrics.registry.get_sample_value("workers_messages_settled_total", settled) == 1
    (line,) = logs
    assert line.pop("duration_ms") == 1234.5
    assert line == {
        "event": "message.released",
        "log_level": "info",
        "message_id": "m",
        "receive_count": 2,
        "outcome": "transient",
    }


@pytest.mark.parametrize(
    ("ending", "event", "level"),
    [
        (Ending.ACKNOWLEDGED, "message.acknowledged", "info"),
        (Ending.RELEASED, "message.released", "info"),
        (Ending.DEAD_LETTERED, "message.dead_lettered", "error"),
        (Ending.ABANDONED, "message.abandoned", "warning"),
    ],
)
async def test_the_ending_decides_event_and_level_of_the_last_line(ending: Ending, event: str, level: str) -> None:
    in_flight = InFlight(Slots(10), 60, Metrics())
    delivery = in_flight.take(message("m"), 0.0)
    assert delivery is not None
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        in_flight.end(delivery, ending, "outcome")
    assert [(line["event"], line["log_level"]) for line in logs] == [(event, level)]


async def test_a_delivery_is_lost_once_its_visibility_timeout_has_passed_since_it_was_asked_for() -> None:
    clock = FakeClock()
    in_flight = InFlight(Slots(10), 60, Metrics(), now_s=clock)
    delivery = in_flight.take(message("m"), clock.now_s - 20)  # A long poll.
    assert delivery is not None
    clock.now_s += 39
    assert not in_flight.is_lost(delivery)
    clock.now_s += 1
    assert in_flight.is_lost(delivery)
    assert in_flight.take(message("m", "r2"), clock.now_s) is None
    assert not in_flight.is_lost(delivery)


async def test_a_second_delivery_whose_time_has_run_out_does_not_replace_the_receipt() -> None:
    clock = FakeClock()
    in_flight = InFlight(Slots(10), 60, Metrics(), now_s=clock)
    delivery = in_flight.take(message("m", "newest"), clock.now_s)
    assert delivery is not None
    assert in_flight.take(message("m", "late"), clock.now_s - 60) is None
    assert (delivery.receipt_handle, delivery.visible_at_s) == ("newest", clock.now_s + 60)


def test_the_memory_for_handled_ids_is_as_large_as_its_comment_says() -> None:
    assert MAX_REMEMBERED == 50_000


async def test_the_last_line_of_a_message_has_its_milliseconds_to_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    in_flight = InFlight(Slots(10), 60, Metrics())
    delivery = in_flight.take(message("m"), 0.0)
    assert delivery is not None
    loop = asyncio.get_running_loop()
    with structlog.testing.capture_logs() as logs, monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: delivery.received_at_s + 0.012_345)
        in_flight.end(delivery, Ending.ACKNOWLEDGED, "fulfilled")
    assert logs == [{"event": "message.acknowledged", "log_level": "info", "outcome": "fulfilled", "duration_ms": 12.3}]
