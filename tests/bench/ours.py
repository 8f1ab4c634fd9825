"""
Our worker with everything on, for the rows without orders: only its handler is the benchmark's.

    python -m tests.bench.ours

The rows with orders start `python -m workers fulfillment` itself.
"""

import argparse
import os
import sys
from dataclasses import dataclass

from tests.bench.handling import Handling
from workers.command import run_command
from workers.consumer.message import Acknowledged, Message


@dataclass(frozen=True, slots=True)
class BenchHandler:
    """A worker's handler that does what *handling* says, and nothing with orders."""

    handling: Handling

    async def handle(self, message: Message) -> Acknowledged:
        await self.handling.handle(message.body)
        return Acknowledged("handled")

    async def give_up(self, message: Message) -> Acknowledged:
        raise AssertionError(f"delivered too often: {message.id}")

    async def take_back(self, message: Message) -> None:
        raise AssertionError(f"delivered too often: {message.id}")


def run(handling: Handling) -> int:
    """Run the fulfillment worker with a handler of the benchmark; return its exit code."""

    async def make_handler(*_: object) -> BenchHandler:
        return BenchHandler(handling)

    try:
        return run_command(["fulfillment"], make_handler=make_handler)
    finally:
        handling.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ours")
    Handling.add_arguments(parser)
    parser.add_argument("--concurrency", metavar="COUNT", help="messages handled at a time (default: the worker's)")
    arguments = parser.parse_args()
    if arguments.concurrency is not None:
        os.environ["WORKER_CONCURRENCY"] = arguments.concurrency
    sys.exit(run(Handling.of_arguments(arguments)))
