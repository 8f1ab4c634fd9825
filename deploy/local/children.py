"""Processes of ours that run beside a command and end with it: see `lifeline` for how."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
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
    directory: Path,
    working_directory: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """
    Start `python -m module`, its standard output and error going to `output`.

    It leads a session of its own: a terminal's Ctrl-C reaches only us, and we stop what we started in order.
    """
    return subprocess.Popen(  # noqa: S603 - our own file under an interpreter of ours
        [str(python), str(LIFELINE), str(directory), module, *arguments],
        env=dict(environment),
        cwd=working_directory,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=pass_fds,
    )


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """
    Send SIGTERM, wait, and kill what is left of its process group after `timeout_s`.

    Returns the exit code, negative where a signal ended it.
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
