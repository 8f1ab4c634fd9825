"""The standard streams, also if the caller has closed them, if their reader has ended, or if their disk is full."""

import contextlib
import os
import sys
from typing import TextIO


def open_closed() -> None:
    """
    Open each standard stream that the caller has closed, as with `>&-`.

    Otherwise the next file or connection would get its number, and what is printed would go there. Standard output then
    fails when it is written, as if it were still closed. Standard error discards everything.
    """
    for name, mode, access in (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY)):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, access)  # It gets the number that is free.
            setattr(sys, name, open(nowhere, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - until the process ends.


def complain(text: str) -> None:
    """Print a line on standard error, if that is possible. Never raises."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - there is nowhere left to report it.
        discard(sys.stderr)


def flush_output() -> OSError | None:
    """
    Flush standard output and standard error. If that fails, discard the rest, and return the error of standard output.

    Otherwise the interpreter would try again at its exit, and report the failure with a traceback.
    """
    failed = None
    try:
        sys.stdout.flush()
    except OSError as error:
        failed = error
        discard(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)
    return failed


def discard(stream: TextIO) -> None:
    """Discard what *stream* has buffered, and everything that is written to it later."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
