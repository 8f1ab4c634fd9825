import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.workers.consumer.fakes import LOST, REFUSED, TIMEOUT_S, FakeQueue, message, turns, until
from workers.consumer import visibility as keeper_module
from workers.consumer.delivery import Delivery
from workers.consumer.in_flight import Hand
from workers.consumer.message import Acknowledged, Released
from workers.consumer.ports import Refusal
from workers.consumer.slots import Slots
from workers.consumer.visibility import MAX_BATCH, VisibilityKeeper
from workers.errors import FatalError, OutageError
from workers.metrics import Metrics

LEFT_S = 20.0  # Of a timeout of 60 s: due.


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue(visibility_timeout_s=60)


@pytest.fixture
def hand() -> Hand:
    return Hand(Slots(1000), 60, Metrics())


def take(hand: Hand, message_id: str, left_s: float = LEFT_S) -> Delivery:
    delivery = hand.take(message(message_id))
    assert delivery is not None
    delivery.visible_at_s = asyncio.get_running_loop().time() + left_s
    return delivery


def ends_with(keeper: asyncio.Task[None], kind: type[Exception]) -> bool:
    error = keeper.exception()
    return isinstance(error, ExceptionGroup) and error.subgroup(kind) is not None


@contextlib.asynccontextmanager
async def keeping(queue: FakeQueue, hand: Hand) -> AsyncIterator[asyncio.Task[None]]:
    keeper = asyncio.create_task(VisibilityKeeper(queue=queue, hand=hand, max_handle_s=60).run())
    try:
        yield keeper
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def test_extends_what_is_due_by_a_whole_visibility_timeout(queue: FakeQueue, hand: Hand) -> None:
    delivery = take(hand, "m")
    async with keeping(queue, hand):
        await until(lambda: delivery.visible_at_s > asyncio.get_running_loop().time() + 50)
    assert queue.changes == [[("r-m", 60)]]


async def test_leaves_alone_what_has_most_of_its_time_before_it(queue: FakeQueue, hand: Hand) -> None:
    take(hand, "later", left_s=45)
    due = take(hand, "due")
    async with keeping(queue, hand):
        await until(lambda: due.visible_at_s > asyncio.get_running_loop().time() + 50)
    assert queue.changed == [("r-due", 60)]


async def test_takes_along_what_is_nearly_due_but_asks_for_nothing_before_the_first_is(
    queue: FakeQueue, hand: Hand
) -> None:
    nearly = take(hand, "nearly", left_s=35)
    async with keeping(queue, hand):
        await asyncio.sleep(0.02)
        assert queue.changes == []
    take(hand, "due")
    async with keeping(queue, hand):
        await until(lambda: nearly.visible_at_s > asyncio.get_running_loop().time() + 50)
    assert sorted(queue.changed) == [("r-due", 60), ("r-nearly", 60)]


async def test_extends_ten_per_request(queue: FakeQueue, hand: Hand) -> None:
    for n in range(25):
        take(hand, f"m{n}")
    async with keeping(queue, hand):
        await until(lambda: len(queue.changed) == 25)
        await asyncio.sleep(0.02)
    assert [len(batch) for batch in queue.changes] == [10, 10, 5]


async def test_extends_again_and_again_for_as_long_as_a_message_is_in_hand(hand: Hand) -> None:
    queue = FakeQueue(visibility_timeout_s=1)
    hand = Hand(Slots(10), 1, Metrics())
    take(hand, "m", left_s=0.45)
    async with keeping(queue, hand):
        await until(lambda: len(queue.changes) >= 3)
    assert queue.changed[:3] == [("r-m", 1)] * 3


async def test_keeps_what_waits_for_its_delete_but_not_what_is_being_released(queue: FakeQueue, hand: Hand) -> None:
    take(hand, "handled").settlement = Acknowledged("handled")
    take(hand, "released").settlement = Released("transient", 30)
    async with keeping(queue, hand):
        await until(lambda: bool(queue.changes))
        await asyncio.sleep(0.02)
    assert queue.changed == [("r-handled", 60)]


async def test_cancels_the_handler_of_a_message_whose_receipt_is_lost(queue: FakeQueue, hand: Hand) -> None:
    lost, kept = take(hand, "lost"), take(hand, "kept")
    lost.task, kept.task = (asyncio.create_task(asyncio.sleep(60)) for _ in range(2))
    queue.refuse("r-lost", LOST)
    async with keeping(queue, hand):
        await asyncio.wait([lost.task], timeout=TIMEOUT_S)
        await asyncio.sleep(0.02)
    assert lost.task.cancelled()
    assert (lost.lost, kept.lost) == (True, False)
    assert not kept.task.done()
    assert len(queue.changes) == 1
    kept.task.cancel()


async def test_does_not_ask_over_and_over_for_a_handled_message_whose_receipt_is_lost(
    queue: FakeQueue, hand: Hand
) -> None:
    handled = take(hand, "handled")
    handled.settlement = Acknowledged("handled")
    queue.refuse("r-handled", *[LOST] * 1000)
    async with keeping(queue, hand):
        await asyncio.sleep(0.05)
    assert len(queue.changes) == 1
    assert list(hand) == [handled]  # Its delete decides what becomes of it.


async def test_a_receipt_that_was_replaced_while_it_was_extended_is_not_lost(hand: Hand) -> None:
    class ReceivedAgain(FakeQueue):
        async def change_visibility(self, entries: list[tuple[str, int]]) -> list[None]:  # type: ignore[override]
            self.changes.append(list(entries))
            hand.take(message("m", "r-newest"))
            return [LOST]  # type: ignore[list-item]

    queue = ReceivedAgain(visibility_timeout_s=60)
    delivery = take(hand, "m")
    async with keeping(queue, hand):
        await until(lambda: bool(queue.changes))
        await asyncio.sleep(0.02)
    assert (delivery.lost, delivery.receipt_handle) == (False, "r-newest")
    assert len(queue.changes) == 1


@pytest.mark.parametrize(
    ("answers", "expected"), [([OutageError("throttled")] * 3, [1, 2, 3]), ([REFUSED] * 7, [1, 2])]
)
async def test_tries_again_with_backoff_what_was_refused_for_the_moment(
    monkeypatch: pytest.MonkeyPatch,
    queue: FakeQueue,
    hand: Hand,
    answers: list[Refusal | OutageError],
    expected: list[int],
) -> None:
    waits: list[int] = []

    def recorded_s(attempt: int, *, base_s: float, cap_s: float) -> float:
        waits.append(attempt)
        return min(base_s, cap_s) / 1000

    monkeypatch.setattr(keeper_module, "full_jitter_s", recorded_s)
    delivery = take(hand, "m")
    queue.refuse("r-m", *answers)
    async with keeping(queue, hand):
        await until(lambda: delivery.visible_at_s > asyncio.get_running_loop().time() + 50)
    assert waits == expected
    assert len(queue.changes) == len(answers) + 1


async def test_what_was_refused_is_tried_again_before_those_behind_it(queue: FakeQueue, hand: Hand) -> None:
    for n in range(200):
        take(hand, f"m{n}", left_s=LEFT_S + n / 100)
    queue.refuse("r-m0", REFUSED)
    async with keeping(queue, hand):
        await until(lambda: len(queue.changed) == 201)
    assert [handle for handle, _ in queue.changed].index("r-m0", 1) < 2 * MAX_BATCH * keeper_module.ABREAST


async def test_what_is_released_meanwhile_is_not_extended(queue: FakeQueue, hand: Hand) -> None:
    for n in range(100):
        take(hand, f"m{n}", left_s=LEFT_S + n / 100)
    last = next(each for each in hand if each.message.id == "m99")
    queue.answering.clear()
    async with keeping(queue, hand):
        await until(lambda: len(queue.changes) == keeper_module.ABREAST)
        last.settlement = Released("stopping")
        queue.answering.set()
        await until(lambda: len(queue.changed) == 99)
        await asyncio.sleep(0.02)
    assert "r-m99" not in {handle for handle, _ in queue.changed}


async def test_ends_where_the_queue_is_gone(queue: FakeQueue, hand: Hand) -> None:
    take(hand, "m")
    queue.refuse("r-m", FatalError("the queue does not exist"))
    async with keeping(queue, hand) as keeper:
        await asyncio.wait([keeper], timeout=TIMEOUT_S)
        assert ends_with(keeper, FatalError)


async def test_a_slow_request_does_not_keep_the_others_waiting(queue: FakeQueue, hand: Hand) -> None:
    for n in range(100):
        take(hand, f"m{n}")
    queue.answering.clear()
    async with keeping(queue, hand):
        await until(lambda: len(queue.changes) == keeper_module.ABREAST)
        await asyncio.sleep(0.02)
        assert len(queue.changes) == keeper_module.ABREAST
        queue.answering.set()
        await until(lambda: len(queue.changed) == 100)
    assert {handle for handle, _ in queue.changed} == {f"r-m{n}" for n in range(100)}


async def test_an_outage_in_one_request_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, queue: FakeQueue, hand: Hand
) -> None:
    monkeypatch.setattr(keeper_module, "full_jitter_s", lambda *_, **__: TIMEOUT_S)  # No second try in this test.
    deliveries = [take(hand, f"m{n}", left_s=LEFT_S + n / 100) for n in range(20)]
    before_s = [each.visible_at_s for each in deliveries]
    queue.refuse("r-m0", OutageError("down"))
    async with keeping(queue, hand):
        await until(lambda: len(queue.changed) == 20)
        await turns()
    extended = [each.visible_at_s > visible_at_s for each, visible_at_s in zip(deliveries, before_s, strict=True)]
    assert extended == [False] * MAX_BATCH + [True] * MAX_BATCH
