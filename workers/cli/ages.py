"""Ages, as people write and read them: `90s`, `10m`, `2h`, `3d`."""

import re
from datetime import UTC, datetime, timedelta

import click

_AGE = re.compile(r"([0-9]{1,5})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Age(click.ParamType[timedelta]):
    """An option's value such as `10m`."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _AGE.fullmatch(str(value))
        if match is None:
            self.fail("must be a whole number and a unit: 90s, 10m, 2h or 3d", param, ctx)
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def written(seconds: float | None) -> str | None:
    """Return an age for people, in the largest unit that it has two of."""
    if seconds is None:
        return None
    whole = max(0, int(seconds))
    unit = next((unit for unit, size in reversed(_UNITS.items()) if whole >= 2 * size), "s")
    return f"{whole // _UNITS[unit]}{unit}"


def since(at: str | None, now: datetime) -> float | None:
    """Return how many seconds ago the RFC 3339 time *at* was; None where it is no time."""
    try:
        then = datetime.fromisoformat(at or "")
    except ValueError:
        return None
    return (now - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
