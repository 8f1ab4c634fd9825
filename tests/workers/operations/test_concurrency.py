import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from workers.operations.concurrency import finish, in_parallel


async def numbers(count: int) -> AsyncIterator[int]:
    for n in range(count):
        yield n


async def test_results_are_in_the_order_of_the_items() -> None:
    second = asyncio.Event()

    async def work(n: int) -> int:
        if n == 0:
            await second.wait()
        elif n == 1:
            second.set()
        return n

    assert [n async for n in in_parallel(work, numbers(50), at_most=2)] == list(range(50))
    assert [n async for n in in_parallel(work, [], at_most=2)] == []


async def test_no_more_than_at_most_run_at_once_and_few_items_are_taken_ahead() -> None:
    running, most, taken = 0, 0, 0

    async def items() -> AsyncIterator[int]:
        nonlocal taken
        for n in range(100):
            taken = n + 1
            yield n

    async def work(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return n

    async with aclosing(in_parallel(work, items(), at_most=3)) as results:
        async for n in results:
            assert taken <= n + 6
    assert most == 3


async def test_nothing_more_is_started_after_an_error() -> None:
    started, stop = list[int](), asyncio.Event()

    async def work(n: int) -> None:
        started.append(n)
        if n == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        async for _ in in_parallel(work, range(1000), at_most=2, stop=stop):
            pass
    assert stop.is_set()
    assert started[:4] == [0, 1, 2, 3]
    assert len(started) <= 5


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_running_work_is_finished_and_no_other_started_when_it_is(how: str) -> None:
    started, finished, stop, release = list[int](), list[int](), asyncio.Event(), asyncio.Event()
    all_slots_taken = asyncio.Event()

    async def work(n: int) -> None:
        started.append(n)
        if n == 3:
            all_slots_taken.set()
        if n > 0:
            await release.wait()
        finished.append(n)

    async def consume() -> None:
        async with aclosing(in_parallel(work, range(1000), at_most=3, stop=stop)) as results:
            async for _ in results:
                if how == "closed":
                    break

    consuming = asyncio.create_task(consume())
    await all_slots_taken.wait()
    if how == "cancelled":
        consuming.cancel()
    await stop.wait()
    assert not consuming.done()
    release.set()
    await asyncio.wait([consuming])
    assert consuming.cancelled() == (how == "cancelled")
    assert started == finished == [0, 1, 2, 3]


async def test_an_error_of_running_work_does_not_hide_a_cancellation() -> None:
    started, stop = asyncio.Event(), asyncio.Event()

    async def work(_: int) -> None:
        started.set()
        await stop.wait()
        raise ValueError("stopped")

    async def consume() -> None:
        async for _ in in_parallel(work, range(10), at_most=3, stop=stop):
            pass

    consuming = asyncio.create_task(consume())
    await started.wait()
    consuming.cancel()
    await asyncio.wait([consuming])
    assert consuming.cancelled()


async def test_finished_work_ends_before_the_cancellation_of_its_caller_is_raised() -> None:
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> str:
        begun.set()
        await may_end.wait()
        ended.append("work")
        return "result"

    task = asyncio.create_task(finish(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["work"]
    assert await finish(work()) == "result"


async def test_a_second_cancellation_cancels_the_work_too() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(finish(work()))
    await begun.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_error_of_finished_work_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        await finish(fail())


async def test_a_slow_item_leaves_the_other_slot_busy_for_a_while() -> None:
    started, release = list[int](), asyncio.Event()

    async def work(n: int) -> None:
        started.append(n)
        if n == 0:
            await release.wait()

    async def consume() -> None:
        async for _ in in_parallel(work, range(100), at_most=2):
            pass

    consuming = asyncio.create_task(consume())
    for _ in range(50):
        await asyncio.sleep(0)
    assert started == [0, 1, 2, 3]
    release.set()
    await consuming
    assert started == list(range(100))


async def test_results_before_an_error_are_yielded_first() -> None:
    failed = asyncio.Event()

    async def work(n: int) -> int:
        if n == 1:
            failed.set()
            raise ValueError("one")
        await failed.wait()
        return n

    results = in_parallel(work, range(10), at_most=2)
    assert await anext(results) == 0
    with pytest.raises(ValueError, match="one"):
        await anext(results)


async def test_without_a_stop_event_running_work_is_finished_too() -> None:
    begun, ended = list[int](), list[int]()

    async def work(n: int) -> None:
        begun.append(n)
        await asyncio.sleep(0)
        ended.append(n)

    async with aclosing(in_parallel(work, range(10), at_most=2)) as results:
        async for _ in results:
            break
    assert begun == ended


async def test_a_stop_is_not_requested_if_all_work_has_ended() -> None:
    stop = asyncio.Event()

    async def work(n: int) -> int:
        return n

    assert [n async for n in in_parallel(work, range(5), at_most=2, stop=stop)] == [0, 1, 2, 3, 4]
    assert not stop.is_set()


async def test_a_cancellation_is_raised_although_the_work_fails() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await may_end.wait()
        raise ValueError("oops")

    task = asyncio.create_task(finish(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_results_that_were_taken_are_not_kept() -> None:
    class Page:
        pass

    made = list[weakref.ref[Page]]()

    async def work(_: int) -> Page:
        page = Page()
        made.append(weakref.ref(page))
        return page

    async with aclosing(in_parallel(work, range(50), at_most=2)) as results:
        async for _ in results:
            assert sum(page() is not None for page in made) <= 5
