"""Who may use the state of a local AWS: one at a time."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.errors import DeployError
from deploy.local.state_lock import await_lock, is_running, take_lock


@pytest.fixture
def locks(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Two open files of one lock, as two processes have them."""
    first, second = (os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT) for _ in range(2))
    yield first, second
    os.close(second)
    os.close(first)


def test_a_lock_is_taken_once(locks: tuple[int, int]) -> None:
    assert [take_lock(descriptor) for descriptor in locks] == [True, False]


def test_a_free_lock_is_taken_without_a_wait(locks: tuple[int, int], tmp_path: Path) -> None:
    await_lock(locks[0], 0, "another run", tmp_path)
    assert not take_lock(locks[1])


def test_a_lock_that_stays_taken_is_refused_with_what_to_do(
    locks: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("deploy.local.state_lock.time.sleep", waits.append)
    monkeypatch.setattr("deploy.local.state_lock.time.monotonic", lambda: sum(waits))
    take_lock(locks[0])
    with pytest.raises(DeployError) as refused:
        await_lock(locks[1], 0.2, "another run", tmp_path)
    assert str(refused.value) == (
        f'Another run is using the state in {tmp_path}. Stop it first (Ctrl-C there), or use it: eval "$(make env)"'
    )
    assert 0.2 < sum(waits) < 0.3


def test_a_lock_is_taken_once_it_is_free(
    locks: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_lock(locks[0])
    monkeypatch.setattr("deploy.local.state_lock.time.sleep", lambda _: fcntl.flock(locks[0], fcntl.LOCK_UN))
    await_lock(locks[1], 60, "another run", tmp_path)
    assert not take_lock(locks[0]), "the second one holds it now"


@pytest.mark.parametrize(("pid", "runs"), [("", True), ("1", True), ("999999999", False)])
def test_a_process_runs_unless_it_is_known_to_have_ended(pid: str, *, runs: bool) -> None:
    assert is_running(pid) is runs


def test_this_process_runs() -> None:
    assert is_running(str(os.getpid()))
