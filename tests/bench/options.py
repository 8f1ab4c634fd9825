"""The command line's options, above all the figures of a real account."""

import argparse
import math
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NoReturn

from tests.bench.harness import FULL, QUICK, Plan
from tests.bench.network import AS_AWS, MAX_RECEIVE, Network, networks
from tests.bench.rows import GROUPS

MAX_MS = 60_000


class _Parser(argparse.ArgumentParser):
    """Reports a wrong argument in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)  # noqa: T201 - a command line.
        self.exit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m tests.bench`."""
    parser = _Parser(prog="python -m tests.bench", description="Measure the workers. This takes minutes.")
    parser.add_argument("--rounds", type=_whole, help=f"how many times to measure everything (default: {FULL.rounds})")
    parser.add_argument("--only", choices=GROUPS, action="append", help="measure only these rows; may be repeated")
    parser.add_argument(
        "--quick", action="store_true", help="one round with short windows: rough figures in three minutes"
    )
    parser.add_argument(
        "--profile", action="store_true", help="show instead how our workers spend their time, in the rows of --only"
    )
    account = parser.add_argument_group(
        "the figures of a real account",
        "for the modes 'as AWS' and 'as AWS, full receives'; latencies are medians in milliseconds",
    )
    for name, what in (
        ("receive", "a receive"),
        ("sqs", "another call of SQS"),
        ("dynamodb", "a DynamoDB call for one item"),
        ("batch", "a DynamoDB batch"),
        ("transaction", "a DynamoDB transaction"),
    ):
        default = getattr(AS_AWS, f"{name}_ms")
        account.add_argument(f"--{name}-ms", type=_ms, metavar="MS", help=f"{what} (default: {default:g})")
    account.add_argument(
        "--sigma", type=_between(0, 3), help=f"their standard deviation, in logarithms (default: {AS_AWS.sigma:g})"
    )
    account.add_argument(
        "--receive-sizes", type=_sizes, metavar="LEAST,MOST", help="messages that a receive brings (default: 1,10)"
    )
    account.add_argument(
        "--duplicates", type=_between(0, 1), metavar="SHARE", help="messages that are delivered twice (default: 0)"
    )
    return parser


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return the plan that the parsed *arguments* ask for."""
    plan = QUICK if arguments.quick else FULL
    return replace(plan, rounds=arguments.rounds or plan.rounds, networks=networks(_network(arguments)))


def _network(arguments: argparse.Namespace) -> Network:
    given = {field.name: getattr(arguments, field.name, None) for field in fields(Network)}
    known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(AS_AWS, **known)


def _between(least: float, most: float, unit: str = "") -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} must be a number from {least:g} to {most:g}{unit}")
        return value

    return parse


_ms = _between(0, MAX_MS, " (milliseconds)")


def _whole(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]?", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 1 to 99")
    return int(text)


def _sizes(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,2}),([0-9]{1,2})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= MAX_RECEIVE:
        raise argparse.ArgumentTypeError(f"{text!r} must be the least and the most, from 1 to {MAX_RECEIVE}: 1,10")
    return int(found[1]), int(found[2])
