"""
The files outside `workers` that a local AWS with the stack needs: deployer, templates, state machine, Lambda function.

In a checkout they are where they are. In an installed package they are in `_tree` beside this file, with the same paths
below it; pyproject.toml has the list. They are used by processes of their own only, with `ROOT` on their path, so that
nothing of it can be imported by accident, and a package of yours may be called `deploy` too.
"""

import os
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_PACKAGED = _HERE / "_tree"
ROOT = _PACKAGED if _PACKAGED.is_dir() else _HERE.parents[1]
REQUIREMENTS = ROOT / "requirements-local-aws.txt"
CHECKOUT_PYTHON = ROOT / ".venv-local-aws" / "bin" / "python"


def python_path(*first: Path) -> str:
    """Return a `PYTHONPATH` with which a child process imports what this process does, after what is in *first*."""
    return os.pathsep.join(dict.fromkeys([*map(str, first), *(path for path in sys.path if path), str(Path.cwd())]))
