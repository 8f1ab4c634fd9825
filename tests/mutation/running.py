"""Runs the tests of mutants, in copies of the work tree: the tree itself is never changed."""

import asyncio
import contextlib
import importlib.util
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from tests.mutation.changes import tracked_files
from tests.mutation.mutants import Mutant

_T = TypeVar("_T")

_PASSED, _NO_TESTS = 0, 5
_MOST_BYTES = 4 * 1024**3
# A test failed, the tests could not be imported, pytest itself did not survive the mutant, or conftest.py did not.
_FAILED = {1, 2, 3, 4}


class Verdict(StrEnum):
    SEEN = "seen"
    HUNG = "hung"  # The tests took too long, as they would for a person. That counts as seen.
    NOT_SEEN = "not seen"


class BrokenTestsError(Exception):
    """The tests fail without any mutation, or do not run at all."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of some tests. `exit_code` is pytest's; None if the run was ended because it took too long."""

    exit_code: int | None
    took_s: float
    output: str


class WorkTree:
    """A copy of the work tree, with everything in it that is in git or could be."""

    def __init__(self, root: Path, *, unit: bool = False) -> None:
        self._root, self._marks = root, ("-m", "unit") if unit else ()

    @classmethod
    @contextlib.contextmanager
    def copied_from(cls, root: Path, *, unit: bool = False) -> Iterator["WorkTree"]:
        """Copy the work tree at *root*. With *unit*, only unit tests run in the copy."""
        with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
            copy = Path(folder)
            for name in tracked_files(root):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, copy / name, follow_symlinks=False)
            for environment in root.glob(".venv*"):
                (copy / environment.name).symlink_to(environment.resolve())
            yield cls(copy, unit=unit)

    @contextlib.contextmanager
    def mutated(self, file: str, text: str) -> Iterator[None]:
        path = self._root / file
        source = path.read_bytes()
        # Python compares a file's size, and its time in seconds. So without this, a file of the same size that was
        # changed twice in a second could stay compiled.
        compiled = Path(importlib.util.cache_from_source(str(path)))
        compiled.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        try:
            yield
        finally:
            path.write_bytes(source)
            compiled.unlink(missing_ok=True)

    async def test(self, tests: Sequence[str], timeout_s: float | None = None) -> Run:
        """Run test files, up to the first failure."""
        environment = os.environ | {"PYTHONPATH": str(self._root), "HYPOTHESIS_PROFILE": "mutation"}
        started_s = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:workers"),
            *(*self._marks, *tests),
            cwd=self._root,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            # A mutant may also need memory without end. Then its tests fail, not the machine.
            preexec_fn=_limit_memory if sys.platform == "linux" else None,
        )
        exit_code, output = None, b""
        try:
            async with asyncio.timeout(timeout_s):
                output, _ = await process.communicate()
                exit_code = process.returncode
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return Run(exit_code, time.monotonic() - started_s, output.decode(errors="replace"))


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))


async def side_by_side(
    trees: Sequence[WorkTree], tasks: Iterable[_T], work: Callable[[WorkTree, _T], Awaitable[None]]
) -> None:
    """Do all tasks, as many at once as there are *trees*. The first failure ends them, and is raised."""
    waiting = iter(tasks)

    async def work_in(tree: WorkTree) -> None:
        for task in waiting:
            await work(tree, task)

    try:
        async with asyncio.TaskGroup() as group:
            for tree in trees:
                group.create_task(work_in(tree))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def baseline(trees: Sequence[WorkTree], suites: Iterable[tuple[str, ...]]) -> Mapping[tuple[str, ...], float]:
    """
    Run each of the *suites* without a mutation, and return how many seconds each takes.

    Raises:
        BrokenTestsError: One of them fails twice.
    """
    took_s: dict[tuple[str, ...], float] = {}

    async def measure(tree: WorkTree, tests: tuple[str, ...]) -> None:
        run = await tree.test(tests)
        if run.exit_code not in {_PASSED, _NO_TESTS}:
            run = await tree.test(tests)  # Once more: the machine may have been too busy.
        if run.exit_code not in {_PASSED, _NO_TESTS}:
            raise BrokenTestsError(f"these tests fail without any mutation: {' '.join(tests)}\n{run.output}")
        took_s[tests] = run.took_s

    await side_by_side(trees, suites, measure)
    return took_s


async def judge(tree: WorkTree, mutant: Mutant, text: str, tests: tuple[str, ...], timeout_s: float) -> Verdict:
    """
    Run the tests of a mutant, whose file then has this *text*.

    Raises:
        BrokenTestsError: pytest itself failed.
    """
    if not tests:
        return Verdict.NOT_SEEN
    with tree.mutated(mutant.file, text):
        run = await tree.test(tests, timeout_s)
    if run.exit_code is None:
        return Verdict.HUNG
    if run.exit_code in {_PASSED, _NO_TESTS}:
        return Verdict.NOT_SEEN
    if run.exit_code in _FAILED or run.exit_code < 0:  # Below 0: a signal ended the process.
        return Verdict.SEEN
    raise BrokenTestsError(f"pytest failed on {mutant.file}:{mutant.line}\n{run.output}")
