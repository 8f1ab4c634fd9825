"""The kinds of workers: our two, and those that people write."""

from dataclasses import dataclass
from enum import StrEnum

from workers.queue_address import QueueAddress


class Worker(StrEnum):
    """The workers that can be started, by their names on the command line."""

    FULFILLMENT = "fulfillment"
    ESCALATION = "escalation"


@dataclass(frozen=True, slots=True)
class OwnWorker:
    """A worker that is not ours: `python -m workers run`. Its text is its name, as that of a `Worker` is."""

    name: str
    queue: QueueAddress

    def __str__(self) -> str:
        return self.name


AnyWorker = Worker | OwnWorker
