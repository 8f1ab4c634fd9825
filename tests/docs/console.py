"""Runs the `console` blocks of a page, and compares what is printed with what the page shows."""

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.local.aws import ROOT
from tests.docs.pages import blocks

TIMEOUT_S = 120.0
DUMMY_CARD = "1234123456785678"  # The samples' own, of no card.
# Asked of a person, and what the person of the pages types.
_PROMPTS = {"Card number (not shown):": DUMMY_CARD, "[y/N]:": "y"}


@dataclass(frozen=True, slots=True)
class Shown:
    """A command, and what it prints."""

    command: str
    output: str


def shown(text: str) -> Iterator[Shown]:
    """Yield what the `console` blocks of a page show, in order."""
    for block in blocks(text, "console"):
        for command, output in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            yield Shown(command, output)


def lines(text: str) -> list[str]:
    """Return the lines of an output in no particular order, without what differs from run to run."""
    for pattern, placeholder in (
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+)?Z?", "<time>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>"),
        (r"\b[0-9]+[smhd]\b", "<age>"),
    ):
        text = re.sub(pattern, placeholder, text)
    return sorted(" ".join(line.split()) for line in text.splitlines() if line.strip())


def agree(printed: str, expected: str) -> bool:
    """Tell whether both have the same lines; one that ends in `...` is shown as far as that."""
    found = lines(printed)
    for line in lines(expected):
        start = line.removesuffix("...").rstrip()
        same = next((each for each in found if each == line or (start != line and each.startswith(start))), None)
        if same is None:
            return False
        found.remove(same)
    return not found


def run(command: str, environment: dict[str, str]) -> str:
    """Run an `orders ...` of a page and return what it prints; on a terminal if it asks something."""
    program, *words = shlex.split(command)
    assert program == "orders", command
    arguments = [sys.executable, "-m", "workers.cli", *words]
    if "resolve" in words and "--yes" not in words:
        return _on_terminal(arguments, environment)
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout


def _on_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        arguments, cwd=ROOT, env=environment | {"TERM": "dumb"}, stdin=theirs, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        printed, answered = "", set[str]()
        while chunk := _read(ours):
            printed += chunk
            for prompt, answer in _PROMPTS.items():
                if prompt in printed and prompt not in answered:
                    answered.add(prompt)
                    os.write(ours, f"{answer}\n".encode())
        os.close(ours)
    return printed


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 65536).decode()
    except OSError:  # On Linux, that the other side has left.
        return ""
