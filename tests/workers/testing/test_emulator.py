"""The environment of the local AWS: made once, by one process, and again after a failure."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from workers.testing import emulator
from workers.testing.errors import SetupError


class Commands:
    """Stands for venv and pip: records the commands, and returns `failing` for one that contains `at`."""

    def __init__(self, output: str = "", at: str = "nothing") -> None:
        self.commands: list[list[str]] = []
        self.output = output
        self.at = at

    def __call__(self, command: Sequence[str], lock: int) -> "subprocess.CompletedProcess[str]":
        self.commands.append(list(command))
        os.fstat(lock)
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True, exist_ok=True)
            (Path(command[-1]) / "bin" / "python").touch()
        return subprocess.CompletedProcess(command, int(self.at in command), "", self.output)


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("ministack==1\n", encoding="utf-8")
    return path


def test_it_is_made_once_and_that_is_said(tmp_path: Path, requirements: Path) -> None:
    run, notes = Commands(), list[str]()
    cache = tmp_path / "users" / "cache"

    python = emulator.install(cache, requirements, notes.append, run)
    folder = cache / f"local-aws-{emulator.key(requirements)}"
    (cache / f"{folder.name}.lock").unlink()
    (cache / f"{folder.name}.lock").mkdir()  # It is not locked again.
    again = emulator.install(cache, requirements, notes.append, run)

    assert python == again == folder / "bin" / "python"
    assert [command[1:3] for command in run.commands] == [["-m", "venv"], ["-m", "pip"]]
    assert run.commands[1][-3:] == ["--require-hashes", "--requirement", str(requirements)]
    assert notes == [f"Installing the local AWS in {folder}, once; it takes about a minute ..."]


def test_other_requirements_are_another_environment(tmp_path: Path, requirements: Path) -> None:
    before = emulator.install(tmp_path, requirements, lambda _: None, Commands())
    requirements.write_text("ministack==2\n", encoding="utf-8")
    assert emulator.install(tmp_path, requirements, lambda _: None, Commands()) != before


def test_another_interpreter_needs_another_environment_but_not_its_next_patch(
    requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = []
    for version in ((3, 11, 7), (3, 11, 8), (3, 12, 8)):
        monkeypatch.setattr("sys.version_info", version)
        keys.append(emulator.key(requirements))
    assert keys[0] == keys[1] != keys[2]
    assert [len(key) for key in keys] == [16] * 3
    monkeypatch.setattr("sys.base_prefix", "/elsewhere")
    assert emulator.key(requirements) not in keys


def test_without_a_network_one_line_says_what_to_do_and_the_next_run_tries_again(
    tmp_path: Path, requirements: Path
) -> None:
    output = "WARNING: Retrying\nERROR: No matching distribution found for ministack==1\n[notice] a new pip\n"

    with pytest.raises(SetupError) as raised:
        emulator.install(tmp_path, requirements, lambda _: None, Commands(output, at="pip"))
    assert str(raised.value) == (
        f"The local AWS cannot be installed in {tmp_path}/local-aws-{emulator.key(requirements)}: No matching "
        "distribution found for ministack==1. It needs the package index, once; or let AWS_ENDPOINT_URL point to one "
        "that runs already"
    )
    repeated = Commands()
    emulator.install(tmp_path, requirements, lambda _: None, repeated)
    assert "--clear" in repeated.commands[0]


def test_the_last_line_says_why_pip_crashed(tmp_path: Path, requirements: Path) -> None:
    output = "ERROR: Exception:\nTraceback (most recent call last):\nDeprecationWarning: old\n"
    with pytest.raises(SetupError, match=r": DeprecationWarning: old\. It needs the package index"):
        emulator.install(tmp_path, requirements, lambda _: None, Commands(output, at="pip"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, requirements: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"cannot be installed in .*file/local-aws-.*: File exists\. XDG_CACHE_HOME"):
        emulator.install(tmp_path / "file", requirements, lambda _: None, Commands())


def test_of_two_at_once_the_second_waits_and_makes_nothing(tmp_path: Path, requirements: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()
    first, second = Commands(), Commands()

    def slow(command: Sequence[str], lock: int) -> "subprocess.CompletedProcess[str]":
        begun.set()
        assert go_on.wait(60)
        return first(command, lock)

    threads = [threading.Thread(target=emulator.install, args=(tmp_path, requirements, lambda _: None, slow))]
    threads[0].start()
    assert begun.wait(60)
    threads.append(threading.Thread(target=emulator.install, args=(tmp_path, requirements, lambda _: None, second)))
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert (len(first.commands), second.commands) == (2, [])


@pytest.mark.parametrize("given", ["", "relative"])
def test_the_cache_is_in_the_users_cache_folder(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert emulator.cache_folder({"XDG_CACHE_HOME": given}) == Path("/home/ada/.cache/order-fulfillment-workers")
    assert emulator.cache_folder({"XDG_CACHE_HOME": "/cache"}) == Path("/cache/order-fulfillment-workers")


def test_without_a_home_directory_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    with pytest.raises(SetupError, match="no home directory to install the local AWS in: set XDG_CACHE_HOME"):
        emulator.cache_folder({"XDG_CACHE_HOME": "relative"})


def test_it_is_made_again_if_its_interpreter_was_removed(tmp_path: Path, requirements: Path) -> None:
    python = emulator.install(tmp_path, requirements, lambda _: None, Commands())
    python.unlink()
    python.symlink_to(tmp_path / "an interpreter that was there")
    with pytest.raises(SetupError):
        emulator.install(tmp_path, requirements, lambda _: None, Commands(at="pip"))
    again = Commands()
    emulator.install(tmp_path, requirements, lambda _: None, again)
    assert "--clear" in again.commands[0]


@pytest.mark.parametrize("exists", [True, False])
def test_in_a_checkout_it_is_that_of_make_setup(
    tmp_path: Path, requirements: Path, monkeypatch: pytest.MonkeyPatch, *, exists: bool
) -> None:
    checkout = tmp_path / "checkout" / "python"
    if exists:
        checkout.parent.mkdir()
        checkout.touch()
    monkeypatch.setattr(emulator, "CHECKOUT_PYTHON", checkout)
    monkeypatch.setattr(emulator, "REQUIREMENTS", requirements)
    monkeypatch.setattr(emulator, "_run", Commands())
    found = emulator.installed_python(lambda _: None, {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    folder = tmp_path / "cache" / "order-fulfillment-workers" / f"local-aws-{emulator.key(requirements)}"
    assert found == (checkout if exists else folder / "bin" / "python")


def test_a_command_gets_no_settings_of_python_and_its_output_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda command, **given: (command, given))
    monkeypatch.setattr("os.environ", {"PYTHONWARNINGS": "error", "HOME": "/home/ada"})
    ran: Any = emulator._run(["pip"], 7)
    given = {"env": {"HOME": "/home/ada"}, "capture_output": True, "text": True, "errors": "replace"}
    assert ran == (["pip"], given | {"check": False, "pass_fds": [7]})


@pytest.mark.process
def test_the_commands_hold_the_lock_so_that_those_of_a_killed_process_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")  # pip would fail.
    with (tmp_path / "lock").open("a") as lock:
        done = emulator._run(
            [sys.executable, "-c", f"import os, sys; os.fstat({lock.fileno()}); assert not sys.warnoptions"],
            lock.fileno(),
        )
    assert done.returncode == 0, done.stderr
