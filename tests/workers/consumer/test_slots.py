import asyncio

from tests.workers.consumer.fakes import turns
from workers.consumer.slots import Slots


async def test_reserves_free_slots_up_to_a_limit() -> None:
    slots = Slots(15)
    assert await slots.reserve(1, 10) == 10
    assert await slots.reserve(1, 10) == 5


async def test_waits_until_enough_slots_are_free() -> None:
    slots = Slots(10)
    await slots.reserve(10, 10)
    waiting = asyncio.create_task(slots.reserve(3, 5))
    slots.release(2)
    await turns()
    assert not waiting.done()
    slots.release(1)
    assert await waiting == 3


async def test_every_waiting_reservation_gets_its_turn() -> None:
    slots = Slots(2)
    await slots.reserve(2, 2)
    waiting = [asyncio.create_task(slots.reserve(1, 1)) for _ in range(3)]
    slots.release(2)
    await turns()
    assert sum(task.done() for task in waiting) == 2
    slots.release(1)
    assert await asyncio.gather(*waiting) == [1, 1, 1]


async def test_a_cancelled_reservation_takes_nothing() -> None:
    slots = Slots(1)
    await slots.reserve(1, 1)
    waiting = asyncio.create_task(slots.reserve(1, 1))
    await turns()
    waiting.cancel()
    slots.release(1)
    assert await slots.reserve(1, 10) == 1


async def test_reserves_fewer_after_the_longest_wait() -> None:
    slots = Slots(10)
    await slots.reserve(10, 10)
    waiting = asyncio.create_task(slots.reserve(3, 5, max_wait_s=0.01))
    await turns()
    assert not waiting.done()
    slots.release(2)
    assert await waiting == 2


async def test_the_longest_wait_begins_with_the_first_free_slot() -> None:
    slots = Slots(2)
    await slots.reserve(2, 2)
    waiting = asyncio.create_task(slots.reserve(2, 2, max_wait_s=0.005))
    await asyncio.sleep(0.02)
    slots.release(2)
    assert await waiting == 2


async def test_more_slots_wake_waiting_reservations_and_fewer_hold_them_back() -> None:
    slots = Slots(1)
    await slots.reserve(1, 1)
    waiting = asyncio.create_task(slots.reserve(1, 1))
    await turns()
    slots.resize(2)
    assert await waiting == 1
    slots.resize(1)
    slots.release(1)
    again = asyncio.create_task(slots.reserve(1, 1))
    await turns()
    assert not again.done()
    slots.release(1)
    assert await again == 1
