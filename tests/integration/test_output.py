"""Standard output of worker processes that is closed or full, or whose reader is stopped or killed."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from deploy.local.aws import ROOT
from tests.integration.pipeline import ENVIRONMENT, SCRIPTED, Pipeline, wait_until
from tests.support import DeployStack, StartWorker, free_port

STOP_S = 60.0
PIPE_BYTES = 4096
F_SETPIPE_SZ = getattr(fcntl, "F_SETPIPE_SZ", 1031)
# The buffer of lines is full after some lines, and not after thousands.
SMALL_BUFFER = """
import sys
from workers import log_output, logs
from workers.__main__ import main

logs.LogOutput = lambda write, **ways: log_output.LogOutput(write, max_bytes=300, **ways)
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Piped:
    """A worker whose standard output is a small pipe that only the test reads."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: Path
    health: str

    def lines(self) -> list[dict[str, Any]]:
        """Read all lines until the worker ends."""
        return [json.loads(line) for line in self.output if line.startswith(b"{")]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.health}/{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def is_served(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("healthz")[0] == 200
        return False


@contextlib.contextmanager
def piped(
    pipeline: Pipeline, name: str, tmp_path: Path, *, full: bool, code: str = "", **environment: str
) -> Iterator[Piped]:
    """Run a worker. If *full*, its output is a pipe that takes nothing until the test reads it."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    if full:
        os.write(writing, b"x" * (PIPE_BYTES - 1) + b"\n")
    port, errors = free_port(), tmp_path / "errors"
    with errors.open("wb") as log, open(reading, "rb") as output:  # noqa: PTH123
        process = subprocess.Popen(
            [sys.executable, *(["-c", code] if code else ["-m", "workers"]), name],
            cwd=ROOT,
            env=variables(pipeline, {"WORKER_HEALTH_PORT": str(port), **environment}),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=log,
        )
        os.close(writing)
        try:
            yield Piped(process, output, errors, f"http://127.0.0.1:{port}")
        finally:
            process.kill()
            process.wait(STOP_S)


def variables(pipeline: Pipeline, more: Mapping[str, str]) -> dict[str, str]:
    provider = {"FULFILLMENT_PROVIDER": SCRIPTED}
    return {**os.environ, **pipeline.stack.worker_environment(), **ENVIRONMENT, **provider, **more}


@pytest.fixture(scope="module")
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("output-"))


def test_while_a_reader_is_stopped_work_goes_on_and_an_escalation_waits_for_its_line(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.put_order("stopped-1")
    pipeline.send_escalation(
        {
            "OrderId": "stopped-1",
            "ExecutionArn": pipeline.arn("of-stopped-1"),
            "Reasons": ["INVALID_PRICE"],
            "Source": "workflow",
        }
    )
    with piped(pipeline, "escalation", tmp_path, full=True) as worker:
        wait_until(lambda: pipeline.status("stopped-1") == "ESCALATED")
        assert worker.get("healthz") == (200, "ok\n")
        time.sleep(2)  # Its message is not deleted meanwhile.
        assert pipeline.queued(pipeline.stack.escalation_queue_url) == 1
        worker.output.readline()
        wait_until(lambda: pipeline.queued(pipeline.stack.escalation_queue_url) == 0)
        worker.process.terminate()
        lines = worker.lines()
        assert (worker.process.wait(STOP_S), worker.errors.read_text()) == (0, "")
    assert [line["event"] for line in lines] == [
        *("worker.starting", "worker.started", "escalation.routed", "message.acknowledged"),
        *("signal.received", "consumer.stopping", "worker.stopped"),
    ]
    assert lines[3]["receive_count"] == 1


def test_a_worker_whose_buffer_is_full_receives_nothing_until_it_is_read(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.put_order("full-1")
    message_id = pipeline.send_order("full-1")
    full = {"full": True, "code": SMALL_BUFFER, "LOG_LEVEL": "DEBUG"}
    with piped(pipeline, "fulfillment", tmp_path, **full) as worker:  # type: ignore[arg-type]
        wait_until(lambda: worker.is_served() and worker.get("readyz")[1].startswith("standard output"))
        assert worker.get("healthz") == (200, "ok: standard output takes no more log lines\n")
        time.sleep(2)
        assert (pipeline.status("full-1"), worker.get("readyz")[0]) == ("RECEIVED", 503)
        dropped = re.search(r"^workers_log_lines_dropped_total (.*)$", worker.get("metrics")[1], re.MULTILINE)
        worker.output.readline()  # From now on there is room: the test reads all lines that come.
        lines = iter(worker.output)
        recovered = next(line for line in lines if b"log_output.recovered" in line)
        ended = next(line for line in lines if b"message.acknowledged" in line)
        worker.process.terminate()
        worker.lines()
        assert (worker.process.wait(STOP_S), worker.errors.read_text()) == (0, "")
    assert dropped is not None
    assert json.loads(recovered)["dropped"] >= float(dropped[1])
    assert (json.loads(ended)["message_id"], json.loads(ended)["receive_count"]) == (message_id, 1)


@pytest.mark.chaos
def test_a_reader_that_is_stopped_for_90_seconds_loses_and_repeats_nothing(
    deploy_stack: DeployStack, tmp_path: Path
) -> None:
    pipeline = Pipeline(deploy_stack("ninety-"))
    for queue in (pipeline.stack.order_fulfillment_queue_url, pipeline.stack.escalation_queue_url):
        pipeline.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "30"})
    read = tmp_path / "lines"
    orders = [f"ninety-{number}" for number in range(60)]
    with (
        piped(pipeline, "fulfillment", tmp_path, full=False) as fulfillment,
        piped(pipeline, "escalation", tmp_path, full=False) as escalation,
        read.open("wb") as lines,
    ):
        readers = [subprocess.Popen(["cat"], stdin=each.output, stdout=lines) for each in (fulfillment, escalation)]
        for reader in readers:
            reader.send_signal(signal.SIGSTOP)
        for order_id in orders:
            pipeline.put_order(order_id, ItemName="reject" if order_id.endswith("7") else "slow", Price="0.1")
            pipeline.send_order(order_id)
            time.sleep(1.5)
        assert [each.get("healthz")[0] for each in (fulfillment, escalation)] == [200, 200]
        for reader in readers:
            reader.send_signal(signal.SIGCONT)
        for queue in (pipeline.stack.order_fulfillment_queue_url, pipeline.stack.escalation_queue_url):
            wait_until(lambda queue=queue: pipeline.queued(queue) == 0)  # type: ignore[misc]
        for worker in (fulfillment, escalation):
            worker.process.terminate()
            assert worker.process.wait(STOP_S) == 0
            worker.output.close()
        assert [reader.wait(STOP_S) for reader in readers] == [0, 0]
    found = [json.loads(line) for line in read.read_bytes().splitlines()]
    done = Counter(line["order_id"] for line in found if line["event"] in {"order.fulfilled", "escalation.routed"})
    assert done == dict.fromkeys(orders, 1)
    assert {line["receive_count"] for line in found if line["event"] == "message.acknowledged"} == {1}
    assert not [line for line in found if line["event"] in {"message.released", "message.abandoned"}]


def test_a_worker_whose_reader_is_killed_stops_and_loses_nothing(
    pipeline: Pipeline, start_worker: StartWorker, tmp_path: Path
) -> None:
    orders = [f"killed-{number}" for number in range(20)]
    for order_id in orders:
        pipeline.put_order(order_id, ItemName="slow", Price="0.2")
        pipeline.send_order(order_id)
    with piped(pipeline, "fulfillment", tmp_path, full=False, WORKER_CONCURRENCY="3") as worker:
        next(line for line in worker.output if b"order.fulfilled" in line)
        worker.output.close()
        assert worker.process.wait(STOP_S) == 1
        assert worker.errors.read_text() == (
            "python -m workers: standard output cannot be written (Broken pipe); the last lines are lost\n"
        )
    first = {order_id for order_id in orders if pipeline.status(order_id) == "FULFILLED"}
    second = start_worker("fulfillment", stack=pipeline.stack, env={**ENVIRONMENT, "FULFILLMENT_PROVIDER": SCRIPTED})
    wait_until(lambda: pipeline.queued(pipeline.stack.order_fulfillment_queue_url) == 0)
    assert second.stop() == 0
    assert {pipeline.status(order_id) for order_id in orders} == {"FULFILLED"}
    again = {line["order_id"] for line in second.lines() if line["event"] == "order.fulfilled"}
    assert (first & again, first | again) == (set(), set(orders))


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor"), (">&- 2>&-", None)],
)
def test_output_that_is_closed_or_full_from_the_start_ends_the_worker_in_one_line(
    pipeline: Pipeline, redirection: str, reason: str | None
) -> None:
    command = f"exec {sys.executable} -m workers fulfillment {redirection}"
    environment = variables(pipeline, {})
    ran = subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    line = f"python -m workers: standard output cannot be written ({reason}); the last lines are lost\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", line if reason else "")
