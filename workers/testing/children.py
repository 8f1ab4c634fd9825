"""Child processes that run beside a command and end with it. `lifeline` stops them if this process is killed."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

LIFELINE = Path(__file__).with_name("lifeline.py")


def start(
    python: Path,
    module: str,
    arguments: Sequence[str] = (),
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    directory: Path | None,
    working_directory: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """
    Start `python -m module`, or `python module` if it is a file; its standard output and error go to `output`.

    The child leads its own session. So Ctrl-C in a terminal reaches only its parent, which then stops its children in
    order. `directory` is the parent's temporary directory, if it has one: the child deletes it if the parent is killed.
    """
    return subprocess.Popen(  # noqa: S603 - our own file under one of our own interpreters
        [str(python), str(LIFELINE), str(directory or ""), module, *arguments],
        env=dict(environment),
        cwd=working_directory,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pass_fds,
    )


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM during the block: what ends already, and ends soon, must not be cut short."""
    if threading.current_thread() is not threading.main_thread():  # Only the main thread gets signals.
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """
    Send SIGTERM, wait up to `timeout_s`, then kill what is left of the process group.

    Returns the exit code; it is negative if a signal ended the process.
    """
    try:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()
    return process.returncode
