"""
Our worker with everything on, for the rows without orders: only its handler is another.

    python -m tests.bench.ours

The rows with orders start `python -m workers fulfillment` itself.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.bench.handling import Handling
from workers import __main__ as worker
from workers import wiring
from workers.consumer.message import Acknowledged, Message


@dataclass(frozen=True, slots=True)
class BenchHandler:
    handling: Handling

    async def handle(self, message: Message) -> Acknowledged:
        await self.handling.handle(message.body)
        return Acknowledged("handled")

    async def give_up(self, message: Message) -> Acknowledged:
        raise AssertionError(f"delivered too often: {message.id}")


def run(handling: Handling) -> int:
    """Run `python -m workers fulfillment` with a handler of the benchmark; return its exit code."""

    async def handler(*_: Any) -> BenchHandler:
        return BenchHandler(handling)

    sys.argv = ["workers", "fulfillment"]
    try:
        with mock.patch.object(wiring, "_handler", handler):
            return worker.main()
    finally:
        handling.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ours")
    Handling.add_arguments(parser)
    sys.exit(run(Handling.of_arguments(parser.parse_args())))
