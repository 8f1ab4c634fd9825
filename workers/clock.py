"""Times as tables, messages and logs hold them: RFC 3339 in UTC with microseconds, `2026-11-22T10:00:00.000000Z`."""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z", re.ASCII)


def now() -> str:
    """Return the current time. Takes 0.5 us, where formatting a `datetime` takes 1.6: every log line has a time."""
    second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(second)}.{microsecond:06d}Z"


@lru_cache(maxsize=1)
def _second(epoch_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch_s))


def at(epoch_s: float) -> str:
    """Return the time *epoch_s* seconds after the epoch."""
    return written(datetime.fromtimestamp(epoch_s, UTC))


def written(at: datetime) -> str:
    """Return *at*, which must have a time zone, as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """
    Return the time in *text*; without a time zone it counts as UTC.

    Raises:
        ValueError: It is not a time.
    """
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def shown(text: str) -> str:
    """Return the time in *text* as people read it, in UTC and to the second; *text* itself if it is not a time."""
    try:
        return f"{parse(text).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return text


def rfc_3339(value: object) -> str | None:
    """
    Return a time of any source as RFC 3339 in UTC; None if *value* is not a time.

    A number is in seconds since the epoch. A text that is in this form already keeps its fractions of a second.
    """
    try:
        if isinstance(value, int | float):
            return at(value)
        text = str(value)
        parsed = parse(text)
        return text if _RFC_3339.fullmatch(text) else written(parsed)
    except (ValueError, OverflowError, OSError):
        return None


def earlier(timestamp: str, seconds: float) -> str:
    """Return the time *seconds* before *timestamp*, in the same form."""
    return written(parse(timestamp) - timedelta(seconds=seconds))
