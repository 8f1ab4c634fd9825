"""
Run a Python module or file as a process that ends when its starter does.

Standard input is a pipe that only the starter holds open. When the starter dies, even by `kill -9`, the pipe closes and
this process stops as it would after a SIGTERM. This file also runs under `.venv-local-aws`, which does not have our
packages, so it imports only the standard library. `workers.testing.children` starts it:

    python lifeline.py DIRECTORY MODULE|FILE.py [ARGUMENT ...]

`DIRECTORY` is the starter's temporary directory, or empty. This process deletes it if the starter was killed and could
not.
"""

import os
import runpy
import shutil
import signal
import sys
import threading
import time

# How long the module may take to stop. After that, its whole process group is killed.
ORPHAN_STOP_S = 15.0


def main() -> None:
    _, directory, module, *arguments = sys.argv
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
    if not sys.flags.safe_path:
        del sys.path[0]  # This file's folder: its modules must not hide installed ones.
    try:
        if module.endswith(".py"):
            runpy.run_path(module, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__")
    finally:
        if orphaned.is_set() and directory:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
