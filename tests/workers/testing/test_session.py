"""Where a session's stack may be: on this machine, elsewhere only if that is said, and never on AWS."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from workers.testing import session
from workers.testing.errors import SetupError
from workers.testing.session import given_endpoint, session_stack
from workers.testing.stack import Stack
from workers.testing.tree import ROOT, python_path

HERE = [
    "http://127.0.0.1:4566",
    "http://localhost:4566/",
    "https://aws.localhost",
    "http://[::1]:80",
    "http://127.8.8.8",
]
ELSEWHERE = [
    "http://localstack:4566",
    "http://10.0.0.1",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
]
AWS = [
    "https://sqs.us-east-1.amazonaws.com",
    "https://amazonaws.com",
    "https://x.amazonaws.com.cn",
    "https://a.api.aws",
    "https://SQS.us-east-1.amazonaws.com.",
    "https://sqs.eusc-de-east-1.amazonaws.eu",
    "https://x.lambda-url.us-east-1.on.aws",
]
WRONG = [
    "127.0.0.1:4566",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "ftp://localhost",
    "http://",
    "http://[::1",
    "/path",
]


@pytest.mark.parametrize("url", HERE)
def test_an_endpoint_on_this_machine_is_used(url: str) -> None:
    assert given_endpoint({"AWS_ENDPOINT_URL": url}) == url


@pytest.mark.parametrize("environ", [{}, {"AWS_ENDPOINT_URL": " "}, {"AWS_PROFILE": "production"}])
def test_without_an_endpoint_there_is_none(environ: dict[str, str]) -> None:
    assert given_endpoint(environ) is None


@pytest.mark.parametrize("url", ELSEWHERE)
def test_an_endpoint_elsewhere_is_used_only_if_that_is_meant(url: str) -> None:
    with pytest.raises(SetupError, match=r"AWS_ENDPOINT_URL is not on this machine .* or set WORKERS_TESTING_ENDPOINT"):
        given_endpoint({"AWS_ENDPOINT_URL": url})
    assert given_endpoint({"AWS_ENDPOINT_URL": "http://other", "WORKERS_TESTING_ENDPOINT": url}) == url


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "WORKERS_TESTING_ENDPOINT"])
@pytest.mark.parametrize(
    ("urls", "problem"), [(AWS, "is an address of AWS itself"), (WRONG, "must be an http or https")]
)
def test_aws_itself_and_what_is_no_url_are_refused(variable: str, urls: list[str], problem: str) -> None:
    for url in urls:
        with pytest.raises(SetupError, match=f"^{variable} {problem}"):
            given_endpoint({variable: url})


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SetupError, match=r"install order-fulfillment-workers\[testing\]"), session_stack(print, {}):
        pass


class Process:
    def __init__(self, code: int | None = None) -> None:
        self.code = code

    def poll(self) -> int | None:
        return self.code


class Starting:
    """A session's process that writes its files when it is started, and a clock that runs only while one waits."""

    def __init__(self, *, ready: bool = True, code: int | None = None, output: str = "") -> None:
        self.ready, self.output, self.code = ready, output, code
        self.started: dict[str, Any] = {}
        self.notes: list[str] = []
        self.stopped: list[float] = []
        self.now_s = 0.0

    def start(self, _: Path, module: str, arguments: list[str], *, output: IO[bytes], **options: Any) -> Process:
        self.started = {"module": module, "arguments": arguments, **options}
        output.write(self.output.encode())
        if self.ready:
            document = json.dumps({"endpoint": "http://127.0.0.1:1", "outputs": {"OrderTableName": "t"}})
            Path(arguments[arguments.index("--ready") + 1]).write_text(document, encoding="utf-8")
        return Process(self.code)

    def stop(self, _: Process, timeout_s: float) -> None:
        self.stopped.append(timeout_s)

    def sleep(self, wait_s: float) -> None:
        self.now_s += 100 * wait_s

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "start", self.start)
        monkeypatch.setattr(session, "stop", self.stop)
        monkeypatch.setattr("workers.testing.session.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("workers.testing.session.time.sleep", self.sleep)

    def run(self, environ: dict[str, str]) -> Stack:
        with session_stack(self.notes.append, environ) as stack:
            assert self.stopped == []
            return stack


def test_a_stack_of_ones_own_is_started_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = Starting()
    starting.use(monkeypatch)
    stack = starting.run({"AWS_ENDPOINT_URL": "http://localhost:1", "AWS_PROFILE": "production", "HOME": "/home/x"})
    assert (stack.local_aws.endpoint, stack.outputs) == ("http://127.0.0.1:1", {"OrderTableName": "t"})
    assert re.fullmatch("t-[0-9a-f]{8}-", stack.name_prefix)
    assert (starting.stopped, starting.notes) == ([60.0], [])
    assert starting.started["module"] == "deploy.local.session"
    prefix, ready, endpoint = zip(*[iter(starting.started["arguments"])] * 2, strict=True)
    assert (prefix, ready[0]) == (("--name-prefix", stack.name_prefix), "--ready")
    assert endpoint == ("--endpoint", "http://localhost:1")
    directory = starting.started["directory"]
    assert Path(ready[1]).parent == directory == starting.started["working_directory"]
    assert not directory.exists()
    environment = starting.started["environment"]
    assert (environment["HOME"], environment["PYTHONPATH"]) == ("/home/x", python_path(ROOT))
    assert "AWS_PROFILE" not in environment


def test_files_that_cannot_be_removed_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = Starting()
    starting.use(monkeypatch)
    with session_stack(starting.notes.append, {"AWS_ENDPOINT_URL": "http://localhost:1"}):
        directory: Path = starting.started["directory"]
        shutil.rmtree(directory)
        directory.touch()  # No directory: its removal fails.
    directory.unlink()


def test_without_an_address_the_installed_local_aws_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = Starting()
    starting.use(monkeypatch)
    monkeypatch.setattr(session, "installed_python", lambda note, environ: Path("/python"))  # noqa: ARG005
    starting.run({})
    assert starting.started["arguments"][-2:] == ["--python", "/python"]


def test_a_stack_that_does_not_get_ready_is_waited_for_five_minutes_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starting = Starting(ready=False)
    starting.use(monkeypatch)
    with pytest.raises(SetupError, match=r"^The stack was not ready within 300 s: it says nothing$"):
        starting.run({"AWS_ENDPOINT_URL": "http://localhost:1"})
    assert starting.notes == ["Waiting for the local AWS and the stack ..."]
    assert starting.stopped == [60.0]
    assert 300 < starting.now_s < 310


def test_a_stack_that_cannot_be_started_says_why_with_its_last_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    starting = Starting(ready=False, code=1, output="\n".join(map(str, range(20))))
    starting.use(monkeypatch)
    lines = "\n".join(map(str, range(5, 20)))
    with pytest.raises(SetupError, match=f"^The stack could not be started: {lines}$"):
        starting.run({"AWS_ENDPOINT_URL": "http://localhost:1"})
    assert starting.notes == []
