import asyncio
import gc

import pytest
import structlog

from workers.consumer.message import Message
from workers.errors import OutageError
from workers.trials import MAX_TRIALS, TrialCounter, trial_id


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
    for _ in range(5):  # The count has been applied by then.
        await asyncio.sleep(0)
    assert table.trials == set()


async def test_a_count_that_fails_is_raised_and_may_be_repeated() -> None:
    counter, table = TrialCounter(), Table()
    table.answering.set()

    async def fail() -> int:
        raise OutageError("down")

    with pytest.raises(OutageError):
        await counter.count("m/11", fail())
    assert await counter.count("m/11", table.count("m/11")) == 1


def test_a_trial_is_named_by_the_message_and_its_receive_count() -> None:
    assert trial_id(Message(id="m", receipt_handle="r", body="", receive_count=11)) == "m/11"
    assert MAX_TRIALS == 3


@pytest.mark.parametrize(("taken_back", "events"), [(True, ["trial.taken_back"]), (False, [])])
async def test_only_a_trial_that_was_taken_back_is_logged(taken_back: bool, events: list[str]) -> None:
    async def take_back() -> bool:
        return taken_back

    with structlog.testing.capture_logs() as logs:
        await TrialCounter().take_back("m/11", take_back)
    assert [line["event"] for line in logs] == events


async def test_a_counter_forgets_trials_whose_count_has_ended() -> None:
    counter, table = TrialCounter(), Table()
    table.answering.set()
    await counter.count("m/11", table.count("m/11"))
    await asyncio.sleep(0)
    assert counter._counting == {}


async def test_a_count_that_fails_after_its_caller_was_cancelled_is_not_reported() -> None:
    gc.freeze()  # So that the look below is only at what is new.
    counter, fails, reported = TrialCounter(), asyncio.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def fail() -> int:
        await fails.wait()
        raise OutageError("down")

    counting = asyncio.create_task(counter.count("m/11", fail()))
    await asyncio.sleep(0)
    counting.cancel()
    await asyncio.wait([counting])
    (task,) = counter._counting.values()
    fails.set()
    await asyncio.wait([task])
    del task
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_a_count_that_is_cancelled_itself_is_forgotten_quietly() -> None:
    counter, reported = TrialCounter(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await counter.count("m/11", cancelled())
    await asyncio.sleep(0)
    assert (counter._counting, reported) == ({}, [])
