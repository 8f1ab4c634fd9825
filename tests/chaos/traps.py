"""
Traps: what a test does when a request reaches a step on its way through the fault proxy.

    trap = proxy.set_trap(Trap(Step.APPLIED, {"TransactWriteItems"}, then=kill_its_sender))
    exchange = trap.wait()

`then` runs in the proxy's thread before the request goes on, so nothing can happen in between.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import Any

PATIENCE_S = 30.0


class Step(StrEnum):
    """How far a request has come."""

    ARRIVED = "arrived"  # It is not passed on yet.
    APPLIED = "applied"  # It was passed on; its answer is not sent yet.
    ANSWERED = "answered"  # Its answer was sent.


class Fate(StrEnum):
    """What happens to a request in a trap."""

    GOES_ON = auto()
    CUT = auto()  # Its connection is reset: a request that has only arrived is not applied.
    HELD = auto()  # It goes on when the test opens the trap.


@dataclass(eq=False, slots=True)
class Exchange:
    """A request, and the status of its answer once there is one. `sender` is its access key id."""

    action: str
    sender: str
    body: bytes
    status: int | None = None
    answered: threading.Event = field(default_factory=threading.Event)

    @property
    def cases(self) -> frozenset[str]:
        """The ids of the cases that a transaction writes."""
        if self.action != "TransactWriteItems":
            return frozenset()
        puts = [item["Put"] for item in json.loads(self.body)["TransactItems"] if "Put" in item]
        return frozenset(put["Item"]["CaseId"]["S"] for put in puts if "CaseId" in put["Item"])


def _goes_on(_: Exchange) -> Fate:
    return Fate.GOES_ON


def _any(_: Exchange) -> bool:
    return True


@dataclass(eq=False, slots=True)
class Trap:
    """
    Catches requests with one of *actions*, for which *where* is true, at *step*: the first *times* after *skip* others.

    Requests with a fault other than latency are not caught.
    """

    step: Step
    actions: Collection[str]
    then: Callable[[Exchange], Fate] = _goes_on
    where: Callable[[Exchange], bool] = _any
    skip: int = 0
    times: int = 1
    caught: list[Exchange] = field(default_factory=list)
    _sprung: threading.Event = field(default_factory=threading.Event)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)

    # For tests.

    def wait(self, timeout_s: float = PATIENCE_S) -> Exchange:
        """Wait for the first request, and return it."""
        assert self._sprung.wait(timeout_s), f"no {'/'.join(self.actions)} has {self.step} within {timeout_s} s"
        return self.caught[0]

    # For the proxy, in its thread.

    async def spring(self, step: Step, exchange: Exchange) -> bool:
        """Catch *exchange* if it belongs here; return whether it may go on."""
        if step is not self.step or exchange.action not in self.actions or not self.where(exchange):
            return True
        if self.skip > 0:
            self.skip -= 1
            return True
        if self.times <= 0:
            return True
        self.times -= 1
        fate = self.then(exchange)
        self.caught.append(exchange)
        self._sprung.set()
        if fate is Fate.HELD:
            await self._opened.wait()
        return fate is not Fate.CUT

    def open(self) -> None:
        """Let the held requests go on, and catch no more."""
        self.times = 0
        self._opened.set()


def wait_for_answer(exchange: Exchange, timeout_s: float = PATIENCE_S) -> int:
    """Wait until *exchange* has an answer, and return its status. A client that has ended does not get the answer."""
    assert exchange.answered.wait(timeout_s), f"no answer to {exchange.action} within {timeout_s} s"
    assert exchange.status is not None
    return exchange.status


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification that the proxy's webhook has accepted."""

    id: str
    case_id: str
    sender: str


def notification(exchange: Exchange) -> Notification:
    fields: dict[str, Any] = json.loads(exchange.body)
    return Notification(fields["NotificationId"], fields["CaseId"], exchange.sender)
