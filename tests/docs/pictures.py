"""
Makes the pictures of the pages, by running the real commands on a local AWS.

    .venv/bin/python -m tests.docs.pictures

Times and ages in them are those of that run; test_pictures.py compares the rest with what the commands print today.
"""

import contextlib
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from fcntl import ioctl
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from deploy.aws import Aws
from deploy.local.aws import ROOT, LocalAws, local_aws
from deploy.progress import Progress
from deploy.stacks import pipeline
from tests.docs.console import DUMMY_CARD
from tests.support import DeployedStack, run_worker
from workers.testing.sdk import REGION

IMAGES = ROOT / "docs" / "images"
COLUMNS = 110
ORDERS = "docs/examples/orders.csv"
RESUBMIT = (
    "resubmit",
    "--price",
    "123",
    "--card-number-stdin",
    "--yes",
    "--actor",
    "ada",
    "--note",
    "price was a typo",
)
TIMEOUT_S = 60.0
# No fonts from elsewhere: a picture on a page may load nothing.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def on_terminal(arguments: list[str], environment: Mapping[str, str]) -> str:
    """Run a command on a terminal of `COLUMNS` columns; return what it prints, colors included."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 100, COLUMNS, 0, 0))
    variables = {**environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    printed = b""
    with subprocess.Popen(arguments, cwd=ROOT, env=variables, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        with contextlib.suppress(OSError):  # On Linux, that the other side has left.
            while chunk := os.read(ours, 65536):
                printed += chunk
        os.close(ours)
    return printed.decode().replace("\r\n", "\n")


@contextlib.contextmanager
def running(aws: LocalAws) -> Iterator[dict[str, str]]:
    """Run stack and workers on *aws*; yields the environment for `orders`."""
    deployment = pipeline.up(Aws.of(aws.client, REGION), "", Progress(quiet=True))
    stack = DeployedStack(aws, "", deployment.outputs)
    environment = stack.worker_environment() | {"WORKER_WAIT_S": "1", "STATE_MACHINE": stack.state_machine_arn}
    with tempfile.TemporaryDirectory() as logs, contextlib.ExitStack() as started:
        for name in ("fulfillment", "escalation"):
            worker = run_worker(name, environment, Path(logs) / f"{name}.log")
            started.callback(worker.kill)
            worker.wait_for("worker.started")
        yield environment


def orders(*arguments: str, environment: Mapping[str, str], stdin: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments],
        cwd=ROOT,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def show() -> str:
    """Have an order escalated, resubmitted and fulfilled; return how `orders show` tells that."""
    with local_aws() as aws, running(aws) as environment:
        orders("submit", ORDERS, "--wait", environment=environment)
        orders("escalations", "resolve", "bike-2", *RESUBMIT, environment=environment, stdin=DUMMY_CARD)
        deadline = time.monotonic() + TIMEOUT_S
        ended = re.compile("bike-2: FULFILLED.*SUCCEEDED, the current one", re.DOTALL)
        while not ended.search(orders("show", "bike-2", environment=environment)):
            if time.monotonic() > deadline:
                raise TimeoutError("bike-2 is not fulfilled")
        return on_terminal([sys.executable, "-m", "workers.cli", "show", "bike-2"], environment)


def demo() -> str:
    printed = on_terminal([sys.executable, "-m", "deploy", "demo"], os.environ)
    return re.sub(r"(?:^  \w.*\(AWS::.*\n)+", "  ...\n", printed, flags=re.MULTILINE)  # Two lines for each resource.


# Each picture by its file, with the command that people type and how it is made.
PICTURES = {
    "orders-show.svg": ("orders show bike-2", show),
    "make-demo.svg": ("make demo", demo),
}


def picture(name: str, command: str, printed: str) -> str:
    """Return a terminal's window as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ {command}\n{printed}".rstrip()))
    svg = console.export_svg(title=command, code_format=FORMAT, unique_id=name.partition(".")[0])
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, (command, make) in PICTURES.items():
        (IMAGES / name).write_text(picture(name, command, make()), encoding="utf-8")
        Console().print(IMAGES / name)


if __name__ == "__main__":
    main()
