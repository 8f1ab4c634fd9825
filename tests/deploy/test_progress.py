"""Progress messages: details only on a terminal, and nothing if quiet."""

import io
import sys

import pytest

from deploy.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "shown"),
    [
        (Terminal, False, "note\n  detail\n"),
        (io.StringIO, False, "note\n"),
        (Terminal, True, ""),
        (io.StringIO, True, ""),
    ],
)
def test_details_are_for_a_terminal(stream: type[io.StringIO], quiet: bool, shown: str) -> None:
    written = stream()
    progress = Progress(written, quiet=quiet)
    progress.note("note")
    progress.detail("detail")
    assert written.getvalue() == shown


def test_progress_goes_to_standard_error() -> None:
    assert Progress().stream is sys.stderr
    assert not Progress().quiet
