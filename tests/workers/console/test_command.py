"""The command line: what it prints, and how it ends."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace

import click
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from tests.workers.console.site import LOCAL
from tests.workers.operations.status_world import World
from workers.console import __main__ as entry
from workers.console import command as command_module
from workers.console import main
from workers.console.app import application
from workers.console.command import _listen, _unless
from workers.console.console import Console, Place
from workers.errors import UnreadableOrderError
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

NAME = "python -m workers.console"
TOKEN = "t" * 22
HINT = f" (see `{NAME} --help`)"
WARNING = "Warning: other machines may reach the console."


FLUSHED = list[bool]()


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the console find a local AWS, and no setting of the developer's own."""

    async def endpoints(_: Stack) -> list[str]:
        return ["http://127.0.0.1:4566"]

    monkeypatch.setattr(Stack, "endpoints", endpoints)
    monkeypatch.setattr(command_module, "Stack", lambda: World().stack())
    monkeypatch.setattr("workers.logs.configure", lambda **_: SimpleNamespace(flush=lambda: FLUSHED.append(True)))
    for name in ("LOG_FORMAT", "LOG_LEVEL", "WORKER_HEALTH_URLS", "ORDERS_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONSOLE_TOKEN", TOKEN)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Console]:
    """The consoles that are started; a signal ends each as soon as it listens."""
    made: list[Console] = []

    def served(console: Console) -> web.Application:
        made.append(console)
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)
        return application(console)

    monkeypatch.setattr(command_module, "application", served)
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main.run(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_it_prints_its_address_and_ends_when_it_is_asked_to(
    started: list[Console], capsys: pytest.CaptureFixture[str]
) -> None:
    FLUSHED.clear()
    with capture_logs() as lines:
        code, out, err = run(capsys, "--port", "0", "--actor", "grace", "--worker", "fulfillment=http://127.0.0.1:8081")
    (console,) = started
    assert (FLUSHED, lines[0]["place"]) == ([True], "local AWS · 127.0.0.1:4566")
    address = f"http://127.0.0.1:{console.guard.port}/"
    assert (code, out, err) == (0, f"The console is at {address}?token={TOKEN}\n", "")
    assert [line["event"] for line in lines] == ["console.started", "console.stopped"]
    assert (lines[0]["url"], lines[0]["can_write"], TOKEN in str(lines)) == (address, True, False)
    assert (console.actor, [each.worker for each in console.endpoints]) == ("grace", ["fulfillment"])
    assert console.guard.is_host(f"localhost:{console.guard.port}")


def test_very_many_calls_at_once_are_no_lines_of_its_log(
    started: list[Console], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pool = HTTPConnectionPool("127.0.0.1", maxsize=1)
    run(capsys, "--port", "0")
    for _ in range(2):
        pool._put_conn(HTTPConnection("127.0.0.1"))
    assert started
    assert caplog.messages == []


def test_a_supervised_console_prints_no_token(
    started: list[Console], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    with capture_logs():
        assert run(capsys, "--port", "0") == (0, "", "")
    assert len(started) == 1


def test_without_a_token_each_start_has_one_of_its_own(
    started: list[Console], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONSOLE_TOKEN")
    for _ in range(2):
        assert run(capsys, "--port", "0")[0] == 0
    first, second = (console.guard.token for console in started)
    assert first != second
    assert len(first) > 40


def test_other_machines_are_warned_of(started: list[Console], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--port", "0", "--host", "0.0.0.0")
    assert (code, err.startswith(WARNING), "none is given" in err) == (0, True, True)
    code, _, err = run(capsys, "--port", "0", "--host", "0.0.0.0", "--allowed-host", "console.example")
    assert (code, err.startswith(WARNING), "none is given" in err) == (0, True, False)
    assert started[1].guard.is_host("console.example")
    assert not started[0].guard.is_host("console.example")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--port", "99999"], f"Invalid value for '--port': 99999 is not in the range 0<=x<=65535{HINT}"),
        (
            ["--allowed-host", "http://a"],
            f"Invalid value for '--allowed-host': 'http://a' is not a host name, with a port or without{HINT}",
        ),
        (["--no-such"], f"No such option '--no-such'.{HINT}"),
        (["extra"], "Got unexpected extra argument (extra)"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.replace("'.", "'").replace("option: ", "option ") == f"{NAME}: {problem}\n".replace("'.", "'")


def test_a_wrong_variable_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")
    assert run(capsys) == (1, "", f"{NAME}: LOG_LEVEL is 'loud', must be DEBUG, INFO, WARNING or ERROR\n")
    monkeypatch.setenv("CONSOLE_TOKEN", "x")
    problem = "CONSOLE_TOKEN must have 22 to 256 characters, all of them letters, digits, - or _"
    assert run(capsys) == (2, "", f"{NAME}: {problem}\n")


def test_a_wrong_name_of_a_resource_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "Stack", lambda: World(environ={"STATE_MACHINE": "a b"}).stack())
    problem = "STATE_MACHINE is 'a b', must be the name or the ARN of a state machine"
    assert run(capsys) == (1, "", f"{NAME}: {problem}\n")


def test_where_it_cannot_listen_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run(capsys, "--port", str(port))
    assert code == 1
    assert err == (
        f"{NAME}: it cannot listen on 127.0.0.1 at port {port}: Address already in use (--port chooses another one)\n"
    )
    for host, why in (("a..b", "there is no such host"), ("192.0.2.1", "Cannot assign requested address")):
        code, _, err = run(capsys, "--host", host)
        assert code == 1
        assert err.splitlines()[1] == f"{NAME}: it cannot listen on {host} at port 8090: {why} (see --host)"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermissionError(errno.EACCES, "x"), "Permission denied (--port chooses another one)"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "Cannot assign requested address (see --host)"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "there is no such host (see --host)"),
        (UnicodeError(), "there is no such host (see --host)"),
    ],
)
def test_why_it_cannot_listen_is_said_with_what_helps(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("socket.create_server", refuse)
    with pytest.raises(OperationError) as raised:
        _listen("127.0.0.1", 80)
    assert str(raised.value) == f"it cannot listen on 127.0.0.1 at port 80: {why}"


def test_an_address_of_ipv6_is_in_brackets(
    started: list[Console], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_module, "_listen", lambda *_: socket.create_server(("127.0.0.1", 0)))
    with capture_logs():
        _, out, _ = run(capsys, "--host", "fe80::1")
    (console,) = started
    assert out == f"The console is at http://[fe80::1]:{console.guard.port}/?token={TOKEN}\n"
    assert console.guard.is_host(f"[fe80::1]:{console.guard.port}")


async def test_a_stop_ends_what_is_waited_for_and_leaves_no_task() -> None:
    async def found() -> Place:
        return LOCAL

    async def never() -> Place:
        await asyncio.Event().wait()
        return LOCAL

    stop = asyncio.Event()
    assert await _unless(stop, found()) == LOCAL
    stop.set()
    with pytest.raises(click.Abort):
        await _unless(stop, never())
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


def fail(error: BaseException) -> Callable[[Stack], object]:
    async def endpoints(_: Stack) -> list[str]:
        raise error

    return endpoints


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        (OperationError("no region: set AWS_REGION"), 1, "no region: set AWS_REGION"),
        (ZeroDivisionError("4111111111111111"), 1, "internal error: ZeroDivisionError"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_what_ends_it_is_said_without_card_numbers(
    error: Exception, code: int, last: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stack, "endpoints", fail(error))
    given, _, err = run(capsys)
    assert given == code
    assert "4111111111111111" not in err
    assert err.splitlines()[-1:] == ([f"{NAME}: {last}"] if last else [])


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (click.Abort(), 130, "interrupted"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 1, None),
        (OperationError("no region"), 1, "no region"),
        (UnreadableOrderError("odd"), 1, "odd"),
        (click.UsageError("Wrong."), 2, "Wrong"),
        (click.BadParameter("bad\n value."), 2, f"Invalid value: bad value{HINT}"),
        (click.FileError("f", "gone"), 1, f"Could not open file 'f': gone{HINT}"),
    ],
)
def test_each_end_has_its_line_and_its_code(
    error: BaseException,
    code: int,
    said: str | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main, "command", SimpleNamespace(main=end))
    assert run(capsys) == (code, "", "" if said is None else f"{NAME}: {said}\n")


def test_an_interruption_while_aws_does_not_answer_ends_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def endpoints(_: Stack) -> list[str]:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(Stack, "endpoints", endpoints)
    assert run(capsys) == (130, "", f"{NAME}: interrupted\n")


class Imported:
    """Stands for `workers.console.main`: to import *run* fails, or *run* ends so."""

    def __init__(self, end: int | BaseException) -> None:
        self._end = end

    @property
    def run(self) -> Callable[[], int]:
        if isinstance(self._end, ImportError):
            raise self._end
        return self._run

    def _run(self) -> int:
        if isinstance(self._end, BaseException):
            raise self._end
        return self._end


NO_JINJA = f"{NAME}: it needs Jinja2, which is not installed: pip install 'order-fulfillment-workers[console]'\n"


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (7, 7, ""),
        (KeyboardInterrupt(), 130, ""),
        (ModuleNotFoundError(name="jinja2"), 1, NO_JINJA),
        (ModuleNotFoundError(name="markupsafe"), 1, NO_JINJA),
        (ModuleNotFoundError(name="asyncio"), None, ""),
    ],
)
def test_the_process_ends_with_a_code(
    end: int | BaseException,
    code: int | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = list[str]()
    for step in ("open_closed", "flush_output"):
        monkeypatch.setattr(entry, step, lambda step=step: steps.append(step))
    monkeypatch.setitem(sys.modules, "workers.console.main", Imported(end))
    if code is None:
        with pytest.raises(ModuleNotFoundError):
            entry.main()
    else:
        assert entry.main() == code
    assert (capsys.readouterr(), steps) == (("", said), ["open_closed", "flush_output"])
