"""
Mutation testing: changes single lines of the core, and reports the changes that no test of their module sees.

    python -m tests.mutation [--since REF | --fresh SEED] [--jobs N]

Without an option it takes a fixed sample of the core; with REF all mutants of the lines that changed since the branch
left REF, of all modules; with SEED a small sample of all modules, another for each seed, and only unit
tests run. Exit codes:

- 0: at least 90 % are seen, and each entry of equivalents.toml matches a mutant
- 1: not so
- 2: the tests fail without any mutation, or git does not know REF
- 130: interrupted
"""

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console

from deploy.local.aws import ROOT
from tests.mutation import equivalents
from tests.mutation.changes import Change, changed_lines, tracked_files
from tests.mutation.equivalents import Equivalent
from tests.mutation.mutants import Mutant, fresh, mutants_of, mutated_texts, on_lines, sample
from tests.mutation.running import BrokenTestsError, Verdict, WorkTree, baseline, judge, side_by_side
from tests.mutation.targets import core_of, mutable, suite_of

PYTHON = ROOT / ".venv-mutation" / "bin" / "python"
LEAST_SEEN = 0.9
# A mutant may run this much longer than its tests take without it, before it counts as hanging.
GRACE_S, GRACE_FACTOR = 10.0, 5.0
PROGRESS_EVERY = 20
FRESH_COUNT = 50


@dataclass(frozen=True, slots=True)
class Task:
    """A mutant to test."""

    mutant: Mutant
    text: str
    change: Change
    tests: tuple[str, ...]


def tasks_of(root: Path, python: Path, mutants: Sequence[Mutant]) -> list[Task]:
    """Make the mutants. Those that change nothing, or the same as another one, or that are not Python, are left out."""
    tasks: dict[tuple[str, str], Task] = {}
    for mutant, text in zip(mutants, mutated_texts(root, mutants, python), strict=True):
        source = (root / mutant.file).read_text(encoding="utf-8")
        if text != source and is_python(text):
            task = Task(mutant, text, Change.between(source, text), suite_of(root, mutant.file))
            tasks.setdefault((mutant.file, text), task)
    return list(tasks.values())


def is_python(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


async def run(
    root: Path, tasks: Sequence[Task], jobs: int, console: Console, *, unit: bool
) -> list[tuple[Task, Verdict]]:
    """Test all mutants and print those that are not seen."""
    done: list[tuple[Task, Verdict]] = []
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(WorkTree.copied_from(root, unit=unit)) for _ in range(jobs)]
        suites = dict.fromkeys(task.tests for task in tasks if task.tests)
        console.print(f"running the tests of {len(suites)} modules without any mutation")
        took_s = await baseline(trees, suites)
        left_s = sum(took_s.get(task.tests, 0) for task in tasks) / jobs
        console.print(f"testing {len(tasks)} mutants, in {left_s / 60:.0f} minutes at most if none hangs")

        async def test(tree: WorkTree, task: Task) -> None:
            timeout_s = GRACE_S + GRACE_FACTOR * took_s.get(task.tests, 0)
            verdict = await judge(tree, task.mutant, task.text, task.tests, timeout_s)
            done.append((task, verdict))
            if verdict is Verdict.NOT_SEEN:
                console.print(unseen(task))
            if len(done) % PROGRESS_EVERY == 0:
                console.print(f"{len(done)} of {len(tasks)}")

        # In the order of their hashes: then the first results already show how good the tests are.
        await side_by_side(trees, sorted(tasks, key=lambda task: task.mutant.key), test)
    return done


def unseen(task: Task) -> str:
    """Return what a person needs to write the test that is missing."""
    tests = " ".join(task.tests) or "the module has no tests"
    lines = [f"\nnot seen: {task.mutant.file}:{task.change.line} {task.mutant.operator} ({tests})"]
    return "\n".join(
        [*lines, *(f"-{line}" for line in task.change.before), *(f"+{line}" for line in task.change.after)]
    )


def summary(done: Sequence[tuple[Task, Verdict]]) -> str:
    """Return how many mutants are seen in each folder and in all."""
    folders: dict[str, list[Verdict]] = {}
    for task, verdict in done:
        folders.setdefault(str(PurePosixPath(task.mutant.file).parent), []).append(verdict)
    lines = [f"{folder}: {seen(verdicts)} of {len(verdicts)} seen" for folder, verdicts in sorted(folders.items())]
    every = [verdict for _, verdict in done]
    hung = f"{every.count(Verdict.HUNG)} of them because they hang"
    return "\n".join(["", *lines, f"all: {seen(every)} of {len(every)} seen, {share(every):.1%}; {hung}"])


def seen(verdicts: Sequence[Verdict]) -> int:
    return len(verdicts) - verdicts.count(Verdict.NOT_SEEN)


def share(verdicts: Sequence[Verdict]) -> float:
    return seen(verdicts) / len(verdicts) if verdicts else 1.0


def chosen(root: Path, python: Path, since: str | None, seed: str | None) -> list[Mutant]:
    """Return the mutants of the sample, those of the lines that changed since a ref, or the sample of a seed."""
    files = tracked_files(root)
    if seed is not None:
        return fresh(mutants_of(root, mutable(files), python), seed, FRESH_COUNT)
    if since is None:
        return sample(mutants_of(root, core_of(files), python))
    lines = changed_lines(root, since)
    return on_lines(mutants_of(root, [file for file in mutable(files) if file in lines], python), lines)


def mutate(
    root: Path,
    python: Path,
    mutants: Sequence[Mutant],
    entries: Sequence[Equivalent],
    jobs: int,
    *,
    unit: bool = False,
) -> int:
    """
    Test *mutants*, without the equivalent ones; print the results and return the exit code.

    With *unit*, only the unit tests count.

    Raises:
        BrokenTestsError: The tests fail without any mutation.
        subprocess.CalledProcessError: Cosmic Ray failed.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    named = sorted({entry.file for entry in entries if (root / entry.file).is_file()})
    like_named = [
        mutant for mutant in mutants_of(root, named, python) if any(entry.may_be(mutant) for entry in entries)
    ]
    stale = equivalents.stale(entries, ((task.mutant, task.change) for task in tasks_of(root, python, like_named)))
    tasks = [
        task
        for task in tasks_of(root, python, mutants)
        if not any(entry.is_made_by(task.mutant, task.change) for entry in entries)
    ]
    done = asyncio.run(run(root, tasks, jobs, console, unit=unit))
    console.print(summary(done))
    for entry in stale:
        console.print(f"stale in equivalents.toml: {entry.operator} makes no mutant of this line in {entry.file}:")
        console.print(f"-{entry.line}\n+{entry.becomes}")
    enough = share([verdict for _, verdict in done]) >= LEAST_SEEN
    if not enough:
        console.print(f"too few: at least {LEAST_SEEN:.0%} must be seen")
    return 0 if enough and not stale else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=(__doc__ or "").split("\n\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--since", metavar="REF", help="take the lines that changed since the branch left this git ref")
    which.add_argument("--fresh", metavar="SEED", help=f"take {FRESH_COUNT} mutants of all code, others for each seed")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at once; default: one per core"
    )
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # Both end the run without leaving anything behind.
        signal.signal(number, signal.default_int_handler)
    try:
        mutants = chosen(ROOT, PYTHON, options.since, options.fresh)
        unit = options.fresh is not None
        return mutate(ROOT, PYTHON, mutants, equivalents.read(), options.jobs, unit=unit)
    except KeyboardInterrupt:
        return 130
    except BrokenTestsError as error:
        sys.stderr.write(f"{error}\n")
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error}\n{error.stderr}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
