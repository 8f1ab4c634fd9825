"""Progress messages: details only on a terminal, and nothing if quiet."""

import io
import sys
import threading

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


def test_what_takes_long_says_what_it_waits_for() -> None:
    written, shown = io.StringIO(), threading.Event()

    class Watched(Progress):
        def note(self, text: str) -> None:
            super().note(text)
            shown.set()

    with Watched(written).waiting("Waiting for the printer", 0.01):
        assert shown.wait(30)
    assert written.getvalue().startswith("Waiting for the printer (0 s so far)\n")


def test_what_is_quick_says_nothing() -> None:
    written = io.StringIO()
    with Progress(written).waiting("Waiting", 300):
        (reminding,) = (thread for thread in threading.enumerate() if thread.name == "waiting")
        assert reminding.daemon, "a second Ctrl-C does not wait for it"
    assert not reminding.is_alive()
    assert written.getvalue() == ""


def test_a_note_is_written_at_once() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(io.BufferedWriter(written))
    Progress(stream).note("note")
    assert written.getvalue() == b"note\n"


def test_progress_goes_to_standard_error() -> None:
    assert Progress().stream is sys.stderr
    assert not Progress().quiet
