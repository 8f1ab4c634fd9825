"""Tells who sends something to a queue that it is paused."""

from typing import TYPE_CHECKING

from workers.cli.output import note
from workers.cli.running import run

if TYPE_CHECKING:
    from workers.operations.stack import Stack


def note_pause(stack: "Stack", queue: str) -> None:
    """Print a note if *queue*, a name, URL or ARN, is paused."""
    from workers.operations.pauses import pause_warning  # noqa: PLC0415 - the SDK takes a while to import.

    if (text := run(stack, pause_warning(stack, queue))) is not None:
        note(text)
