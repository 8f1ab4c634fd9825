"""
Shows where our workers spend their time, by function and by package.

    python -m tests.bench --profile                          # Orders, escalations and messages, on loopback.
    python -m tests.bench --profile --only aws-orders        # Our worker in the rows of this group.
    python -m tests.bench.profiling FILE orders | escalations | messages    # The first two start it.
"""

import cProfile
import os
import pstats
import signal
import site
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local.aws import ROOT
from tests.bench import ours
from tests.bench.handling import Handling
from tests.bench.harness import Plan, Stub, measure
from tests.bench.loads import Load
from tests.bench.processes import STOP_TIMEOUT_S, BenchError
from tests.bench.rows import subjects
from tests.bench.subjects import OURS_ESCALATIONS, OURS_NOOP, OURS_ORDERS, OURS_SHIPMENTS
from workers.command import run_command

TOP = 25
START_S = 2.0  # From the start of the process to that of the profile, which leaves out the start.
WINDOW_S = 6.0
GROUPS = ("orders", "escalations", "noop")  # By default.
PROFILED = {subject.name for subject in (OURS_ORDERS, OURS_SHIPMENTS, OURS_ESCALATIONS, OURS_NOOP)}

# The stages of a call and of a message, each with the end of its file and the function that a profile shows.
STAGES = (
    ("a call of the SDK, in total", "aiobotocore/client.py", "_make_api_call"),
    ("- serialization", "botocore/serialize.py", "serialize_to_request"),
    ("- endpoint rules", "aiobotocore/client.py", "_resolve_endpoint_ruleset"),
    ("- its event hooks", "aiobotocore/hooks.py", "_emit"),
    ("a direct call, in total", "aws/sdk/direct.py", "_call"),
    ("- serialization", "aws/sdk/serializing.py", "serialize"),
    ("- signing", "aws/sdk/signing.py", "signed"),
    ("- HTTP", "aws/sdk/direct.py", "_post"),
    ("- parsing", "aws/sdk/direct.py", "_answer"),
    ("log lines", "structlog/_base.py", "_proxy_to_logger"),
    ("handling and settling a message", "workers/consumer/consumer.py", "_process"),
    ("- metrics and log line of its end", "workers/consumer/in_flight.py", "end"),
    ("- decoding an order's message", "workers/contracts.py", "decode_fulfillment"),
    ("- decoding an escalation's", "workers/contracts.py", "decode_escalation"),
)

_Function = tuple[str, int, str]
_Figures = tuple[int, int, float, float, dict[_Function, tuple[int, int, float, float]]]


def run(plan: Plan, groups: Sequence[str], console: Console) -> None:
    """
    Profile our workers in the rows of *groups*, and print the tables.

    Raises:
        BenchError: The groups have no endless backlog, or something could not be measured.
    """
    wanted = [subject for subject in subjects(groups) if subject.name in PROFILED]
    if not wanted:
        raise BenchError("only the groups with a backlog of orders, escalations or no-op messages can be profiled")
    with Stub.running() as stub:
        for subject in wanted:
            path = stub.directory / f"{subject.full_name}.profile"
            profiled = replace(subject, commands=(("tests.bench.profiling", str(path), subject.load),))
            reading = measure(stub, profiled, replace(plan, window_s=WINDOW_S), stop_s=STOP_TIMEOUT_S)
            shown = f"[bold]{subject.load} {subject.mode}[/]: {reading.per_second:,.0f}/s under the profiler"
            console.print(f"\n{shown}", highlight=False)
            figures = _read(path)
            _print_functions(console, figures)
            _print_stages(console, figures)
            _print_packages(console, figures)


def _read(path: Path) -> dict[_Function, _Figures]:
    """Return the profile without the time spent waiting for events."""
    figures: dict[_Function, _Figures] = vars(pstats.Stats(str(path)))["stats"]
    return {function: figure for function, figure in figures.items() if "select.epoll" not in function[2]}


def _print_functions(console: Console, figures: Mapping[_Function, _Figures]) -> None:
    total_s = sum(own_s for _, _, own_s, _, _ in figures.values())
    table = Table("own time", "calls", "with callees", "function")
    entries = sorted(figures.items(), key=lambda entry: -entry[1][2])
    for (file, line, function), (_, calls, own_s, all_s, _) in entries[:TOP]:
        place = function if file == "~" else f"{_short(file)}:{line} {function}"
        table.add_row(f"{own_s / total_s:.1%}", f"{calls:,}", f"{all_s / total_s:.1%}", escape(place))
    console.print(table)


def _print_stages(console: Console, figures: Mapping[_Function, _Figures]) -> None:
    total_s = sum(own_s for _, _, own_s, _, _ in figures.values())
    table = Table("with callees", "calls", "stage")
    for title, place, name in STAGES:
        found = [figure for (file, _, function), figure in figures.items() if function == name and file.endswith(place)]
        if found:
            share, calls = sum(figure[3] for figure in found) / total_s, sum(figure[1] for figure in found)
            table.add_row(f"{share:.1%}", f"{calls:,}", title)
    console.print(table)


def _print_packages(console: Console, figures: Mapping[_Function, _Figures]) -> None:
    """Print the share of each package. Built-in functions count for their callers."""
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
    path = Path(file)
    for root in (*map(Path, site.getsitepackages()), ROOT, Path(os.__file__).parent):
        if path.is_relative_to(root):
            return path.relative_to(root).parts[0].removesuffix(".py")
    return "the interpreter"


def main() -> None:
    path, load = sys.argv[1:]
    profile = cProfile.Profile()
    signal.signal(signal.SIGALRM, lambda *_: profile.enable())
    signal.setitimer(signal.ITIMER_REAL, START_S)
    try:
        match Load(load):
            case Load.ORDERS | Load.SHIPMENTS:
                run_command(["fulfillment"])
            case Load.ESCALATIONS:
                run_command(["escalation"])
            case _:
                ours.run(Handling())
    finally:
        profile.disable()
        profile.dump_stats(path)


if __name__ == "__main__":
    main()
