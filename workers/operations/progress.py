"""How an operation reports to its caller while it runs."""

from collections.abc import Callable

Progress = Callable[[int], None]  # Called with the number of items done since the last call.
Warn = Callable[[str], None]  # Called with one line for the operator.


def unreported(_: object) -> None:
    """Ignore a report."""
