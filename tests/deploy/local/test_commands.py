"""`local`, `run` and `demo` as processes: their output, the state they keep, and no process left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from deploy.local import commands, samples
from deploy.local.aws import ROOT
from tests import forked
from tests.support import descendants, is_running
from workers.testing import sdk

pytestmark = pytest.mark.process

HOSTILE = {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL_SQS": "https://sqs.us-east-1.amazonaws.com"}
# With a state directory of its own, so that the developer's own is not used.
SCRIPT = """
import sys
from pathlib import Path
from deploy.command import main
sys.exit(main(sys.argv[2:], Path(sys.argv[1])))
"""
STARTS_S, ENDS_S = 150.0, 90.0  # On a busy machine; on an idle one it takes a few seconds.
PROC = Path("/proc")  # Leftover processes are only looked for on Linux.
CARDS = re.compile(r"1234123456785678|123412345678")


class Command:
    """A running command with its output in a file. Its environment points to a real account."""

    def __init__(self, directory: Path, number: int, *arguments: str) -> None:
        self.output_path = directory / f"output-{number}"
        self.temporary = directory / f"tmp-{number}"
        self.temporary.mkdir()
        with self.output_path.open("wb") as stream:
            self.process = forked.Popen(
                ["-c", SCRIPT, str(directory / "state"), *arguments],
                cwd=ROOT,
                env=os.environ | HOSTILE | {"TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.output_path.read_text(encoding="utf-8")

    def wait_for(self, text: str, timeout_s: float = STARTS_S) -> None:
        self.eventually(lambda: text in self.output, timeout_s)

    def eventually(self, holds: Callable[[], bool], timeout_s: float = ENDS_S) -> None:
        """Wait until `holds` is true, or fail with the output so far."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def descendants(self) -> list[int]:
        return descendants(self.process.pid)


Start = Callable[..., Command]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Command] = []

    def run(*arguments: str) -> Command:
        started.append(Command(tmp_path, len(started), *arguments))
        return started[-1]

    yield run
    for command in started:
        command.process.kill()  # Its child processes end with it.
        command.process.wait()


def test_demo_shows_every_sample_and_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    demo = start("demo")

    assert demo.process.wait(STARTS_S) == 0, demo.output
    for order_id, expected in samples.EXPECTED.items():
        row = demo.output[demo.output.index(f"\n{order_id} ") :].split("\n\n")[0]
        assert f"{order_id}   SUCCEEDED" in row
        for word in (expected.item_status, *expected.worker.replace(",", "").split()):
            assert word in row
    assert not CARDS.search(demo.output)
    assert list(demo.temporary.iterdir()) == []
    assert not (tmp_path / "state").exists()


def test_run_keeps_its_state_and_works_a_second_time(start: Start, tmp_path: Path) -> None:
    first = start("run")
    first.wait_for("until Ctrl-C")
    children = first.descendants()
    assert len(children) >= 5 or not PROC.exists(), "the local AWS, the supervisor, two workers and the console"

    refused = start("run")
    assert refused.process.wait(ENDS_S) == 1
    assert f"Another run (process {first.process.pid}) is using the state" in refused.output

    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(ENDS_S) == 0, first.output
    first.eventually(lambda: not any(is_running(pid) for pid in children))
    assert "Stopping both workers, for at most" in first.output
    ended = [line for line in first.output.splitlines() if "process.ended" in line]
    assert [" exit_code=0 " in line for line in ended] == [True, True, True], (
        "both workers and the console stopped cleanly"
    )

    second = start("run")
    second.wait_for("until Ctrl-C")
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(ENDS_S) == 0, second.output
    assert "order-fulfillment is unchanged" in second.output
    assert second.output.count("earlier") == 4, "each sample shows when the first run handled it"
    assert not CARDS.search(first.output + second.output)
    lines = (tmp_path / "state" / "workers.log").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert not CARDS.search("".join(lines))


def test_a_wrong_setting_is_refused_before_anything_starts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURRENCY", "many")
    for command in ("run", "demo"):
        refused = start(command)
        assert refused.process.wait(ENDS_S) == 1
        assert re.fullmatch(r"WORKER_CONCURRENCY is 'many', must be .*\n", refused.output)
    monkeypatch.setenv("ORDER_RETENTION_DAYS", "89")
    refused = start("local")
    assert refused.process.wait(ENDS_S) == 1
    assert refused.output == "ORDER_RETENTION_DAYS is '89', must be 90 to 3650 days\n"


def test_a_run_whose_workers_end_says_why_at_the_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULFILLMENT_PROVIDER", "nowhere:Provider")
    ended = start("run")
    assert ended.process.wait(ENDS_S) == 1
    *_, title, reason = ended.output.splitlines()
    assert title == "The workers have ended:"
    assert reason.startswith("fulfillment: FULFILLMENT_PROVIDER is 'nowhere:Provider', which cannot be loaded")


def test_a_worker_that_is_killed_under_run_is_started_again_and_fulfills(start: Start, tmp_path: Path) -> None:
    run = start("run")
    run.wait_for("until Ctrl-C")
    exports = dict(re.findall(r"^export (\w+)=(.*)$", (tmp_path / "state" / "env").read_text("utf-8"), re.MULTILINE))
    urls = dict(each.split("=", 1) for each in exports["WORKER_HEALTH_URLS"].strip("'").split())
    pid = re.findall(r"fulfillment +process\.started +pid=(\d+)", run.output)[0]
    assert healthy(urls["fulfillment"])
    os.kill(int(pid), signal.SIGKILL)
    ended = re.compile(r"warning +fulfillment +process\.ended .*signal=SIGKILL ran_s=[\d.]+ restart_s=1\.0")
    run.eventually(lambda: ended.search(run.output) is not None)
    run.eventually(lambda: len(re.findall(r"fulfillment +worker\.started", run.output)) == 2)
    assert healthy(urls["fulfillment"])
    assert healthy(urls["escalation"])

    order = {"OrderId": "after-kill", "Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": "1234123412341234"}
    client = sdk.client("stepfunctions", exports["AWS_ENDPOINT_URL"])
    client.start_execution(stateMachineArn=exports["STATE_MACHINE"], name="after-kill", input=json.dumps(order))
    run.eventually(lambda: re.search(r"order\.fulfilled +order_id=after-kill", run.output) is not None)


def healthy(url: str) -> bool:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/healthz", timeout=30) as answer:
        return bool(answer.status == HTTPStatus.OK)


def test_the_console_of_run_is_started_again_with_the_same_address_and_ends_no_worker(
    start: Start, tmp_path: Path
) -> None:
    run = start("run")
    run.wait_for("Open the console: ")
    url = re.findall(r"^Open the console: (http://127\.0\.0\.1:\d+/\?token=[\w-]+)$", run.output, re.MULTILINE)[0]
    for number in (1, 2):
        run.eventually(lambda times=number: len(re.findall(r" console\.started ", run.output)) == times)  # type: ignore[misc]
        assert "Overview" in opened(url)
        pid = re.findall(r"console +process\.started +pid=(\d+)", run.output)[-1]
        os.kill(int(pid), signal.SIGKILL)
    run.eventually(lambda: len(re.findall(r" console\.started ", run.output)) == 3)
    assert len(re.findall(r"process\.started", run.output)) == 5, "no worker was started again"
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(ENDS_S) == 0
    token = url.partition("token=")[2]
    assert run.output.count(token) == 1
    assert token not in (tmp_path / "state" / "workers.log").read_text(encoding="utf-8")


def opened(url: str) -> str:
    """Return the page that a browser gets at *url*, which it keeps a cookie of."""
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()]
    with urllib.request.build_opener(*handlers).open(url, timeout=30) as answer:
        return str(answer.read().decode())


def test_a_second_interrupt_ends_workers_that_do_not_stop(start: Start) -> None:
    run = start("run")
    run.wait_for("until Ctrl-C")
    children = run.descendants()
    for pid in re.findall(r"process\.started +pid=(\d+)", run.output):
        os.kill(int(pid), signal.SIGSTOP)  # They cannot react to anything but a kill.
    run.process.send_signal(signal.SIGINT)
    run.wait_for("Stopping both workers")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(ENDS_S) == 130
    run.eventually(lambda: not any(is_running(pid) for pid in children))


def test_no_process_outlives_a_killed_run(start: Start) -> None:
    run = start("run")
    run.wait_for("until Ctrl-C")
    children = run.descendants()
    assert children

    run.process.kill()

    run.eventually(lambda: not any(is_running(pid) for pid in children) and not any(run.temporary.iterdir()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_local_prints_the_exports_and_stops_cleanly(
    start: Start, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDER_RETENTION_DAYS", "90")
    local = start("local")
    local.wait_for("Press Ctrl-C to stop")
    exported = dict(re.findall(r"^export (\w+)=(.*)$", local.output, re.MULTILINE))
    children = local.descendants()

    queues = "import boto3; print(boto3.client('sqs').list_queues()['QueueUrls'])"
    retention = "import asyncio; from workers.operations.stack import Stack; "
    retention += "from workers.operations.retention import read_retention; print(asyncio.run(read_retention(Stack())))"
    sourced = f". {tmp_path}/state/env"  # The second time, it changes nothing.
    script = f'set -u; {sourced} && {sourced} && echo "$NO_PROXY $no_proxy"'
    script += f' && "{sys.executable}" -c "{queues}" && "{sys.executable}" -c "{retention}"'
    clean = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HTTP_PROXY": "http://127.0.0.1:1",
        "NO_PROXY": "intranet",
    }
    seen = subprocess.run(["/bin/sh", "-c", script], env=clean, capture_output=True, text=True, check=True)
    local.process.send_signal(number)

    assert local.process.wait(ENDS_S) == 0
    assert exported["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert exported["ORDER_TABLE"] == "OrderTable"
    assert exported["STATE_MACHINE"].endswith(":stateMachine:OrderFulfillmentStateMachine")
    assert exported["ORDER_RETENTION_DAYS"] == "90"
    assert "Retention(days=90)" in seen.stdout
    assert f"{exported['AWS_ENDPOINT_URL']}/000000000000/EscalationQueue" in seen.stdout
    assert seen.stdout.startswith("intranet,127.0.0.1 intranet,127.0.0.1\n")
    local.eventually(lambda: not any(is_running(pid) for pid in children))
    assert not (tmp_path / "state" / "env").exists()


def test_make_env_keeps_pointing_at_the_first_local_aws(start: Start, tmp_path: Path) -> None:
    environment = tmp_path / "state" / "env"
    first = start("local")
    first.wait_for("Press Ctrl-C to stop")
    published = environment.read_text(encoding="utf-8")
    assert "Another local AWS is running here" not in first.output

    second = start("local")
    second.wait_for("Press Ctrl-C to stop")
    assert "Another local AWS is running here" in second.output
    endpoint = re.findall(r"^export AWS_ENDPOINT_URL=(.*)$", second.output, re.MULTILINE)[0]
    assert f'eval "$(make env)"; export AWS_ENDPOINT_URL={endpoint}' in second.output
    assert endpoint not in published
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(ENDS_S) == 0
    assert environment.read_text(encoding="utf-8") == published

    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait(ENDS_S) == 0
    assert not environment.exists()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "--endpoint-url\nhttp://127.0.0.1:4566\nsqs\nx  y\n"),
        ({}, "sqs\nx  y\n"),
    ],
)
def test_the_aws_cli_of_make_env_goes_to_the_endpoint_whatever_its_version(
    tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    """Version 1 ignores the variable for SQS: it would send the body of a message to AWS."""
    installed = tmp_path / "a directory"
    installed.mkdir()
    (installed / "aws").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n", encoding="utf-8")
    (installed / "aws").chmod(0o755)
    ours = ROOT / "deploy" / "local" / "bin"

    def aws(*path: Path) -> subprocess.CompletedProcess[str]:
        env = environment | {"PATH": os.pathsep.join(map(str, path))}
        return subprocess.run(["/bin/sh", "-c", 'aws sqs "x  y"'], env=env, capture_output=True, text=True, check=False)

    found = aws(ours, ours, installed)
    assert (found.returncode, found.stdout, found.stderr) == (0, expected, "")
    link = tmp_path / "link"
    link.symlink_to(ours)
    assert aws(link, ours, installed).stdout == expected
    missing = aws(ours)
    assert (missing.returncode, missing.stdout) == (127, "")
    assert missing.stderr.startswith("aws: the AWS CLI is not installed")


def test_make_env_points_a_shell_at_the_local_aws_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    elsewhere = tmp_path / "a project"
    elsewhere.mkdir()
    script = 'eval "$(make -sC .. env)"; echo "$AWS_ENDPOINT_URL|$AWS_PROFILE|$AWS_ENDPOINT_URL_SQS|$PATH"'

    def shell() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=elsewhere,
            env={"PATH": os.environ["PATH"]} | HOSTILE,
            capture_output=True,
            text=True,
            check=True,
        )

    nothing = shell()
    assert nothing.stdout.startswith("|production|")
    assert nothing.stderr.startswith("No local AWS is running here: start one with make run or make local")
    with commands._published("export AWS_ENDPOINT_URL=http://127.0.0.1:1\n", tmp_path / ".local-aws"):
        running = shell()
        published = (tmp_path / ".local-aws" / "env").read_text(encoding="utf-8")
    (tmp_path / ".local-aws" / "env").write_text(published, encoding="utf-8")  # As a `kill -9` leaves it.
    killed = shell()
    assert (killed.stdout, killed.stderr) == (nothing.stdout, nothing.stderr)
    # The programs of an environment of the user's own come before those of ours.
    path = f"{tmp_path}/deploy/local/bin:{os.environ['PATH']}:{tmp_path}/.venv/bin"
    assert running.stdout == f"http://127.0.0.1:1|||{path}\n"
    assert running.stderr == ""
