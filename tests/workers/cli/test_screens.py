"""
What the tables and fields of `orders` look like on a terminal of 80 and of 120 columns, with and without colour.

The screens are in screens/*.txt, to be read. Colours are written as `<red>critical</>`. Record them again with

    RECORD_SCREENS=1 .venv/bin/python -m pytest tests/workers/cli/test_screens.py

and read the difference before you commit it.
"""

import contextlib
import importlib
import io
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.workers.cli import screen_data as data
from tests.workers.cli.commands import COMMANDS
from workers import cli
from workers.cli.output import CliError, note
from workers.operations.resolve_many import Plan
from workers.operations.stack import Stack

SCREENS = Path(__file__).parent / "screens"
WIDTHS = (80, 120)
_CODE = re.compile(r"\x1b\[([0-9;]*)m")
_NAMES = {"0": "/", "1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "36": "cyan"}
_MODULES = [importlib.import_module(f"workers.cli.{found.name}") for found in pkgutil.iter_modules(cli.__path__)]
PROGRESSING = [module for module in _MODULES if hasattr(module, "progress")]
WHO = ("--actor", "ada", "--note", "as agreed with the shop on Monday")


class Stream(io.StringIO):
    """Standard output or standard error, on one terminal."""

    def __init__(self, shown: list[str]) -> None:
        super().__init__()
        self._shown = shown

    def write(self, text: str) -> int:
        super().write(text)  # Refuses bytes, by which click finds out what this is.
        self._shown.append(text)
        return len(text)

    def isatty(self) -> bool:
        return True


# Of each screen the command, and what AWS answers.
SCREENS_OF: dict[str, tuple[str, Callable[[], Stack]]] = {
    "list": ("list", data.list_stack),
    "list-found": ("list --since 2d", data.list_stack),
    "list-found-wide": ("list --since 2d --wide", data.list_stack),
    "show": (f"show {data.UUID}", lambda: data.StoryAws().stack()),
    "cases": ("escalations list", data.cases_stack),
    "cases-by-reason": ("escalations list --by reason", data.cases_stack),
    "cases-resolved": ("escalations list --state resolved", data.cases_stack),
    "case": (f"escalations show {data.UUID}", data.cases_stack),
    "case-wide": (f"escalations show {data.UUID} --wide", data.cases_stack),
    "queues": ("queues", data.queues_stack),
    "sweep": ("sweep", data.sweep_stack),
    "sweep-deferred": ("sweep", lambda: data.sweep_stack(Deferred="AGE_UNKNOWN", QueueAgeSeconds=None, Escalated=[])),
    "dead-letters": ("dead-letters list", data.letters_stack),
    "dead-letters-bodies": ("dead-letters list --bodies", data.letters_stack),
    "dead-letters-replay": ("dead-letters replay fulfillment --dry-run", data.letters_stack),
    "resolve-many": (f"escalations resolve {data.UUID} {data.LONGEST} unknown-1 cancel", data.cases_stack),
    "submit": ("submit ORDERS --wait", data.submit_stack),
}


@pytest.fixture(name="orders_file")
def _orders_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.csv").write_text(data.orders_csv(), encoding="utf-8")
    return "orders.csv"


def screen(name: str, columns: int, monkeypatch: pytest.MonkeyPatch, orders_file: str, *, colour: bool) -> str:
    """Return what a terminal shows."""
    line, stack = SCREENS_OF[name]
    words = [orders_file if word == "ORDERS" else word for word in line.split()]
    count = 2 if words[0] in {"escalations", "dead-letters"} else 1
    asks = name == "resolve-many"
    shown = list[str]()
    with monkeypatch.context() as patched:
        data.install_cases(patched)
        patched.setenv("COLUMNS", str(columns))
        patched.setenv("TERM", "xterm")
        patched.delenv("FORCE_COLOR", raising=False)
        patched.setenv("NO_COLOR", "1") if not colour else patched.delenv("NO_COLOR", raising=False)
        patched.setattr(sys, "stdout", Stream(shown))
        patched.setattr(sys, "stderr", Stream(shown))
        for module in PROGRESSING:
            patched.setattr(module, "progress", _no_progress)
        if asks:
            patched.setattr(sys, "stdin", Stream([]))
            patched.setattr(click, "confirm", _confirmed)
            patched.setattr("workers.operations.resolve_many.carry_out", _resolve)
        more = WHO if asks else ()
        try:
            COMMANDS[" ".join(words[:count])].main([*words[count:], *more], obj=stack(), standalone_mode=False)
        except CliError as error:
            note(f"orders: {error}")
    return "".join(shown)


def _confirmed(text: str, **_: Any) -> bool:
    note(f"{text} [y/N]: y")
    return True


@contextlib.contextmanager
def _no_progress(*_: Any, **__: Any) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


async def _resolve(_stack: Stack, planned: Plan, **_: Any) -> None:
    first, *others = planned.open
    first.is_resolved = True
    for step in others:
        step.problem = "the order is already FULFILLED; close closes its case"


def readable(text: str) -> str:
    """Write the codes of colours as names: `<red>critical</>`."""
    return _CODE.sub(lambda code: f"<{' '.join(_NAMES[number] for number in code[1].split(';'))}>", text)


def plain(text: str) -> str:
    return _CODE.sub("", text)


def recorded(name: str, monkeypatch: pytest.MonkeyPatch, orders_file: str) -> str:
    """Return the screens of a command, as its file has them."""
    parts = [f"$ orders {SCREENS_OF[name][0]}"]
    for columns in WIDTHS:
        without = screen(name, columns, monkeypatch, orders_file, colour=False)
        coloured = screen(name, columns, monkeypatch, orders_file, colour=True)
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", without), "NO_COLOR has an effect"
        assert plain(without) == plain(coloured)
        parts += [f"-- {columns} columns", plain(without), f"-- {columns} columns, in colour", readable(coloured)]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


@pytest.mark.parametrize("name", SCREENS_OF)
def test_a_screen_is_as_recorded(name: str, monkeypatch: pytest.MonkeyPatch, orders_file: str) -> None:
    path, shown = SCREENS / f"{name}.txt", recorded(name, monkeypatch, orders_file)
    if os.environ.get("RECORD_SCREENS"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SCREENS_OF if not name.endswith("-wide")])
def test_no_id_is_broken_and_no_line_too_long(name: str, monkeypatch: pytest.MonkeyPatch, orders_file: str) -> None:
    for columns in WIDTHS:
        text = screen(name, columns, monkeypatch, orders_file, colour=False)
        whole = re.sub(r"\s", "", text)
        assert [text.count(each) for each in data.IDS] == [whole.count(each) for each in data.IDS]
        # Only a command that is to be copied, or one word, may be longer: the terminal breaks it.
        long = [line for line in plain(text).splitlines() if len(line) > columns]
        assert [line for line in long if not re.fullmatch(r"\s*(`.*`,?|\S+)", line)] == []
