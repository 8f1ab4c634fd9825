"""Windows of time, in which orders and cases are listed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Self

from workers import clock
from workers.operations.ages import parse_age
from workers.operations.errors import OperationError

DEFAULT_DAYS = 7
MAX_DAYS = 366
_CLOCKS_DIFFER = timedelta(minutes=5)  # A worker's clock may be ahead of the operator's.
_DAY = timedelta(days=1)
_ALWAYS = "9999"  # Sorts after every stored time.

Moment = datetime | timedelta  # A time, or how long ago it was.


def parse_moment(text: str) -> Moment:
    """
    Return the age (`90s`, `2h`, `3d`) or the time (`2026-11-22`, `2026-11-22T10:00Z`; without a zone UTC) in *text*.

    Raises:
        ValueError: It is neither.
    """
    try:
        return parse_age(text)
    except ValueError:
        pass
    try:
        return clock.parse(text.strip()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be an age, such as 2h or 3d, or a time, such as 2026-11-22 or 2026-11-22T10:00Z"
        ) from None


@dataclass(frozen=True, slots=True)
class Window:
    """The time from *since* on and before *until*. None: no limit."""

    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def of(cls, now: datetime, since: Moment | None, until: Moment | None) -> Self:
        """
        Return the window between two moments.

        Raises:
            OperationError: It would be empty.
        """
        window = cls(_time(now, since), _time(now, until))
        window.check(now)
        return window

    def older_than(self, now: datetime, age: timedelta | None) -> "Window":
        """
        Return the part of this window that is longer ago than *age*.

        Raises:
            OperationError: It would be empty: DynamoDB refuses a query between two times in the wrong order.
        """
        until = _time(now, age)
        if until is None:
            return self
        window = Window(self.since, min(until, self.until or until))
        window.check(now)
        return window

    def check(self, now: datetime) -> None:
        """Raise `OperationError` if the window is empty."""
        if self.since is not None and self.since >= self._end(now):
            raise OperationError("the time window is empty: its begin must be before its end, and before now")

    def _end(self, now: datetime) -> datetime:
        """Return when the window ends: not after now, as nothing is there yet."""
        return min(self.until or now, now)

    def bounded(self, now: datetime) -> "Window":
        """
        Return this window with a begin: without one, the 7 days before its end, or before now.

        Raises:
            OperationError: It is longer than 366 days: each day takes sixteen requests, and more if it has orders.
        """
        end = self._end(now)
        since = self.since or _time(end, timedelta(days=DEFAULT_DAYS)) or end
        if end - since > timedelta(days=MAX_DAYS) + _CLOCKS_DIFFER:  # Time has passed since it was computed.
            raise OperationError(f"the time window is longer than {MAX_DAYS} days: choose a shorter one")
        return Window(since, self.until)

    def days(self, now: datetime) -> Iterator[date]:
        """Yield the days (UTC) of a bounded window, the newest first."""
        newest = min(self.until or now + _CLOCKS_DIFFER, now + _CLOCKS_DIFFER).astimezone(UTC).date()
        oldest = (self.since or now).astimezone(UTC).date()
        for ago in range((newest - oldest).days + 1):
            yield newest - ago * _DAY

    @property
    def bounds(self) -> tuple[str, str]:
        """The first time of the window and the first one after it, as stored."""
        return clock.written(self.since) if self.since else "", clock.written(self.until) if self.until else _ALWAYS

    def includes(self, at: object) -> bool:
        """Return whether the stored time *at* is in the window."""
        since, before = self.bounds
        return since <= str(at) and (self.until is None or str(at) < before)

    def length_s(self, now: datetime) -> float:
        """Return how long a bounded window is."""
        return (self._end(now) - (self.since or now)).total_seconds()


def _time(now: datetime, moment: Moment | None) -> datetime | None:
    try:
        return now - moment if isinstance(moment, timedelta) else moment
    except OverflowError:
        raise OperationError("the time window begins too early") from None
