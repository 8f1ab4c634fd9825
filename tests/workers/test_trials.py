import asyncio

import pytest

from workers.errors import OutageError
from workers.trials import TrialCounter


class Table:
    """Counts trials. A count waits for `answering`."""

    def __init__(self) -> None:
        self.trials: set[str] = set()
        self.answering = asyncio.Event()
        self.began = asyncio.Event()

    async def count(self, trial: str) -> int:
        self.began.set()
        await self.answering.wait()
        self.trials.add(trial)
        return len(self.trials)

    async def take_back(self, trial: str) -> bool:
        taken_back = trial in self.trials
        self.trials.discard(trial)
        return taken_back


async def test_a_trial_is_counted_and_taken_back() -> None:
    counter, table = TrialCounter(), Table()
    table.answering.set()
    assert await counter.count("m/11", table.count("m/11")) == 1
    assert await counter.count("m/12", table.count("m/12")) == 2
    await counter.take_back("m/12", lambda: table.take_back("m/12"))
    assert table.trials == {"m/11"}


async def test_a_cancelled_count_is_taken_back_once_it_is_applied() -> None:
    counter, table = TrialCounter(), Table()
    counting = asyncio.create_task(counter.count("m/11", table.count("m/11")))
    await table.began.wait()
    counting.cancel()
    await asyncio.wait([counting])
    assert counting.cancelled()
    taking_back = asyncio.create_task(counter.take_back("m/11", lambda: table.take_back("m/11")))
    await asyncio.sleep(0)
    table.answering.set()
    await taking_back
    assert table.trials == set()


async def test_a_count_that_fails_is_raised_and_may_be_repeated() -> None:
    counter, table = TrialCounter(), Table()
    table.answering.set()

    async def fail() -> int:
        raise OutageError("down")

    with pytest.raises(OutageError):
        await counter.count("m/11", fail())
    assert await counter.count("m/11", table.count("m/11")) == 1
