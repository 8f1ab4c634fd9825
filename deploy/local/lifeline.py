"""
Runs a Python module as a process that never outlives its starter.

Its standard input is a pipe whose other end only the starter holds: when the starter dies, however it dies (`kill -9`
included), the pipe ends and this process stops as after a SIGTERM. It runs under other projects' interpreters too
(`.venv-local-aws`), so it imports nothing of ours. Started by `deploy.local.children`:

    python lifeline.py DIRECTORY MODULE [ARGUMENT ...]

`DIRECTORY` is the starter's temporary one, removed here only where the starter no longer can.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
import time

# For the module's own clean stop; after this it hangs and its whole process group is killed.
ORPHAN_STOP_S = 15.0


def main(directory: str, module: str, arguments: list[str]) -> None:
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

    threading.Thread(target=stop_with_starter, name="lifeline", daemon=True).start()
    sys.argv = [module, *arguments]
    del sys.path[0]  # This file's folder, whose modules must not shadow those of the other project.
    try:
        runpy.run_module(module, run_name="__main__")
    finally:
        if orphaned.is_set():
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
