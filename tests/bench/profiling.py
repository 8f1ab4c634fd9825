"""
Where our workers spend their time, function by function and package by package.

    python -m tests.bench.profiling FILE orders | messages    # A worker under cProfile; what the profile mode starts.
"""

import cProfile
import pstats
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local_aws import ROOT
from tests.bench import ours
from tests.bench.handling import Handling
from tests.bench.harness import STOP_TIMEOUT_S, Plan, Stub, Subject, measure
from workers import __main__ as worker

TOP = 25
WINDOW_S = 6.0  # Long enough for what happens at the start to fade.

_Function = tuple[str, int, str]
_Figures = tuple[int, int, float, float, dict[_Function, tuple[int, int, float, float]]]


def run(plan: Plan, console: Console) -> None:
    """Profile our worker on orders and on nothing at all, and print the tables."""
    with Stub.running() as stub:
        for load in ("orders", "messages"):
            path = stub.directory / f"{load}.profile"
            subject = Subject(f"profile-{load}", "tests.bench.profiling", (str(path), load), load=load)
            reading = measure(stub, subject, settle_s=plan.settle_s, seconds=WINDOW_S, stop_s=STOP_TIMEOUT_S)
            console.print(f"\n[bold]{load}[/]: {reading.per_second:,.0f}/s under the profiler", highlight=False)
            figures = _read(path)
            _print_functions(console, figures)
            _print_packages(console, figures)


def _read(path: Path) -> dict[_Function, _Figures]:
    """Return the profile without the time spent waiting for something to do."""
    figures: dict[_Function, _Figures] = vars(pstats.Stats(str(path)))["stats"]
    return {function: each for function, each in figures.items() if "select.epoll" not in function[2]}


def _print_functions(console: Console, figures: Mapping[_Function, _Figures]) -> None:
    total_s = sum(own_s for _, _, own_s, _, _ in figures.values())
    table = Table("own time", "calls", "with callees", "function")
    entries = sorted(figures.items(), key=lambda entry: -entry[1][2])
    for (file, line, function), (_, calls, own_s, all_s, _) in entries[:TOP]:
        place = function if file == "~" else f"{_short(file)}:{line} {function}"
        table.add_row(f"{own_s / total_s:.1%}", f"{calls:,}", f"{all_s / total_s:.1%}", escape(place))
    console.print(table)


def _print_packages(console: Console, figures: Mapping[_Function, _Figures]) -> None:
    """Print each package's share; what is built in counts for who called it."""
    own: defaultdict[str, float] = defaultdict(float)
    for (file, _, _), (_, _, own_s, _, callers) in figures.items():
        if file == "~":
            for (caller, _, _), (_, _, for_caller_s, _) in callers.items():
                own[_package(caller)] += for_caller_s
        else:
            own[_package(file)] += own_s
    total_s = sum(own.values())
    shares = sorted(own.items(), key=lambda entry: -entry[1])
    shown = ", ".join(f"{name} {own_s / total_s:.0%}" for name, own_s in shares if own_s / total_s >= 0.01)
    console.print(f"Own time by package: {shown}", highlight=False)


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def _package(file: str) -> str:
    _, _, library = file.rpartition("/site-packages/")
    if library != file and library:
        return library.partition("/")[0].removesuffix(".py")
    try:
        return Path(file).relative_to(ROOT).parts[0]
    except ValueError:
        return "~" if file == "~" else Path(file).parent.name if "asyncio" in file else Path(file).stem


def main() -> None:
    path, load = sys.argv[1:]
    profile = cProfile.Profile()
    try:
        if load == "orders":
            sys.argv = ["workers", "fulfillment"]
            profile.runcall(worker.main)
        else:
            profile.runcall(ours.run, Handling())
    finally:
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
