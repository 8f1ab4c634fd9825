"""The live part of a list."""

import asyncio
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from workers.console.live_lists import Seen, _merged


async def counting(name: str, go_on: asyncio.Event) -> AsyncGenerator[str, None]:
    for number in itertools.count():
        yield f"{name}{number}"
        await go_on.wait()


async def test_what_two_feeds_have_is_merged_and_both_are_closed_at_the_end() -> None:
    gates = asyncio.Event(), asyncio.Event()
    first, second = counting("a", gates[0]), counting("b", gates[1])
    async with aclosing(_merged(first, second)) as merged:
        assert {await anext(merged), await anext(merged)} == {(True, "a0"), (False, "b0")}
        gates[0].set()
        assert [await anext(merged), await anext(merged)] == [(True, "a1"), (True, "a2")]
    assert [task for task in asyncio.all_tasks() if task.get_name() == "console-reading"] == []
    for each in (first, second):
        with pytest.raises(StopAsyncIteration):
            await anext(each)


def test_a_page_without_rows_gets_the_list_once_and_then_what_has_changed() -> None:
    seen = Seen(["a"], is_cold=True)
    assert seen.next(["a", "b"]) == (True, 0)
    assert seen.next(["a", "c"]) == (False, 1)
    assert Seen(["a", "b"], is_cold=False).next(["c", "d"]) == (False, 2)
