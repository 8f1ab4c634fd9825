"""
What is ordinary on AWS: answers take a while, a receive brings few messages, and a message comes again.

The local AWS answers at once, fills every receive, and delivers a message once.
"""

import math
import random
from dataclasses import dataclass
from enum import StrEnum

_BATCHES = {"BatchExecuteStatement", "BatchGetItem", "BatchWriteItem", "TransactGetItems", "TransactWriteItems"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers take: log-normal, with a median in seconds for each kind of call."""

    receive_s: float = 0.015
    sqs_s: float = 0.012
    dynamodb_s: float = 0.005
    batch_s: float = 0.015  # DynamoDB: batches and transactions.
    sigma: float = 0.35

    def draw_s(self, action: str, rng: random.Random, *, sqs: bool) -> float:
        if action == "ReceiveMessage":
            median_s = self.receive_s
        elif sqs:
            median_s = self.sqs_s
        else:
            median_s = self.batch_s if action in _BATCHES else self.dynamodb_s
        return rng.lognormvariate(math.log(median_s), self.sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """
    The conditions of every request.

    - `latency`: None answers at once.
    - `short_receives`: a receive asks for 1 message up to as many as the worker asked for, at random.
    - `repeated`: the share of received messages that are visible again within `repeated_within_s`, while their worker
      still handles them; each message at most `max_repeats` times.
    - `old_deletes`: a delete with a receipt that is not the message's newest one deletes it, is accepted without an
      effect, or is refused, at random. SQS promises nothing here; the local AWS always refuses.
    """

    latency: Latency | None = None
    short_receives: bool = False
    repeated: float = 0.0
    repeated_within_s: float = 0.05
    max_repeats: int = 2
    old_deletes: bool = False


LOOPBACK = Conditions()
ORDINARY_AWS = Conditions(latency=Latency(), short_receives=True, repeated=0.3, old_deletes=True)


class OldDelete(StrEnum):
    """What a delete with an older receipt does."""

    WORKS = "works"
    IGNORED = "ignored"
    REFUSED = "refused"


def draw_old_delete(rng: random.Random) -> OldDelete:
    return rng.choice(list(OldDelete))
