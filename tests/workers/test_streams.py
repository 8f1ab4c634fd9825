"""The standard streams of a process that its caller has closed, or that take no more."""

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from deploy.local.aws import ROOT
from workers.streams import complain, discard, flush_output, open_closed


def full_device() -> TextIO:
    return open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123 - the caller closes it.


def test_output_that_cannot_be_flushed_is_returned_once_and_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_device() as full, full_device() as errors, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        patched.setattr(sys, "stderr", errors)
        print("x", end="")  # noqa: T201
        print("y", end="", file=sys.stderr)  # noqa: T201
        failed = flush_output()
        assert failed is not None
        assert failed.strerror == "No space left on device"
        assert flush_output() is None
    # Closing both has flushed them again, as the interpreter does at its exit: no error.


def test_output_that_can_be_written_is_flushed(capsys: pytest.CaptureFixture[str]) -> None:
    print("x")  # noqa: T201
    assert flush_output() is None
    assert capsys.readouterr().out == "x\n"


def test_a_complaint_is_a_line_or_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    complain("the disk is full")
    assert capsys.readouterr().err == "the disk is full\n"
    for stream in (full_device(), None):
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", stream)
            complain("nobody reads this")
        if stream is not None:
            stream.close()


def test_a_stream_without_a_descriptor_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    discard(sys.stdout)
    print("x")  # noqa: T201
    assert capsys.readouterr().out == "x\n"


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_the_caller_has_closed_is_opened(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with monkeypatch.context() as patched:
        others = {other: getattr(sys, other) for other in ("stdin", "stdout", "stderr") if other != name}
        patched.setattr(sys, name, None)
        open_closed()
        assert {other: getattr(sys, other) for other in others} == others
        with contextlib.closing(getattr(sys, name)) as opened:
            if name == "stdin":
                assert opened.read() == ""
                return
            opened.write("Zo\u00eb")
            with pytest.raises(OSError, match="Bad file descriptor") if name == "stdout" else contextlib.nullcontext():
                opened.flush()
            discard(opened)


def test_what_is_discarded_keeps_no_file_open() -> None:
    with full_device() as full:
        before = sorted(Path("/proc/self/fd").iterdir())
        discard(full)
        assert sorted(Path("/proc/self/fd").iterdir()) == before


SCRIPT = """
import os, sys
from workers.streams import flush_output, open_closed

open_closed()
number = os.open(os.devnull, os.O_RDONLY)
read = sys.stdin.read()
print("out")
print("err", file=sys.stderr)
failed = flush_output()
os._exit(0 if (number > 2, read, failed and failed.strerror) == (True, "", REASON) else 1)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("closed", "reason"),
    [("<&-", None), (">&-", "Bad file descriptor"), ("2>&-", None), ("<&- >&- 2>&-", "Bad file descriptor")],
)
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, reason: str | None) -> None:
    command = ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, SCRIPT.replace("REASON", repr(reason))]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60
    )
    assert (ran.returncode, "Traceback" in ran.stderr) == (0, False)
