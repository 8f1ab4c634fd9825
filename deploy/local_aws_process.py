"""
The local AWS's own process: serves until it is told to stop, or until whoever started it is gone.

It runs under the interpreter of `.venv-local-aws`, started by `deploy.local_aws`, so it imports nothing from the rest
of the project. Its standard input is a pipe whose other end only the starter holds: when the starter dies, however it
dies, the pipe ends, and so does this process, saving its state as after a SIGTERM.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
import time

# Saving its state takes the server well under a second; after this it hangs.
ORPHAN_STOP_S = 10.0


def main(directory: str) -> None:
    """Serve; remove `directory` at the end where the starter is no longer there to do it."""
    lifeline = os.dup(sys.stdin.fileno())
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    orphaned = threading.Event()

    def stop_with_starter() -> None:
        while os.read(lifeline, 1):
            pass
        orphaned.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_STOP_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=stop_with_starter, name="starter-watch", daemon=True).start()
    sys.argv = ["ministack"]
    try:
        runpy.run_module("ministack", run_name="__main__")
    finally:
        if orphaned.is_set():
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
