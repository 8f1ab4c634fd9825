"""
An hour that stands for a busy week: 200,000 orders, deploys, outages, throttling, duplicates, garbage.

    python -m tests.soak [--minutes 60] [--orders 200000] [--seed 0] [--output build/soak.json]

Real workers consume the benchmark's endpoint, as far away as AWS. At the end it proves that every order is settled
once, and that no worker has grown. The exit code is 0 if all of that is so, 130 after Ctrl-C, otherwise 1.
"""

import asyncio
import sys
from datetime import UTC, datetime

from tests.soak.options import parser, plan_of
from tests.soak.report import save, verdict
from tests.soak.run import soak

INTERRUPTED = 130


def say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {text}", flush=True)  # noqa: T201 - a command line.


def main() -> int:
    arguments = parser().parse_args()
    outcome = asyncio.run(soak(plan_of(arguments), say))
    for promise, examples in outcome.problems.examples.items():
        say(f"{promise}: {outcome.problems.counts[promise]} problems, for example {examples[0]}")
    for one in outcome.flatness:
        if not one.is_flat:
            say(f"{one.worker}: {one.measure.title} was {one.first} first and {one.last} in the end")
    say(verdict(outcome))
    say(f"report: {save(outcome, arguments.output)}")
    if outcome.interrupted:
        return INTERRUPTED
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
