"""Installs the local AWS in an environment of its own, when it is needed for the first time."""

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from workers.testing.errors import SetupError
from workers.testing.tree import CHECKOUT_PYTHON, REQUIREMENTS

Run = Callable[[Sequence[str], int], "subprocess.CompletedProcess[str]"]


def installed_python(note: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Path:
    """
    Return the interpreter that has the local AWS. Without one, install it in the cache folder, which takes a minute.

    In a checkout, that is the environment of `make setup`. Other processes that need it meanwhile wait.

    Raises:
        SetupError: It cannot be installed.
    """
    if CHECKOUT_PYTHON.exists():
        return CHECKOUT_PYTHON
    return install(cache_folder(environ), REQUIREMENTS, note)


def install(cache: Path, requirements: Path, note: Callable[[str], None], run: Run | None = None) -> Path:
    """
    Return the interpreter of the environment in *cache* that has *requirements*; make the environment if it is missing.

    The folder's name has the hash of the requirements and of the interpreter, so that an update makes another one. An
    environment whose installation was interrupted is made again.

    Raises:
        SetupError: It cannot be installed.
    """
    folder = cache / f"local-aws-{key(requirements)}"
    python, complete = folder / "bin" / "python", folder / ".installed"

    def is_there() -> bool:  # The interpreter that it was made with may have been removed since.
        return complete.exists() and python.exists()

    if is_there():
        return python
    try:
        with _locked(cache, folder.name) as lock:
            if not is_there():  # Another process may have made it meanwhile.
                note(f"Installing the local AWS in {folder}, once; it takes about a minute ...")
                complete.unlink(missing_ok=True)
                _make(folder, requirements, run or _run, lock)
                complete.touch()
    except OSError as error:
        why = f"{error.strerror or error}. XDG_CACHE_HOME may name another folder for it"
        raise SetupError(f"The local AWS cannot be installed in {folder}: {why}") from error
    return python


def cache_folder(environ: Mapping[str, str]) -> Path:
    """
    Return the folder of this package in the user's cache, as the XDG base directory specification names it.

    Raises:
        SetupError: The user has none.
    """
    base = Path(environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".cache"
        except RuntimeError:  # For example in a container, with a user id that has no name.
            raise SetupError("There is no home directory to install the local AWS in: set XDG_CACHE_HOME") from None
    return base / "order-fulfillment-workers"


def key(requirements: Path) -> str:
    """Return what is the same for environments of the same requirements and the same interpreter."""
    version = ".".join(map(str, sys.version_info[:2]))
    text = b"\0".join([requirements.read_bytes(), version.encode(), sys.base_prefix.encode()])
    return hashlib.sha256(text).hexdigest()[:16]


@contextlib.contextmanager
def _locked(cache: Path, name: str) -> Iterator[int]:
    """Hold the lock on an environment; yield its descriptor. It ends with the last process that has the descriptor."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _make(folder: Path, requirements: Path, run: Run, lock: int) -> None:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2")
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(folder / "bin" / "python"), *pip, "--require-hashes", "--requirement", str(requirements)],
    ):
        done = run(command, lock)
        if done.returncode:
            raise SetupError(
                f"The local AWS cannot be installed in {folder}: {_reason(done)}. It needs the package index, once; "
                "or let AWS_ENDPOINT_URL point to one that runs already"
            )


def _run(command: Sequence[str], lock: int) -> "subprocess.CompletedProcess[str]":
    """Run a command, which holds the lock, too: it goes on writing if this process is killed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(  # noqa: S603 - ours
        command, env=environment, capture_output=True, text=True, errors="replace", check=False, pass_fds=[lock]
    )


def _reason(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the last error of pip or venv, without its trailing full stop."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") and line != "ERROR: Exception:"] or lines
    return errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else f"exit code {done.returncode}"
