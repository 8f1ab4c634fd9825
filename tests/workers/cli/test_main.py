"""Whatever ends a command is one line and an exit code; wrong usage names what was wrong."""

import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import click
import pytest

from workers.cli.__main__ import main
from workers.cli.app import orders
from workers.cli.output import CliError, InterruptedCommandError
from workers.cli.running import run as run_coroutine
from workers.errors import FatalError
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

CARD = "4929123412345678"
CODES = (
    "Exit codes: 0 done, or nothing to do; 1 failed, only partly done, or not found; 2 bad usage; 130 Ctrl-C;"
    " 143 SIGTERM."
)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["orders", *arguments])
    code = main()
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sumbit"], "orders: No such command 'sumbit' (see `orders --help`)"),
        (["submit"], "orders submit: Missing argument 'FILE|-...' (see `orders submit --help`)"),
        (
            ["submit", "-", "--submission", "0"],
            "orders submit: Invalid value for '--submission': 0 is not in the range 1<=x<=999999 (see `orders submit",
        ),
        (
            ["submit", "-", "none"],
            "orders submit: Invalid value for 'FILE|-...': File 'none' does not exist (see `orders",
        ),
        (
            ["submit", "-", "--check", "--wait"],
            "orders submit: --check submits nothing, so there is nothing to --wait for",
        ),
        (["list", "more"], "orders list: Got unexpected extra argument (more)"),
        (["list", "--status", "x"], "orders list: Invalid value for '--status': 'x' must be one of RECEIVED"),
        (["show", "--log", CARD], "orders show: No such option '--log'. Did you mean '--logs'? (see `orders show"),
        (
            ["dead-letters", "replay"],
            "orders dead-letters replay: Missing argument '{fulfillment|escalation|QUEUE}'. Choose from: fulfillment",
        ),
        (
            ["escalations", "resolve", "1", "cancel", "--actor", "ada"],
            "orders escalations resolve: missing --note TEXT: stored on the case",
        ),
        (["escalations", CARD], "orders escalations: No such command '****'"),
    ],
)
def test_wrong_usage_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(line)


def test_without_arguments_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: orders [OPTIONS] COMMAND")
    assert "Commands:" in err
    assert " ".join(err.split()).endswith(CODES)


HELP = [
    ("submit", "Submit the orders of a file, each once."),
    ("bulk", "List and show intakes: orders that are submitted in bulk."),
    ("list", "List the open orders."),
    ("show", "Show the whole story of one order."),
    ("cancel", "Cancel an order that is not fulfilled yet."),
    ("requeue", "Send the message of an order to the workers again."),
    ("escalate", "Escalate an order that hangs."),
    ("sweep", "Show the last sweep of stuck orders, or start one."),
    ("erase", "Erase a person's data: an order and its cases."),
    ("status", "Show the whole system on one screen."),
    ("escalations", "List, show and resolve escalation cases."),
    ("workers", "Pause and resume the workers of a queue."),
    ("queues", "Show the queues and their dead-letter queues."),
    ("dead-letters", "List, replay or discard dead letters."),
    ("logs", "Show the workers' log lines in a readable form."),
    ("completion", "Print what completes `orders` in a shell."),
]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_lists_every_command_and_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = run(monkeypatch, capsys, option)
    assert (code, err) == (0, "")
    listed = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [tuple(line.split(maxsplit=1)) for line in listed] == HELP
    assert max(map(len, out.splitlines())) <= 120
    assert CODES in " ".join(out.split())
    assert orders.list_commands(click.Context(orders)) == [name for name, _ in HELP]


@pytest.mark.parametrize(("name", "_summary"), HELP)
def test_every_command_is_found_by_its_name(name: str, _summary: str) -> None:
    command = orders.get_command(click.Context(orders), name)
    assert command is not None
    assert command.name == name


def ending(monkeypatch: pytest.MonkeyPatch, end: Callable[[], object]) -> list[dict[str, object]]:
    """Let every command end as *end* does; return what it was called with."""
    calls: list[dict[str, object]] = []

    def command(**given: object) -> object:
        calls.append(given)
        return end()

    monkeypatch.setattr(orders, "main", command)
    return calls


def raising(error: BaseException) -> Callable[[], object]:
    def end() -> object:
        raise error

    return end


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (2, 2), ("text", 0)])
def test_a_command_returns_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: object, code: int
) -> None:
    calls = ending(monkeypatch, lambda: result)
    assert run(monkeypatch, capsys) == (code, "", "")
    (given,) = calls
    assert isinstance(given.pop("obj"), Stack)
    assert given == {"prog_name": "orders", "standalone_mode": False}


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CliError("3 of 5 failed"), 1, "orders: 3 of 5 failed"),
        (InterruptedCommandError("interrupted: 2 done"), 130, "orders: interrupted: 2 done"),
        (click.Abort(), 130, "orders: interrupted; the command can be repeated"),
        (KeyboardInterrupt(), 130, "orders: interrupted; the command can be repeated"),
        (OperationError("there is no queue Q"), 1, "orders: there is no queue Q"),
        (FatalError(f"card {CARD}"), 1, "orders: card ****"),
        (
            FileNotFoundError(2, "No such file or directory", "orders.csv"),
            1,
            "orders: orders.csv: No such file or directory",
        ),
        (OSError(28, "No space left on device"), 1, "orders: standard output: No space left on device"),
        (OSError(5, "Input/output error"), 1, "orders: input or output: Input/output error"),
        (click.ClickException("it is broken."), 1, "orders: it is broken (see `orders --help`)"),
        (click.UsageError("say --yes."), 2, "orders: say --yes"),
    ],
    ids=repr,
)
def test_an_error_is_one_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    ending(monkeypatch, raising(error))
    assert run(monkeypatch, capsys) == (code, "", f"{line}\n")


def test_ctrl_c_while_the_command_is_imported_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "workers.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "workers.cli.main", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting, *sys.meta_path])
    assert run(monkeypatch, capsys) == (130, "", "orders: interrupted; the command can be repeated\n")


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN])
def test_sigterm_ends_a_command_as_ctrl_c_does_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ctrl_c: signal.Handlers
) -> None:
    """A shell script ignores Ctrl-C for what it starts in the background, but not SIGTERM."""
    cleaned_up = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(True)

    before = signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, ctrl_c)
    try:
        ending(monkeypatch, lambda: run_coroutine(Stack(environ={}), work()))
        assert run(monkeypatch, capsys) == (143, "", "orders: interrupted; the command can be repeated\n")
    finally:
        assert (signal.getsignal(signal.SIGTERM), signal.signal(signal.SIGINT, before[1])) == (before[0], ctrl_c)
    assert cleaned_up == [True]


@pytest.mark.process
def test_the_entry_point_itself_imports_next_to_nothing() -> None:
    """Python prints a traceback if Ctrl-C comes before its `main` runs."""
    script = "import sys; before = set(sys.modules); import workers.cli.__main__; print(*set(sys.modules) - before)"
    imported = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(imported.split()) == {"workers", "workers.cli", "workers.cli.__main__"}


def test_an_internal_error_shows_its_traceback_without_card_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ending(monkeypatch, raising(KeyError(CARD)))
    code, out, err = run(monkeypatch, capsys)
    assert (code, out) == (1, "")
    *traceback, last = err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert "KeyError: '****'" in traceback
    assert last == "orders: internal error: KeyError"


@pytest.mark.parametrize(
    ("error", "terminal", "shown"),
    [
        (InterruptedCommandError("x"), True, "\norders: x\n"),
        (InterruptedCommandError("x"), False, "orders: x\n"),
        (CliError("x"), True, "orders: x\n"),
    ],
)
def test_a_terminals_line_with_the_ctrl_c_is_ended_first(
    monkeypatch: pytest.MonkeyPatch, error: CliError, terminal: bool, shown: str
) -> None:
    class Output(io.TextIOWrapper):
        def isatty(self) -> bool:
            return terminal

    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", Output(written, encoding="utf-8", write_through=True))
    ending(monkeypatch, raising(error))
    assert main() == error.exit_code
    assert written.getvalue().decode() == shown


def test_output_that_is_written_late_can_fail_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Disk(io.TextIOWrapper):
        full = False

        def flush(self) -> None:
            if self.full:
                raise OSError(28, "No space left on device")

    disk = Disk(io.BytesIO())
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", disk)
        ending(patched, lambda: setattr(disk, "full", True))
        assert main() == 1
    disk.full = False
    assert capsys.readouterr().err == "orders: standard output: No space left on device\n"


def test_output_that_fails_while_it_is_written_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", full)
        ending(patched, lambda: print("x" * 100_000))  # noqa: T201
        assert main() == 1
    assert capsys.readouterr().err == "orders: standard output: No space left on device\n"


def test_a_reader_that_has_ended_is_exit_code_1_without_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as pipe, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", pipe)
        ending(patched, lambda: print("x"))  # noqa: T201
        assert main() == 1
    assert capsys.readouterr().err == "", "and what is still in its buffer is discarded"


def test_what_a_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
    for name, stream in written.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding="latin-1", write_through=True))
    ending(monkeypatch, lambda: (sys.stdout.write("東"), sys.stderr.write("京")))
    assert main() == 0
    assert (written["stdout"].getvalue(), written["stderr"].getvalue()) == (b"\\u6771", b"\\u4eac")


def test_streams_that_the_caller_has_closed_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)

    def read_and_print() -> None:
        assert sys.stdin.read() == ""
        print("y", file=sys.stderr)  # noqa: T201

    ending(monkeypatch, read_and_print)
    assert main() == 0
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_closed_standard_output_is_exit_code_1_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", None)  # As with `>&-`.
        ending(patched, lambda: print("x"))  # noqa: T201
        assert main() == 1
        sys.stdout.close()
    assert capsys.readouterr().err == "orders: standard output: Bad file descriptor\n"
