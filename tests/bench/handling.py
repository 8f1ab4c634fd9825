"""What the benchmark's handlers do with a message: nothing, wait, or record when it arrived."""

import argparse
import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(slots=True)
class Handling:
    """Handles bodies. `close` writes pairs of sent and handled times, in nanoseconds, to the file `latencies`."""

    sleep_s: float = 0.0
    latencies: Path | None = None
    _samples: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def of_arguments(cls, arguments: argparse.Namespace) -> Self:
        return cls(arguments.sleep, arguments.latencies)

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--sleep", type=float, default=0.0, metavar="SECONDS")
        parser.add_argument("--latencies", type=Path, metavar="FILE")

    async def handle(self, body: str) -> None:
        self.record(body)
        if self.sleep_s:
            await asyncio.sleep(self.sleep_s)

    def record(self, body: str) -> None:
        if self.latencies is not None:
            self._samples.append((json.loads(body)["SentAtNs"], time.monotonic_ns()))

    def close(self) -> None:
        if self.latencies is not None:
            self.latencies.write_text(json.dumps(self._samples), encoding="ascii")
