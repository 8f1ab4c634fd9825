"""The command line's options."""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deploy.local.aws import ROOT
from tests.soak.plan import MINUTES, ORDERS, WARM_UP_MINUTES, Plan

OUTPUT = ROOT / "build" / "soak.json"
MAX_MINUTES, MAX_ORDERS = 24 * 60, 10_000_000


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)  # noqa: T201 - a command line.
        self.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m tests.soak`."""
    parser = _Parser(prog="python -m tests.soak", description="Run a busy week in small, and prove what came of it.")
    parser.add_argument("--minutes", type=_number(0.2, MAX_MINUTES), help=f"how long (default: {MINUTES:g})")
    parser.add_argument(
        "--orders", type=_number(20, MAX_ORDERS), help=f"how many orders (default: {ORDERS} in {MINUTES:g} minutes)"
    )
    parser.add_argument("--seed", type=_number(0, 2**32), default=0, help="repeats arrivals and troubles (default: 0)")
    parser.add_argument(
        "--warm-up",
        type=_number(0, MAX_MINUTES),
        default=WARM_UP_MINUTES,
        metavar="MINUTES",
        help=f"after which no worker may grow (default: {WARM_UP_MINUTES:g})",
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the JSON file; page and picture go beside it")
    return parser


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return the plan that the parsed *arguments* ask for."""
    minutes = arguments.minutes or MINUTES
    return Plan(minutes, int(arguments.orders or ORDERS * minutes / MINUTES), int(arguments.seed), arguments.warm_up)


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number from {least:g} to {most:g}")
        return value

    return parse
