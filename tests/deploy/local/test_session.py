"""The process of one test session, without an AWS: what it deploys, says and takes down."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import NoRegionError

from deploy.errors import DeployError
from deploy.local import session

ENDPOINT = "http://127.0.0.1:1"


class Sqs:
    def __init__(self) -> None:
        self.deleted: list[str] = []

    def get_paginator(self, operation: str) -> "Sqs":
        assert operation == "list_queues"
        return self

    def paginate(self, QueueNamePrefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - the SDK's name.
        yield {"QueueUrls": [f"{QueueNamePrefix}a", f"{QueueNamePrefix}b"]}
        yield {}
        yield {"QueueUrls": [f"{QueueNamePrefix}c"]}

    def delete_queue(self, QueueUrl: str) -> None:  # noqa: N803
        self.deleted.append(QueueUrl)


class Server:
    """A local AWS that runs. After `checks` looks, SIGTERM comes."""

    endpoint = ENDPOINT

    def __init__(self, checks: int) -> None:
        self.checks = checks
        self.error: Exception | None = None

    def client(self, service: str) -> Any:
        return service

    def check(self) -> None:
        if self.error is not None:
            raise self.error
        self.checks -= 1
        if self.checks == 0:
            signal.raise_signal(signal.SIGTERM)


class World:
    """Records what the session does, and ends it by SIGTERM after that."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ready = tmp_path / "ready.json"
        self.steps: list[Any] = []
        self.sqs = Sqs()
        self.server = Server(checks=2)
        self.up: Callable[[], None] = lambda: None
        monkeypatch.setattr(session, "CHECK_S", 0.001)
        monkeypatch.setattr("deploy.local.session.local_aws.LocalAws", Server)
        monkeypatch.setattr("deploy.local.session.pipeline.up", self._up)
        monkeypatch.setattr("deploy.local.session.pipeline.down", self._down)
        monkeypatch.setattr("deploy.local.session.local_aws.local_aws", self._local_aws)
        monkeypatch.setattr("workers.testing.sdk.client", lambda service, _: self.sqs if service == "sqs" else service)

    def _up(self, clients: Any, prefix: str, progress: Any) -> Any:
        self.steps.append(("up", prefix, clients.region, progress.quiet))
        self.up()
        return SimpleNamespace(outputs={"OrderTableName": "t"})

    def _down(self, _: Any, prefix: str, *, delete_data: bool, confirm: Callable[[], bool], progress: Any) -> None:
        self.steps.append(("down", prefix, delete_data, confirm(), progress.quiet))

    @contextlib.contextmanager
    def _local_aws(self, *, python: Path, wait_scale: float) -> Iterator[Server]:
        self.steps.append(("local", python, wait_scale))
        yield self.server
        self.steps.append("ended")

    def run(self, *where: str) -> int:
        return session.main(["--name-prefix", "t-1-", "--ready", str(self.ready), *where])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    before = signal.getsignal(signal.SIGTERM)
    yield World(tmp_path, monkeypatch)
    signal.signal(signal.SIGTERM, before)


def document(world: World) -> Any:
    assert [path.name for path in world.ready.parent.iterdir()] == ["ready.json"]
    return json.loads(world.ready.read_text(encoding="utf-8"))


def test_a_local_aws_of_its_own_ends_with_it_and_nothing_is_taken_down(world: World) -> None:
    assert world.run("--python", "/python") == 0
    assert world.steps == [("local", Path("/python"), 0.02), ("up", "t-1-", "us-east-1", True), "ended"]
    assert document(world) == {"endpoint": ENDPOINT, "outputs": {"OrderTableName": "t"}}
    assert world.server.checks == 0


def test_on_an_aws_that_runs_already_all_is_taken_down(world: World) -> None:
    world.up = lambda: signal.raise_signal(signal.SIGTERM)
    assert world.run("--endpoint", ENDPOINT) == 0
    assert world.steps == [("up", "t-1-", "us-east-1", True), ("down", "t-1-", True, True, True)]
    assert world.sqs.deleted == ["t-1-a", "t-1-b", "t-1-c"]
    assert document(world) == {"endpoint": ENDPOINT, "outputs": {"OrderTableName": "t"}}


@pytest.mark.parametrize(
    ("error", "line"),
    [(DeployError("the stack is busy"), "the stack is busy"), (NoRegionError(), "AWS_REGION")],
)
def test_a_stack_that_cannot_be_deployed_is_one_line(
    world: World, error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    world.up = fail
    assert world.run("--endpoint", ENDPOINT) == 1
    assert line in capsys.readouterr().err.splitlines()[0]
    assert world.steps[-1][0] == "down"
    assert not world.ready.exists()


def test_a_local_aws_that_ends_ends_the_session(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.server.error = DeployError("the local AWS has ended")
    assert world.run("--python", "/python") == 1
    assert capsys.readouterr().err == "the local AWS has ended\n"


def test_it_needs_a_prefix_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        session.main(["--endpoint", ENDPOINT])
    assert "the following arguments are required: --name-prefix, --ready\n" in capsys.readouterr().err


@pytest.mark.parametrize("where", [[], ["--python", "p", "--endpoint", "e"]])
def test_it_needs_one_place(world: World, where: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        world.run(*where)
    assert "--python" in capsys.readouterr().err
