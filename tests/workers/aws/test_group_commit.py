import asyncio
from collections.abc import Sequence

import pytest
import structlog

from workers.aws.group_commit import GroupCommit


class Requests:
    """Records the groups that are sent. Each request waits until the test releases it; its results are doubled."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.released = asyncio.Semaphore(0)

    async def send(self, group: Sequence[int]) -> Sequence[int | Exception]:
        self.groups.append(list(group))
        await self.released.acquire()
        return [ValueError(f"no {entry}") if entry < 0 else 2 * entry for entry in group]


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def commit(requests: Requests) -> GroupCommit[int, int]:
    return GroupCommit(requests.send, name="tests", max_group=6, max_requests=1)


def submit(commit: GroupCommit[int, int], *entries: int, key: str = "") -> list[asyncio.Task[int]]:
    """Submit entries at the same time, under their own keys or all under *key*."""
    return [asyncio.ensure_future(commit.submit(key or str(entry), entry)) for entry in entries]


async def turn() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_single_entry_is_sent_at_once(commit: GroupCommit[int, int], requests: Requests) -> None:
    (task,) = submit(commit, 1)
    await turn()
    assert requests.groups == [[1]]
    requests.released.release()
    assert await task == 2


async def test_entries_that_wait_for_a_request_are_sent_in_groups(
    commit: GroupCommit[int, int], requests: Requests
) -> None:
    tasks = submit(commit, 1)
    await turn()
    for entries in ((2,), (3,)):
        tasks += submit(commit, *entries)
        await turn()
    assert requests.groups == [[1]]
    for _ in range(2):
        requests.released.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert requests.groups == [[1], [2, 3]]


async def test_entries_with_the_same_key_are_in_different_groups(
    commit: GroupCommit[int, int], requests: Requests
) -> None:
    tasks = [*submit(commit, 1, 2, key="a"), *submit(commit, 3, key="b")]
    for _ in range(2):
        requests.released.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert requests.groups == [[1, 3], [2]]


async def test_an_error_of_an_entry_is_raised_for_that_entry(commit: GroupCommit[int, int], requests: Requests) -> None:
    tasks = submit(commit, 1, -1)
    requests.released.release()
    good, bad = await asyncio.gather(*tasks, return_exceptions=True)
    assert good == 2
    assert isinstance(bad, ValueError)


async def test_an_error_of_the_request_is_raised_for_all_its_entries() -> None:
    async def send(_: Sequence[int]) -> Sequence[int | Exception]:
        raise OSError("reset")

    commit: GroupCommit[int, int] = GroupCommit(send, name="tests", max_group=3, max_requests=1)
    results = await asyncio.gather(*submit(commit, 1, 2), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]


async def test_an_entry_cancelled_while_it_waits_is_not_sent(commit: GroupCommit[int, int], requests: Requests) -> None:
    tasks = submit(commit, 1)
    await turn()
    cancelled, other = submit(commit, 2, 3)
    await turn()
    cancelled.cancel()
    for _ in range(2):
        requests.released.release()
    assert await asyncio.gather(*tasks, other) == [2, 6]
    assert requests.groups == [[1], [3]]


async def test_nothing_is_sent_if_all_entries_that_wait_are_cancelled(
    commit: GroupCommit[int, int], requests: Requests
) -> None:
    first = submit(commit, 1)
    await turn()
    cancelled = submit(commit, 2, 3)
    await turn()
    for task in cancelled:
        task.cancel()
    requests.released.release()
    assert await asyncio.gather(*first) == [2]
    await turn()
    assert requests.groups == [[1]]
    last = submit(commit, 4)
    requests.released.release()
    assert await asyncio.gather(*last) == [8]


async def test_the_more_requests_are_running_the_more_entries_another_one_needs(requests: Requests) -> None:
    commit: GroupCommit[int, int] = GroupCommit(requests.send, name="tests", max_group=8, max_requests=2)
    tasks = []
    for entry in range(40):
        tasks += submit(commit, entry)
        await turn()
    assert [len(group) for group in requests.groups] == [1, 1, 4, 6, 8, 8, 8]
    for _ in range(8):
        requests.released.release()
    assert await asyncio.gather(*tasks) == [2 * entry for entry in range(40)]


async def test_a_full_group_does_not_wait_for_running_requests(
    commit: GroupCommit[int, int], requests: Requests
) -> None:
    tasks = submit(commit, *range(12))
    await turn()
    assert requests.groups == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    tasks += submit(commit, 12, 13, 14, 15, 16)
    await turn()
    assert len(requests.groups) == 2
    tasks += submit(commit, 17)
    await turn()
    assert requests.groups[2:] == [[12, 13, 14, 15, 16, 17]]
    for _ in range(3):
        requests.released.release()
    assert await asyncio.gather(*tasks) == [2 * entry for entry in range(18)]


async def test_entries_with_the_same_key_do_not_make_a_group_worth_sending(
    commit: GroupCommit[int, int], requests: Requests
) -> None:
    tasks = submit(commit, 1, 2, 3, 4, 5, 6, key="a")
    await turn()
    assert requests.groups == [[1]]
    tasks += submit(commit, 7, key="b")
    await turn()
    assert requests.groups == [[1]]
    tasks += submit(commit, 8, key="c")
    await turn()
    assert requests.groups == [[1], [2, 7, 8]]
    for _ in range(6):
        requests.released.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10, 12, 14, 16]
    assert requests.groups == [[1], [2, 7, 8], [3], [4], [5], [6]]


async def test_too_few_results_are_an_error_for_all_entries() -> None:
    async def send(_: Sequence[int]) -> Sequence[int | Exception]:
        return [1]

    commit: GroupCommit[int, int] = GroupCommit(send, name="tests", max_group=3, max_requests=1)
    results = await asyncio.gather(*submit(commit, 1, 2), return_exceptions=True)
    assert [str(result) for result in results] == ["1 results for 2 entries"] * 2


@pytest.mark.usefixtures("at_debug")
async def test_each_group_is_logged_without_the_ids_of_the_message_that_starts_it() -> None:
    requests = Requests()
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        commit: GroupCommit[int, int] = GroupCommit(requests.send, name="tests", max_group=2, max_requests=1)
        with structlog.contextvars.bound_contextvars(message_id="m"):
            tasks = submit(commit, 1, 2, 3)
            await asyncio.sleep(0)
        for _ in range(2):
            requests.released.release()
        await asyncio.wait(tasks)
    assert [{name: line[name] for name in line if name != "log_level"} for line in logs] == [
        {"event": "group.sent", "group": "tests", "entries": 2, "waiting": 1, "running": 1},
        {"event": "group.sent", "group": "tests", "entries": 1, "waiting": 0, "running": 2},
    ]
