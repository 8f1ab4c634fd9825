"""
Runs a worker as `python -m workers` does, except that it keeps its queue's visibility timeout even below 30 s.

Tests that wait until a message is visible again start workers with `SHORT_VISIBILITY` in their environment.
"""

import sys

import workers.wiring
from workers.__main__ import main

if __name__ == "__main__":
    workers.wiring.MIN_VISIBILITY_TIMEOUT_S = 1
    sys.exit(main())
