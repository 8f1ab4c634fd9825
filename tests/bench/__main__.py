"""
The benchmark: our worker with all features on, against consumers as people write them, on a stub of AWS.

    python -m tests.bench [--rounds 5] [--only GROUP] [--quick] [--profile]

One interleaved run prints one table and writes build/bench.json. It does not judge the figures: the exit code is 0
unless something could not be measured.
"""

import argparse
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from deploy.local.aws import ROOT
from tests.bench import profiling, report
from tests.bench.harness import FULL, QUICK, BenchError, Plan, Reading, Stub, Subject, measure
from tests.bench.rows import BARE_IDLE, GROUPS, OURS_IDLE, ROWS, Result

OUTPUT = ROOT / "build" / "bench.json"


def run(plan: Plan, groups: Collection[str], console: Console, output: Path) -> list[Result]:
    """
    Measure the rows of *groups*, print their table, and write *output*.

    Raises:
        BenchError: Something could not be measured.
    """
    facts = report.machine()
    report.print_machine(console, facts)
    readings: dict[str, list[Reading]] = {}
    with Stub.running() as stub:
        for number in range(plan.rounds):
            for subject in _in_order(groups, number):
                console.print(f"round {number + 1} of {plan.rounds}: {subject.name}", style="dim", highlight=False)
                readings.setdefault(subject.name, []).append(_measure(stub, subject, plan))
    if "idle" in groups:
        console.print(f"idle for {plan.idle_window_s:g} s", style="dim", highlight=False)
        for name, reading in _measure_idle(plan).items():
            readings[name] = [reading]
    results = [Result.of(row, readings) for row in ROWS if row.group in groups]
    report.print_table(console, results, plan.rounds)
    report.print_stub(console, readings)
    report.save(output, plan, facts, results, readings)
    return results


def _in_order(groups: Collection[str], number: int) -> list[Subject]:
    """Return the subjects of a round, each once. Every second round is reversed, so that drift evens out."""
    subjects = dict.fromkeys(
        subject for name in GROUPS if name in groups and name != "idle" for subject in GROUPS[name]
    )
    return list(subjects)[:: -1 if number % 2 else 1]


def _measure(stub: Stub, subject: Subject, plan: Plan) -> Reading:
    seconds = plan.latency_window_s if subject.load == "trickle" else plan.window_s
    return measure(stub, subject, settle_s=plan.settle_s, seconds=seconds, per_second=plan.per_second)


def _measure_idle(plan: Plan) -> Mapping[str, Reading]:
    """Measure the idle subjects at the same time, on separate stubs: they do not disturb each other."""
    subjects = (OURS_IDLE, BARE_IDLE)

    def measured(subject: Subject) -> Reading:
        with Stub.running() as stub:
            return measure(stub, subject, settle_s=0, seconds=plan.idle_window_s, wait_s=plan.idle_wait_s)

    with ThreadPoolExecutor() as threads:
        return dict(zip((subject.name for subject in subjects), threads.map(measured, subjects), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure the workers. This takes minutes."
    )
    parser.add_argument("--rounds", type=int, help=f"how many times to measure everything (default: {FULL.rounds})")
    parser.add_argument("--only", choices=list(GROUPS), action="append", help="measure only these rows")
    parser.add_argument("--quick", action="store_true", help="short windows and two rounds: rough figures in a minute")
    parser.add_argument("--profile", action="store_true", help="show instead how our own time is spent")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 190)
    plan = QUICK if arguments.quick else FULL
    try:
        if arguments.profile:
            profiling.run(plan, console)
        else:
            plan = replace(plan, rounds=arguments.rounds or plan.rounds)
            run(plan, arguments.only or list(GROUPS), console, OUTPUT)
    except BenchError as error:
        console.print(f"[red]The benchmark failed:[/] {error}", highlight=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
