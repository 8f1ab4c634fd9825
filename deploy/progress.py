"""Progress messages for the user, on standard error, so that standard output can be piped."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

SHOWN_AFTER_S = 2.0
REPEATED_AFTER_S = 10.0


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

    @contextlib.contextmanager
    def waiting(self, text: str, after_s: float = SHOWN_AFTER_S) -> Iterator[None]:
        """Note `text`, which says what is waited for, if the block takes longer than `after_s`, and then repeatedly."""
        ended = threading.Event()

        def remind() -> None:
            waited_s, next_s = 0.0, after_s
            while not ended.wait(next_s):
                waited_s, next_s = waited_s + next_s, REPEATED_AFTER_S
                self.note(f"{text} ({waited_s:.0f} s so far)")

        reminding = threading.Thread(target=remind, name="waiting", daemon=True)
        reminding.start()
        try:
            yield
        finally:
            ended.set()
            reminding.join()

    def detail(self, text: str) -> None:
        if self.stream.isatty():
            self.note(f"  {text}")
