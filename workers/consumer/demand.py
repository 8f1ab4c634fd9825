"""How many receives to run at once."""

import math
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

WAITED_FACTOR = 4.0  # The durations of receives that find messages at once spread by a factor of two around the median.
DRIFT = 1.01  # With each answer, the shortest duration counts 1 % longer, so that a slower network becomes usual.
# No receive takes longer without having to wait. Without this bound, the drift would make waits usual in the end, if
# every message for an hour has to be waited for.
MAX_RECEIVE_S = 0.5


@dataclass(slots=True)
class Demand:
    """
    Grows `polls` while the queue has a backlog, and shrinks it to one after it. At most `max_polls`.

    How many messages an answer has says nothing about the queue: SQS often returns fewer than asked for. How long the
    answer took does. If it came at once, there may be more messages. If it is empty, or came late because the receive
    had to wait for its messages, there are no more.

    A receive had to wait if it took more than `waited_factor` times as long as usual.

    `receive_s` is how long a receive takes that finds messages at once, in seconds: the shortest recent duration.
    It is at most `MAX_RECEIVE_S`.
    """

    max_polls: int
    waited_factor: float = WAITED_FACTOR
    polls: int = 1
    receive_s: float = math.inf
    _at_once: int = 0

    def answered(self, received: int, took_s: float, running: int) -> None:
        """
        Learn from an answer with *received* messages that took *took_s* seconds.

        *running* receives were running, including this one. If there are fewer than `polls`, there are too few free
        slots for them, and so no need for another one. `polls` grows by one when each of them has had an answer.
        """
        waited = received == 0 or took_s > self.waited_factor * self.receive_s
        if received:
            self.receive_s = min(took_s, self.receive_s * DRIFT, MAX_RECEIVE_S)
        if waited:
            self.shrink(
                self.polls - 1, reason="the queue is empty" if received == 0 else "messages had to be waited for"
            )
            return
        self._at_once += 1
        if self._at_once >= self.polls and running >= self.polls:
            self._set(min(self.polls + 1, self.max_polls), "messages came at once")

    def shrink(self, polls: int = 1, *, reason: str = "a receive failed") -> None:
        """Go down to *polls*, but not below one."""
        self._set(max(1, polls), reason)

    def _set(self, polls: int, reason: str) -> None:
        if polls != self.polls:
            log.debug("polls.changed", polls=polls, before=self.polls, reason=reason)
        self.polls, self._at_once = polls, 0
