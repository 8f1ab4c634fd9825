"""The exit code of every command of `orders`, in every way in which it can end: the table in docs/json.md."""

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import page, rows, section
from tests.integration.command_line import TIMEOUT_S, CommandLine, ran
from tests.integration.conftest import Running
from tests.integration.pipeline import Pipeline
from tests.support import free_port
from workers.cli.__main__ import main

ACTOR = ["--actor", "ada", "--note", "x", "--yes"]
# Each command, with an id, a file or a selection that matches nothing.
UNKNOWN = [
    ["show", "nowhere"],
    ["cancel", "nowhere", "--yes"],
    ["erase", "nowhere", "--yes"],
    ["requeue", "nowhere"],
    ["escalate", "nowhere", "--note", "x", "--yes"],
    ["escalations", "show", "nowhere"],
    ["escalations", "resolve", "nowhere", "close", *ACTOR],
    ["dead-letters", "list", "--id", "nowhere"],
    ["dead-letters", "replay", "fulfillment", "--id", "nowhere", "--dry-run"],
    ["dead-letters", "discard", "escalation", "--id", "nowhere", "--yes"],
]
EMPTY = [
    ["submit", "{empty}", "--wait"],
    ["list", "--older-than", "9999d"],
    ["escalations", "list", "--older-than", "9999d"],
    ["queues"],
    ["dead-letters", "list", "--order", "nowhere"],
    ["dead-letters", "replay", "fulfillment", "--order", "nowhere", "--dry-run"],
    ["dead-letters", "discard", "fulfillment", "--order", "nowhere", "--yes"],
    ["logs", "{empty}", "--order", "nowhere"],
]
CALLING = [
    ["submit", "{order}"],
    ["list"],
    ["escalations", "list"],
    ["queues"],
    ["dead-letters", "list"],
    ["dead-letters", "replay", "fulfillment", "--yes"],
    ["dead-letters", "discard", "fulfillment", "--yes"],
    *UNKNOWN[:7],
]
# A read and the other kinds of requests. (`submit` first waits for the answer, so that it can say what is done.)
WAITING = [["list"], ["escalations", "list"], ["dead-letters", "replay", "fulfillment", "--yes"], *UNKNOWN[1:2]]
MISUSED = [
    ["submit"],
    ["submit", "{missing}"],
    ["list", "--status", "BOGUS"],
    ["show"],
    ["cancel"],
    ["erase"],
    ["requeue"],
    ["escalate"],
    ["erase", "nowhere"],  # There is no terminal to ask.
    ["escalations", "list", "--reason", "BOGUS"],
    ["escalations", "show"],
    ["escalations", "resolve", "nowhere", "close"],
    ["queues", "Q.fifo"],
    ["dead-letters", "list", "Q.fifo"],
    ["dead-letters", "replay", "fulfillment", "--rate", "0"],
    ["dead-letters", "discard", "fulfillment"],  # There is no terminal to ask.
    ["dead-letters", "discard", "fulfillment", "--execute"],
    ["logs", "{missing}"],
    ["no-command"],
]
ORDER = '{"OrderId": "code-1", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": "1234123412345678"}'


def ids(arguments: list[str]) -> str:
    return " ".join(arguments)


class Called:
    """Calls `orders` in this process, on the stack of the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, files: Path) -> None:
        self.monkeypatch = monkeypatch
        self.files = {"{empty}": files / "empty.csv", "{order}": files / "order.json", "{missing}": files / "missing"}
        self.files["{empty}"].touch()
        self.files["{order}"].write_text(ORDER, encoding="utf-8")
        environment = pipeline.stack.worker_environment() | {"STATE_MACHINE": pipeline.stack.state_machine_arn}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    def named(self, arguments: list[str]) -> list[str]:
        """Return *arguments* with the paths of the files that they name."""
        return [str(self.files.get(argument, argument)) for argument in arguments]

    def __call__(self, arguments: list[str], *more: str) -> int:
        with self.monkeypatch.context() as patched, Path("/dev/null").open(encoding="utf-8") as nothing:
            patched.setattr(sys, "argv", ["orders", *self.named(arguments), *more])
            patched.setattr(sys, "stdin", nothing)
            return main()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, running: Running, tmp_path: Path) -> Called:
    return Called(monkeypatch, running.pipeline, tmp_path)


@pytest.mark.parametrize("arguments", UNKNOWN, ids=ids)
def test_an_unknown_id_is_1_and_named_in_one_line(
    call: Called, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert call(arguments) == 1
    printed = capsys.readouterr()
    assert (printed.out, "nowhere" in printed.err.splitlines()[-1]) == ("", True)


@pytest.mark.parametrize("arguments", EMPTY, ids=ids)
def test_nothing_to_do_is_0(call: Called, arguments: list[str]) -> None:
    assert call(arguments, "--json") == 0


def test_an_aws_that_cannot_be_reached_is_1(call: Called, running: Running) -> None:
    orders, endpoint = CommandLine(running.pipeline.stack), f"http://127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as at_end:
        started = [
            (arguments, at_end.enter_context(orders.start(*call.named(arguments), "--json", AWS_ENDPOINT_URL=endpoint)))
            for arguments in CALLING
        ]
        for arguments, process in started:
            out, err = process.communicate(timeout=TIMEOUT_S)
            ended = ran(process, out, err)
            assert (arguments, ended.code, ended.out) == (arguments, 1, "")
            assert ended.err.splitlines()[-1].startswith("orders: "), ended.err


@pytest.mark.parametrize("arguments", MISUSED, ids=ids)
def test_wrong_usage_is_2(call: Called, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert call(arguments) == 2
    assert capsys.readouterr().out == ""


def test_what_is_done_only_in_part_is_1(call: Called, running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    bad = call.files["{order}"].with_name("bad.jsonl")
    bad.write_text(f"{ORDER}\n{{}}\n", encoding="utf-8")
    assert call(["submit", str(bad)]) == 1
    assert capsys.readouterr().out.endswith("submitted, 1 bad, 0 failed\n")
    pipeline = running.pipeline
    sent = pipeline.client("sqs").send_message(QueueUrl=pipeline.stack.escalation_dlq_url, MessageBody="in part")
    chosen = ["--id", sent["MessageId"], "--id", "nowhere", "--yes"]
    assert call(["dead-letters", "discard", "escalation", *chosen]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].endswith("discarded")
    assert printed.err.splitlines()[-1] == "orders: no dead letter found with the id nowhere"


@contextlib.contextmanager
def silent() -> Iterator[socket.socket]:
    """Listen on a port without ever answering."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        yield server


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_that_waits_for_aws(
    call: Called, running: Running, number: signal.Signals, code: int
) -> None:
    orders = CommandLine(running.pipeline.stack)
    with contextlib.ExitStack() as at_end:
        waiting = []
        for arguments in WAITING:
            server = at_end.enter_context(silent())
            endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
            process = at_end.enter_context(orders.start(*call.named(arguments), AWS_ENDPOINT_URL=endpoint))
            waiting.append((arguments, server, process))
        for _, server, process in waiting:
            at_end.enter_context(server.accept()[0])  # Now the command waits for an answer.
            process.send_signal(number)
        for arguments, _, process in waiting:
            out, err = process.communicate(timeout=TIMEOUT_S)
            ended = ran(process, out, err)
            assert (arguments, ended.code, ended.out) == (arguments, code, "")
            assert ended.err.splitlines()[-1].startswith("orders: interrupted"), ended.err


def test_the_page_has_the_codes() -> None:
    codes = {cells[0] for cells in rows(section(page("docs/json.md"), "Exit codes"))}
    assert codes == {"0", "1", "2", "130", "143"}
