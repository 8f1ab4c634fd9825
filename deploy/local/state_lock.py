"""The lock on the state of a local AWS: held by the run that uses it, and by its server until that has saved it."""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from deploy.errors import DeployError

POLL_S = 0.05


def await_lock(descriptor: int, limit_s: float, whose: str, state: Path) -> None:
    """Wait for the lock that `whose` holds. Raises `DeployError` if it is not free within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not take_lock(descriptor):
        if time.monotonic() > deadline:
            raise DeployError(
                f"{whose[0].upper()}{whose[1:]} is using the state in {state}. Stop it first (Ctrl-C there),"
                ' or use it: eval "$(make env)"'
            )
        time.sleep(POLL_S)


def take_lock(descriptor: int) -> bool:
    """Return whether the lock was free, and is ours now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_running(pid: str) -> bool:
    """Return whether a process runs; also if `pid` is not known yet, or is another user's process."""
    try:
        with contextlib.suppress(PermissionError, ValueError):
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True
