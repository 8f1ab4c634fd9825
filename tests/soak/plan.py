"""What happens when: arrivals with the curve of a day, deploys, and spells of trouble. A seed repeats all of it."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MINUTES, ORDERS = 60.0, 200_000
WEEK = 7  # Days in an hour. A shorter run has fewer of them, of the same length.
DEPLOY_EVERY_S = 180.0
KILLED_EVERY = 3  # Every third deploy ends the old processes with `kill -9`.
WARM_UP_MINUTES = 10.0  # Caches and pools fill. After that, a worker must not grow.
SWING = 0.6  # The busiest moment of a day has 1.6 times the average of orders, the quietest 0.4 times.
SHORT_MINUTES = 5.0
LONGEST_SPELL_S = 45.0
ESCALATED = 0.05  # Of the orders.
SENT_TWICE = 0.01
DELIVERED_TWICE = 0.01
GARBAGE_EVERY = 1_000  # Orders for each useless body on each queue.


class Trouble(StrEnum):
    """What goes wrong for a while."""

    PROVIDER_DOWN = "provider answers 503"
    PROVIDER_REFUSES = "provider resets connections"
    PROVIDER_FAILS = "provider fails for some"
    PROVIDER_SLOW = "slow provider"
    AWS_THROTTLES = "AWS throttles"
    AWS_FAILS = "AWS answers 5xx"
    AWS_RESETS = "AWS resets connections"
    CHANNEL_SLOW = "slow channel"
    CHANNEL_DOWN = "channel down"


@dataclass(frozen=True, slots=True)
class Spell:
    """One trouble and its time, in seconds since the start."""

    trouble: Trouble
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    minutes: float = MINUTES
    orders: int = ORDERS
    seed: int = 0
    warm_up_minutes: float = WARM_UP_MINUTES

    @property
    def duration_s(self) -> float:
        return 60 * self.minutes

    @property
    def days(self) -> int:
        return max(1, round(WEEK * self.minutes / MINUTES))

    @property
    def day_s(self) -> float:
        return self.duration_s / self.days

    @property
    def warm_up_s(self) -> float:
        return 60 * self.warm_up_minutes

    @property
    def shows_growth(self) -> bool:
        """Whether two whole days are left after the warm-up. Only whole days have the same load."""
        return self.duration_s >= self.warm_up_s + 2 * self.day_s

    @property
    def is_short(self) -> bool:
        return self.minutes < SHORT_MINUTES

    @property
    def wait_s(self) -> int:
        """Of a long poll. A worker that is stopped waits for the end of one."""
        return 1 if self.is_short else 20

    @property
    def visibility_s(self) -> int:
        """After which the messages of a killed worker come back."""
        return 30 if self.is_short else 60

    @property
    def sample_every_s(self) -> float:
        return 1.0 if self.is_short else 5.0

    @property
    def garbage_every(self) -> int:
        return max(1, min(GARBAGE_EVERY, self.orders // 10))

    def deploys(self) -> Sequence[float]:
        """Return when the deploys begin, in seconds since the start."""
        every_s = min(DEPLOY_EVERY_S, self.duration_s / 3)
        return [number * every_s for number in range(1, math.ceil(self.duration_s / every_s))]

    def kills(self, deploy: int) -> bool:
        """Return whether a deploy, counted from 0, ends the old processes with `kill -9`."""
        return deploy % KILLED_EVERY == 0

    def due(self, at_s: float) -> int:
        """Return how many orders have arrived at this time. Each day has a night and a rush."""
        share = min(1.0, max(0.0, at_s / self.duration_s))
        turn = 2 * math.pi * self.days
        return min(self.orders, math.floor(self.orders * (share - SWING / turn * math.sin(turn * share)) + 1e-6))

    def spells(self) -> Sequence[Spell]:
        """
        Return each trouble once a day, in the order in which they begin.

        Every day has the same troubles at the same time: so a worker that does not grow is the same on every day.
        """
        source = random.Random(f"{self.seed} spells")
        of_day = []
        for trouble in Trouble:
            length_s = min(LONGEST_SPELL_S, source.uniform(0.04, 0.08) * self.day_s)
            of_day.append((source.uniform(0, self.day_s - length_s), length_s, trouble))
        return [
            Spell(trouble, day * self.day_s + after_s, day * self.day_s + after_s + length_s)
            for day in range(self.days)
            for after_s, length_s, trouble in sorted(of_day)
        ]
