"""Ages, as people write and read them: `90s`, `10m`, `2h`, `3d`."""

import re
from contextlib import suppress
from datetime import datetime, timedelta

from workers import clock

_AGE = re.compile(r"([0-9]{1,5})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_age(text: str) -> timedelta:
    """
    Return the age that *text* says.

    Raises:
        ValueError: It is not an age.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise ValueError("must be a whole number and a unit: 90s, 10m, 2h or 3d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def format_age(seconds: float | None) -> str | None:
    """Return an age in the largest unit that gives a number of at least 2; a smaller age is in seconds."""
    if seconds is None:
        return None
    whole = max(0, int(seconds))
    unit = next((unit for unit, size in reversed(_UNITS.items()) if whole >= 2 * size), "s")
    return f"{whole // _UNITS[unit]}{unit}"


def seconds_since(at: str | None, now: datetime) -> float | None:
    """Return how many seconds ago the RFC 3339 time *at* was; None if it is not a time."""
    with suppress(ValueError):
        return (now - clock.parse(at or "")).total_seconds()
    return None
