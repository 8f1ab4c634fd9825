"""Prints and saves the results."""

import json
import os
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.harness import Plan, Reading
from tests.bench.network import Mode
from tests.bench.results import Readings, Result, Row, Spread

LIBRARIES = ("aioboto3", "aiobotocore", "botocore", "boto3", "aiohttp", "structlog")


def machine() -> dict[str, Any]:
    """Return facts about the machine and the libraries measured on it."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "load_average": round(os.getloadavg()[0], 2),
    }


def print_table(console: Console, results: Sequence[Result], rounds: int) -> None:
    counted = "1 round" if rounds == 1 else f"{rounds} rounds: median (lowest to highest)"
    table = Table(title=f"One interleaved run, {counted}", title_justify="left")
    table.add_column("")
    for heading in ("ours", "other", "ratio", "must", "goal"):
        table.add_column(heading, justify="right")
    table.add_column("reached")
    table.add_column("against")
    for result in results:
        row = result.row
        table.add_row(
            row.title,
            _spread(result.ours, row.digits),
            _spread(result.other, row.digits),
            _spread(result.ratio, 2),
            _bound(row, row.must),
            _bound(row, row.goal),
            _reached(result),
            row.against,
        )
    console.print(table)


def print_stub(console: Console, readings: Readings) -> None:
    """Show that the stub was never the bottleneck."""
    busiest = {subject: max(reading.stub_busy for reading in measured) for subject, measured in readings.items()}
    shown = ", ".join(f"{subject.full_name} {busy:.0%}" for subject, busy in busiest.items())
    console.print(f"CPU time per second of the stub, highest: {shown}", highlight=False)


def print_networks(console: Console, plan: Plan, modes: Collection[Mode]) -> None:
    for mode, network in plan.networks.items():
        if mode in modes:
            console.print(f"{mode}: {network}", highlight=False)


def print_machine(console: Console, facts: Mapping[str, Any]) -> None:
    libraries = ", ".join(f"{name} {number}" for name, number in facts["libraries"].items())
    console.print(
        f"{facts['cores']} cores ({facts['processor']}), {facts['system']}, Python {facts['python']}, {libraries}; "
        f"load average at the start {facts['load_average']}",
        highlight=False,
    )


def save(path: Path, plan: Plan, facts: Mapping[str, Any], results: Sequence[Result], readings: Readings) -> None:
    document = {
        "machine": facts,
        "plan": asdict(plan),
        "rows": [result.document() for result in results],
        "readings": {
            subject.full_name: [_reading(reading) for reading in measured] for subject, measured in readings.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def save_markdown(path: Path, results: Sequence[Result]) -> None:
    """Save the table of docs/benchmark.md: the medians of each row."""
    lines = ["| | ours | other | ratio | other is |", "| --- | ---: | ---: | ---: | --- |"]
    for result in results:
        digits = result.row.digits
        spreads = ((result.ours, digits), (result.other, digits), (result.ratio, 2))
        ours, other, ratio = ("" if spread is None else _median(spread, digits) for spread, digits in spreads)
        lines.append(f"| {result.row.title} | {ours} | {other} | {ratio} | {result.row.against} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _reading(reading: Reading) -> dict[str, Any]:
    document = asdict(reading)
    del document["latencies_ms"]
    return document


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return ""
    median = _median(spread, digits)
    if spread.lowest == spread.highest:
        return median
    return f"{median} ({spread.lowest:,.{digits}f} to {spread.highest:,.{digits}f})"


def _median(spread: Spread, digits: int) -> str:
    return f"{spread.median:,.{digits}f}"


def _bound(row: Row, bound: float | None) -> str:
    if bound is None:
        return ""
    return f"{bound:g} x" if row.by_ratio else f"{bound:,g}"


def _reached(result: Result) -> str:
    goal, must = result.reaches(result.row.goal), result.reaches(result.row.must)
    if goal:
        return "[green]goal[/]"
    if must:
        return "must"
    return "" if goal is None and must is None else "[red]no[/]"
