"""The local AWS: on loopback only, with or without kept state, and stopped even if its starter is killed."""

import contextlib
import fcntl
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

import deploy.local.aws
from deploy.errors import DeployError
from deploy.local.aws import ROOT, LocalAws, PortTakenError, Timeouts
from tests.support import eventually, is_running
from workers.testing import children as children_module


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the sockets of /proc")
def test_it_listens_on_loopback_only(local_aws: LocalAws) -> None:
    inodes = set()
    for descriptor in Path(f"/proc/{local_aws.pid}/fd").iterdir():
        target = str(descriptor.readlink()) if descriptor.is_symlink() else ""
        if target.startswith("socket:["):
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    listening = [
        fields[1]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for fields in map(str.split, Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:])
        if fields[9] in inodes and (fields[3] == "0A" or table.startswith("udp"))
    ]

    port = int(local_aws.endpoint.rsplit(":", 1)[1])
    assert listening == [f"0100007F:{port:04X}"]


@pytest.mark.process
def test_the_server_and_its_files_are_gone_after_the_block() -> None:
    with deploy.local.aws.local_aws() as server:
        assert is_running(server.pid)

    assert not is_running(server.pid)
    assert not server.directory.exists()


@pytest.mark.process
def test_a_state_directory_keeps_queues_and_objects(tmp_path: Path) -> None:
    with deploy.local.aws.local_aws(state=tmp_path) as server:
        url = server.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
        server.client("sqs").send_message(QueueUrl=url, MessageBody="hello")
        server.client("s3").create_bucket(Bucket="kept-bucket")
        server.client("s3").put_object(Bucket="kept-bucket", Key="key", Body=b"content")

    with deploy.local.aws.local_aws(state=tmp_path) as server:
        sqs, s3 = server.client("sqs"), server.client("s3")
        received = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="kept")["QueueUrl"])
        assert [message["Body"] for message in received["Messages"]] == ["hello"]
        assert s3.get_object(Bucket="kept-bucket", Key="key")["Body"].read() == b"content"


@pytest.mark.process
def test_a_second_run_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with (
        deploy.local.aws.local_aws(state=tmp_path),
        pytest.raises(DeployError, match=rf"Another run \(process {os.getpid()}\) is using the state"),
        deploy.local.aws.local_aws(state=tmp_path, timeouts=Timeouts(lock_s=0.1)),
    ):
        pass


@pytest.mark.process
def test_a_taken_port_is_an_error_and_a_taken_preferred_port_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with (
            pytest.raises(PortTakenError, match=f"Port {port} on 127.0.0.1 is taken"),
            deploy.local.aws.local_aws(port=port),
        ):
            pass
        with deploy.local.aws.local_aws(preferred_port=port) as server:
            assert not server.endpoint.endswith(f":{port}")


@pytest.mark.process
def test_another_port_is_tried_if_one_is_taken_after_the_check() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        deploy.local.aws.local_aws(preferred_port=taken.getsockname()[1], is_free=lambda _: True) as server,
    ):
        assert server.client("sqs").list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.process
def test_a_server_that_dies_at_the_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho the disk is full\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)

    with (
        pytest.raises(DeployError, match=r"(?s)ended with exit code 3 before it was ready:\n  the disk is full"),
        deploy.local.aws.local_aws(python=broken),
    ):
        pass


def test_a_missing_installation_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="make setup"), deploy.local.aws.local_aws(python=tmp_path / "nowhere"):
        pass


@pytest.mark.process
def test_a_server_that_hangs_at_the_start_is_killed(tmp_path: Path) -> None:
    hanging = tmp_path / "python"
    hanging.write_text(f'#!/bin/sh\necho $$ > {tmp_path}/pid\ntrap "" TERM\nsleep 600\n', encoding="utf-8")
    hanging.chmod(0o755)

    with (
        pytest.raises(DeployError, match="was not ready within"),
        deploy.local.aws.local_aws(python=hanging, timeouts=Timeouts(start_s=0.5, stop_s=0.5)),
    ):
        pass
    pid = tmp_path / "pid"  # Missing, if it was killed before it could write it.
    assert not pid.exists() or not is_running(int(pid.read_text(encoding="ascii")))


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_saves_its_state_and_ends_after_its_starter_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from deploy.local.aws import local_aws\n"
        "with local_aws(state=Path(sys.argv[1])) as server:\n"
        "    server.client('sqs').create_queue(QueueName='kept')\n"
        "    print(server.pid, server.directory, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout
        pid, directory = starter.stdout.readline().split()
        starter.send_signal(number)
        starter.wait()

    eventually(lambda: not is_running(int(pid)))
    assert not Path(directory).exists()
    with deploy.local.aws.local_aws(state=tmp_path) as server:
        assert len(server.client("sqs").list_queues()["QueueUrls"]) == 1


@pytest.mark.parametrize(
    ("lines", "tail"),
    [(0, "  (its log is empty)"), (2, "  line 0\n  line 1"), (20, "\n".join(f"  line {n}" for n in range(5, 20)))],
)
def test_the_end_of_a_log_is_fifteen_lines(tmp_path: Path, lines: int, tail: str) -> None:
    path = tmp_path / "log"
    assert deploy.local.aws._tail(path) == "  (its log is empty)"
    path.write_text("".join(f"line {n}\n" for n in range(lines)), encoding="utf-8")
    assert deploy.local.aws._tail(path) == tail


def server(directory: Path, state: Path | None = None, wait_scale: float | None = None) -> deploy.local.aws._Server:
    return deploy.local.aws._Server(Path("python"), directory, state, None, wait_scale, Timeouts(), lambda _: True)


def test_a_server_gets_few_of_our_own_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "PERSIST_STATE", "SFN_WAIT_SCALE", "LAMBDA_EXECUTOR"):
        monkeypatch.setenv(name, "ours")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.delenv("LC_ALL", raising=False)
    made = deploy.local.aws._server_environment(server(tmp_path), 4566, "token")
    assert {name: value for name, value in made.items() if name not in ("PATH", "HOME")} == {
        "LANG": "C",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": "4566",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": "us-east-1",
        "MINISTACK_EDITION": "token",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{tmp_path}/no-docker",
        "TMPDIR": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOG_LEVEL": "WARNING",
    }


def test_a_server_keeps_its_state_and_shortens_waits_if_asked_to(tmp_path: Path) -> None:
    plain = deploy.local.aws._server_environment(server(tmp_path), 1, "t")
    made = deploy.local.aws._server_environment(server(tmp_path, tmp_path / "state", 0.0), 1, "t")
    assert dict(made.items() - plain.items()) == {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(tmp_path / "state" / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(tmp_path / "state" / "s3"),
        "SFN_WAIT_SCALE": "0.0",
    }


def test_a_locked_state_names_its_holder_and_is_free_again_afterward(tmp_path: Path) -> None:
    state, waits = tmp_path / "deep" / "state", list[str]()

    def waiting(text: str) -> contextlib.AbstractContextManager[None]:
        waits.append(text)
        return contextlib.nullcontext()

    with deploy.local.aws._locked(state, Timeouts(lock_s=0), waiting):
        assert (state / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"
        assert (state / "lock").stat().st_mode & 0o111 == 0
        with (
            pytest.raises(DeployError, match=rf"Another run \(process {os.getpid()}\) is using the state in {state}"),
            deploy.local.aws._locked(state, Timeouts(lock_s=0.01), waiting),
        ):
            pass
    assert waits == [f"Waiting for another run (process {os.getpid()}) to end, at most 0 s"]
    (state / "lock").write_text("12345678901234567890\n", encoding="ascii")  # Longer than any process's id.
    with deploy.local.aws._locked(state, Timeouts(lock_s=0), waiting):
        assert (state / "lock").read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_the_server_of_a_killed_run_may_save_its_state_for_longer(tmp_path: Path) -> None:
    waits: list[str] = []
    killed = 2**22 + 1  # No process has such an id.
    with (tmp_path / "lock").open("w", encoding="ascii") as held:
        held.write(f"{killed}\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)

        @contextlib.contextmanager
        def waiting(text: str) -> Iterator[None]:
            waits.append(text)
            fcntl.flock(held, fcntl.LOCK_UN)  # It has saved its state.
            yield

        with deploy.local.aws._locked(tmp_path, Timeouts(lock_s=0), waiting):
            pass
    assert waits == [f"Waiting for the local AWS of a killed run (process {killed}) to end, at most 20 s"]


def test_a_port_is_free_until_somebody_listens_on_it() -> None:
    port = deploy.local.aws._free_port()
    assert port >= 1024
    assert deploy.local.aws.port_is_free(port)
    with socket.create_server(("127.0.0.1", port)) as listening:
        assert not deploy.local.aws.port_is_free(port)
        with socket.create_connection(("127.0.0.1", port)):
            listening.accept()[0].close()
    assert deploy.local.aws.port_is_free(port), "a closed connection of it may linger"


def test_five_ports_are_tried_the_preferred_one_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def taken(_server: object, port: int) -> LocalAws:
        tried.append(port)
        raise PortTakenError("taken")

    monkeypatch.setattr(deploy.local.aws, "_start", taken)
    with pytest.raises(DeployError, match="No free port for the local AWS"):
        deploy.local.aws._start_on_free_port(server(tmp_path), 4566)
    assert (len(tried), tried[0], 4566 in tried[1:]) == (5, 4566, False)


def test_nothing_is_said_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    deploy.local.aws.QUIET.note("x")
    assert capsys.readouterr() == ("", "")


def test_the_project_has_its_files() -> None:
    assert (ROOT / "Procfile").is_file()


def test_the_timeouts_of_a_local_aws() -> None:
    assert Timeouts() == Timeouts(start_s=60.0, stop_s=15.0, lock_s=3.0, orphan_s=20.0)


class Process:
    """A server's process that has ended with *code*, or ends with -9 when it is waited for."""

    pid = 77

    def __init__(self, code: int | None = None) -> None:
        self.returncode = code

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int:
        self.returncode = -9
        return self.returncode


class Answers:
    """Stands for the opener of URLs: returns the next of *answers*, or raises it if it is an error."""

    def __init__(self, *answers: Any) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, float]] = []

    def open(self, url: str, *, timeout: float) -> io.BytesIO:
        self.asked.append((url, timeout))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return io.BytesIO(answer)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept_s: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


def awaiting(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> tuple[Answers, Time]:
    opener, clock = Answers(*answers), Time()

    def build_opener(handler: urllib.request.ProxyHandler) -> Answers:
        assert handler.proxies == {}  # type: ignore[attr-defined]
        return opener

    monkeypatch.setattr("urllib.request.build_opener", build_opener)
    monkeypatch.setattr(deploy.local.aws, "time", clock)
    return opener, clock


def running(directory: Path, code: int | None = None) -> LocalAws:
    return LocalAws("http://127.0.0.1:1", directory, cast("subprocess.Popen[bytes]", Process(code)))


def test_a_server_is_ready_once_its_health_page_shows_our_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = (OSError("refused"), b"not JSON", b'{"edition": "another server"}', b"{}", b'{"edition": "token"}', b"")
    opener, clock = awaiting(monkeypatch, *answers)
    deploy.local.aws._await_healthy(running(tmp_path), "token", 60.0)
    assert opener.asked == [("http://127.0.0.1:1/_ministack/health", 5)] * 5
    assert clock.slept_s == [0.05] * 4


def test_a_server_that_is_not_ready_in_time_is_an_error_with_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, clock = awaiting(monkeypatch, OSError("refused"))
    (tmp_path / "local-aws.log").write_text("loading\n", encoding="utf-8")
    with pytest.raises(DeployError) as raised:
        deploy.local.aws._await_healthy(running(tmp_path), "token", 0.05)
    assert str(raised.value) == "The local AWS was not ready within 0 s:\n  loading"
    assert clock.slept_s == [0.05]


@pytest.mark.parametrize(
    ("log", "kind", "text"),
    [
        ("disk full", DeployError, "The local AWS ended with exit code 3 before it was ready:\n  disk full"),
        ("Address already in use", PortTakenError, "http://127.0.0.1:1 was taken by another process"),
    ],
)
def test_a_server_that_ends_before_it_is_ready_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: str, kind: type[DeployError], text: str
) -> None:
    awaiting(monkeypatch)
    (tmp_path / "local-aws.log").write_text(log, encoding="utf-8")
    with pytest.raises(DeployError) as raised:
        deploy.local.aws._await_healthy(running(tmp_path, 3), "token", 60.0)
    assert (type(raised.value), str(raised.value)) == (kind, text)


def test_a_running_server_that_ends_is_an_error_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(DeployError) as raised:
        running(tmp_path).wait()
    assert str(raised.value) == "The local AWS has ended (exit code -9):\n  (its log is empty)"
    running(tmp_path).check()  # While it runs, it is no error.
    assert running(tmp_path).pid == 77


class Children:
    """Stands for `workers.testing.children`: records what is started and stopped."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.stopped: list[float] = []
        self.interrupts: list[signal.Signals] = []
        self.uninterrupted = children_module.uninterrupted

    def start(self, python: Path, module: str, **more: Any) -> Process:
        self.started.append({"python": python, "module": module, **more})
        return Process()

    def stop(self, process: Process, timeout_s: float) -> None:
        assert process.pid == 77
        for number in self.interrupts:
            signal.raise_signal(number)
        self.stopped.append(timeout_s)


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> Children:
    made = Children()
    monkeypatch.setattr(deploy.local.aws, "children", made)
    monkeypatch.setattr(deploy.local.aws, "_await_healthy", lambda *_: None)
    return made


@pytest.mark.parametrize("keeps", [True, False])
def test_an_impatient_person_cuts_short_only_a_server_that_keeps_nothing(
    children: Children, tmp_path: Path, *, keeps: bool
) -> None:
    settings: dict[str, Any] = {"python": Path(sys.executable), "is_free": lambda _: True}
    children.interrupts = [signal.SIGINT]
    state = tmp_path / "state" if keeps else None
    with (
        contextlib.nullcontext() if keeps else pytest.raises(KeyboardInterrupt),
        deploy.local.aws.local_aws(state=state, port=4567, **settings),
    ):
        pass
    assert len(children.stopped) == keeps
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # As before.


def test_a_server_is_started_in_its_directory_and_stopped_at_the_end(children: Children, tmp_path: Path) -> None:
    python, steps = tmp_path / "python", list[str]()
    python.touch()
    settings: dict[str, Any] = {"python": python, "is_free": lambda _: True, "timeouts": Timeouts(stop_s=7)}

    @contextlib.contextmanager
    def waiting(text: str) -> Iterator[None]:
        steps.append(text)
        yield
        steps.append("done")

    settings |= {"starting": lambda: steps.append("starting"), "waiting": waiting}
    with deploy.local.aws.local_aws(port=4567, **settings) as aws:
        (started,) = children.started
        assert (aws.endpoint, aws.directory.is_dir(), children.stopped) == ("http://127.0.0.1:4567", True, [])
        assert aws.log_path == aws.directory / "local-aws.log"
        assert aws.environment["AWS_ENDPOINT_URL"] == aws.endpoint
        token = started["environment"].pop("MINISTACK_EDITION")
        assert len(token) == 16
        expected = deploy.local.aws._server_environment(server(aws.directory), 4567, token)
        del expected["MINISTACK_EDITION"]
        assert Path(started.pop("output").name) == aws.log_path
        assert started == {
            "python": python,
            "module": str(deploy.local.aws.EMULATOR),
            "environment": expected,
            "directory": aws.directory,
            "working_directory": aws.directory,
            "pass_fds": [],
        }
    assert (children.stopped, aws.directory.exists()) == ([7], False)
    assert steps == [
        "starting",
        *("Waiting for the local AWS to answer, at most 60 s", "done"),
        *("Waiting for the local AWS to save its state and end, at most 7 s", "done"),
    ]


def test_files_that_cannot_be_removed_are_no_error(children: Children, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    with deploy.local.aws.local_aws(port=4567, python=python, is_free=lambda _: True) as aws:
        assert children.started
        shutil.rmtree(aws.directory)
        aws.directory.touch()  # No directory: its removal fails.
    aws.directory.unlink()


def test_a_server_holds_the_lock_of_its_state(children: Children, tmp_path: Path) -> None:
    python, state = tmp_path / "python", tmp_path / "state"
    python.touch()
    with deploy.local.aws.local_aws(state=state, python=python, wait_scale=0.5):
        (started,) = children.started
        (descriptor,) = started["pass_fds"]
        assert os.fstat(descriptor).st_ino == (state / "lock").stat().st_ino
        assert started["environment"]["SFN_WAIT_SCALE"] == "0.5"
        assert started["environment"]["STATE_DIR"] == str(state / "services")


def test_a_server_that_does_not_become_ready_is_stopped(
    children: Children, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(aws: LocalAws, token: str, timeout_s: float) -> None:
        assert (aws.endpoint, len(token), timeout_s) == ("http://127.0.0.1:4567", 16, 60.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(deploy.local.aws, "_await_healthy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deploy.local.aws._start(server(tmp_path), 4567)
    assert children.stopped == [15.0]


def test_a_taken_port_is_named_before_anything_is_started(children: Children, tmp_path: Path) -> None:
    python, steps = tmp_path / "python", list[str]()
    python.touch()
    taken = deploy.local.aws.local_aws(
        port=4567, python=python, is_free=lambda _: False, starting=lambda: steps.append("starting")
    )
    with pytest.raises(PortTakenError) as raised, taken:
        pass
    assert str(raised.value) == (
        "Port 4567 on 127.0.0.1 is taken. Stop the process that listens there, or choose another port with --port"
    )
    assert (children.started, steps) == ([], [])


def test_a_free_port_is_taken_without_a_preferred_one_or_if_that_is_taken(children: Children, tmp_path: Path) -> None:
    made = server(tmp_path)
    assert deploy.local.aws._start_on_free_port(made, 4566).endpoint == "http://127.0.0.1:4566"
    assert deploy.local.aws._start_on_free_port(made, None).endpoint != "http://127.0.0.1:4566"
    busy = replace(made, is_free=lambda port: port != 4566)
    assert deploy.local.aws._start_on_free_port(busy, 4566).endpoint != "http://127.0.0.1:4566"
    assert len(children.started) == 3
