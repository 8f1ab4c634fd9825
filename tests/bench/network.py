"""How far away the benchmark's AWS is: its latencies, and how many messages a receive brings."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

SEED = 14  # The same for every measurement, so that all consumers get the same distribution.
MAX_RECEIVE = 10  # SQS: messages per receive.

_BATCHES = {"BatchExecuteStatement", "BatchGetItem", "BatchWriteItem"}
_TRANSACTIONS = {"TransactWriteItems", "TransactGetItems"}


class Mode(StrEnum):
    """The networks that rows are measured on."""

    LOOPBACK = "on loopback"
    AWS = "as AWS"
    FULL_RECEIVES = "as AWS, full receives"
    FAR = "as AWS at 30 ms"


@dataclass(frozen=True, slots=True)
class Network:
    """
    What separates a consumer from AWS.

    Latencies are log-normal: these are the medians in milliseconds, and `sigma` is the standard deviation of their
    logarithms. A receive brings `receive_sizes` messages, from the least to the most, uniformly, however many there
    are. `duplicates` is the share of messages that are delivered twice.
    """

    receive_ms: float = 0.0
    sqs_ms: float = 0.0
    dynamodb_ms: float = 0.0
    batch_ms: float = 0.0
    transaction_ms: float = 0.0
    sigma: float = 0.35
    receive_sizes: tuple[int, int] = (MAX_RECEIVE, MAX_RECEIVE)
    duplicates: float = 0.0

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Return the network whose `asdict` came as JSON."""
        least, most = document["receive_sizes"]
        return cls(**{**document, "receive_sizes": (least, most)})

    def median_ms(self, target: str) -> float:
        """Return the median latency of a call, which is named as in its header `X-Amz-Target`."""
        service, _, action = target.partition(".")
        if service == "AmazonSQS":
            return self.receive_ms if action == "ReceiveMessage" else self.sqs_ms
        if action in _BATCHES:
            return self.batch_ms
        return self.transaction_ms if action in _TRANSACTIONS else self.dynamodb_ms

    def farther(self, factor: float) -> Self:
        """Return this network with latencies *factor* times as long."""
        return replace(
            self,
            receive_ms=factor * self.receive_ms,
            sqs_ms=factor * self.sqs_ms,
            dynamodb_ms=factor * self.dynamodb_ms,
            batch_ms=factor * self.batch_ms,
            transaction_ms=factor * self.transaction_ms,
        )

    def __str__(self) -> str:
        least, most = self.receive_sizes
        sizes = f"receives of {most}" if least == most else f"receives of {least} to {most}"
        if not any((self.receive_ms, self.sqs_ms, self.dynamodb_ms, self.batch_ms, self.transaction_ms)):
            timing = "answers at once"
        else:
            timing = (
                f"receive {self.receive_ms:g} ms, SQS {self.sqs_ms:g}, DynamoDB {self.dynamodb_ms:g}, "
                f"batch {self.batch_ms:g}, transaction {self.transaction_ms:g}, sigma {self.sigma:g}"
            )
        return f"{timing}, {sizes}" + (f", {self.duplicates:.1%} delivered twice" if self.duplicates else "")


LOOPBACK = Network()
# Latencies between services of one region. SQS's documentation says that a receive may return fewer messages than
# asked for; an average of four is reported.
AS_AWS = Network(
    receive_ms=15, sqs_ms=12, dynamodb_ms=5, batch_ms=15, transaction_ms=15, receive_sizes=(1, MAX_RECEIVE)
)


def networks(aws: Network = AS_AWS) -> dict[Mode, Network]:
    """Return the network of each mode. *aws* may have the figures of a real account; the mode at 30 ms stays."""
    return {
        Mode.LOOPBACK: LOOPBACK,
        Mode.AWS: aws,
        Mode.FULL_RECEIVES: replace(aws, receive_sizes=(MAX_RECEIVE, MAX_RECEIVE)),
        Mode.FAR: AS_AWS.farther(2),
    }


class Sampler:
    """Draws the latencies, sizes and duplicates of a network."""

    def __init__(self, network: Network, source: random.Random | None = None) -> None:
        self._network = network
        self._random = source or random.Random(SEED)

    def latency_s(self, target: str) -> float:
        median_ms = self._network.median_ms(target)
        if not median_ms:
            return 0.0
        return self._random.lognormvariate(math.log(median_ms), self._network.sigma) / 1000

    def receive_size(self) -> int:
        least, most = self._network.receive_sizes
        return most if least == most else self._random.randint(least, most)

    def is_duplicate(self) -> bool:
        return self._network.duplicates > 0 and self._random.random() < self._network.duplicates
