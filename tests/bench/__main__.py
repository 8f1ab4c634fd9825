"""
The benchmark: our worker with all features on, against consumers as people write them, on a stub of AWS.

    python -m tests.bench [--rounds 3] [--only GROUP] [--quick] [--profile]
    python -m tests.bench --receive-ms 18 --dynamodb-ms 4 ...    # With the figures of a real account; see --help.

One interleaved run prints one table and writes build/bench.json, and build/bench.md for docs/benchmark.md. It does not
judge the figures: the exit code is 0 unless something could not be measured.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from deploy.local.aws import ROOT
from tests.bench import profiling, report
from tests.bench.harness import Plan, Reading, Stub, Subject, measure
from tests.bench.loads import Load
from tests.bench.options import parser, plan_of
from tests.bench.processes import BenchError
from tests.bench.results import Result
from tests.bench.rows import GROUPS, ROWS, subjects

_Measured = tuple[Subject, Reading]

OUTPUT = ROOT / "build" / "bench.json"


def run(plan: Plan, groups: Sequence[str], console: Console, output: Path) -> list[Result]:
    """
    Measure the rows of *groups*, print their table, and write *output*.

    Raises:
        BenchError: Something could not be measured.
    """
    facts = report.machine()
    report.print_machine(console, facts)
    wanted = list(subjects(groups))
    report.print_networks(console, plan, {subject.mode for subject in wanted})
    readings: dict[Subject, list[Reading]] = {}
    with _measuring(plan, console) as measured:
        for number in range(plan.rounds):
            console.print(f"round {number + 1} of {plan.rounds}", style="dim", highlight=False)
            for subject, reading in measured(_in_order(wanted, number)):
                readings.setdefault(subject, []).append(reading)
    if idle := [subject for subject in wanted if subject.load is Load.IDLE]:
        console.print(f"idle for {plan.idle_window_s:g} s", style="dim", highlight=False)
        for subject, reading in _measure_idle(idle, plan).items():
            readings[subject] = [reading]
    results = [Result.of(row, readings) for row in ROWS if row.group in groups]
    report.print_table(console, results, plan.rounds)
    report.print_stub(console, readings)
    report.save(output, plan, facts, results, readings)
    report.save_markdown(output.with_suffix(".md"), results)
    return results


@contextmanager
def _measuring(plan: Plan, console: Console) -> Iterator[Callable[[Sequence[Subject]], Iterable[_Measured]]]:
    """Yield a function that measures subjects one after the other, or as many at once as *plan* says."""
    stubs: SimpleQueue[Stub] = SimpleQueue()

    def measured(subject: Subject) -> _Measured:
        console.print(f"  {subject.full_name}", style="dim", highlight=False)
        stub = stubs.get()
        try:
            return subject, measure(stub, subject, plan)
        finally:
            stubs.put(stub)

    with ExitStack() as running:
        for _ in range(plan.at_once):
            stubs.put(running.enter_context(Stub.running()))
        if plan.at_once == 1:
            yield lambda subjects: map(measured, subjects)
        else:
            threads = running.enter_context(ThreadPoolExecutor(plan.at_once))
            yield lambda subjects: threads.map(measured, subjects)


def _in_order(wanted: Sequence[Subject], number: int) -> Sequence[Subject]:
    """Return the subjects of a round. Every second round is reversed, so that drift evens out."""
    return [subject for subject in wanted if subject.load is not Load.IDLE][:: -1 if number % 2 else 1]


def _measure_idle(idle: Sequence[Subject], plan: Plan) -> Mapping[Subject, Reading]:
    """Measure the idle subjects at the same time, on separate stubs: they do not disturb each other."""

    def measured(subject: Subject) -> Reading:
        with Stub.running() as stub:
            return measure(stub, subject, plan)

    with ThreadPoolExecutor() as threads:
        return dict(zip(idle, threads.map(measured, idle), strict=True))


def main() -> int:
    arguments = parser().parse_args()
    plan = plan_of(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        if arguments.profile:
            profiling.run(plan, arguments.only or profiling.GROUPS, console)
        else:
            run(plan, arguments.only or GROUPS, console, OUTPUT)
    except BenchError as error:
        console.print(f"[red]The benchmark failed:[/] {error}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
