"""Progress messages for the user, on standard error, so that standard output can be piped."""

import sys
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Progress:
    """
    Writes lines to `stream`.

    Details (every step of every resource) are shown on a terminal only: in a pipe or a CI log they bury the result.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False

    def note(self, text: str) -> None:
        if not self.quiet:
            print(text, file=self.stream, flush=True)

    def detail(self, text: str) -> None:
        if self.stream.isatty():
            self.note(f"  {text}")
