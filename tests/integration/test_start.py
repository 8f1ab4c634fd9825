"""How a worker starts: one line explains a failure, and it waits for AWS if AWS is not up yet."""

import asyncio
import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import deploy.local.aws
from deploy.aws import Aws
from deploy.progress import Progress
from deploy.stacks import pipeline as deployed_pipeline
from tests.integration.pipeline import ENVIRONMENT, Pipeline
from tests.support import DeployedStack, StartWorker, Worker, free_port, run_worker
from tests.workers.ecs_agent import running_agent
from workers.testing.sdk import REGION

CARD = "4929123412345678"


@dataclass(frozen=True, slots=True)
class Trial:
    """A start that must fail: the environment, and the line that explains the failure."""

    line: str
    worker: str = "fulfillment"
    set: dict[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()


TRIALS = {
    "missing queue": Trial(
        "there is no queue NoSuchQueue: deploy the stack, or correct the variable that names it",
        set={"ORDER_FULFILLMENT_QUEUE": "NoSuchQueue"},
    ),
    "missing escalation queue": Trial(
        "there is no queue NoSuchQueue: deploy the stack, or correct the variable that names it",
        set={"ESCALATION_QUEUE": "NoSuchQueue"},
    ),
    "missing order table": Trial(
        "there is no table NoSuchTable: deploy the stack, or ", set={"ORDER_TABLE": "NoSuchTable"}
    ),
    "no credentials": Trial("no AWS credentials: ", unset=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")),
    "no region": Trial(
        "AWS access is not configured: You must specify a region.", unset=("AWS_REGION", "AWS_DEFAULT_REGION")
    ),
    "missing profile": Trial(
        "AWS access is not configured: The config profile (no-such-profile) could not be found",
        set={"AWS_PROFILE": "no-such-profile"},
    ),
    "no URL": Trial("AWS access is not configured: Invalid endpoint: nowhere", set={"AWS_ENDPOINT_URL": "nowhere"}),
    "too many deliveries": Trial(
        "WORKER_MAX_DELIVERIES is 96, must be at most 95: test-OrderFulfillmentQueue's maxReceiveCount less 5; "
        "or raise maxReceiveCount to 101",
        set={"WORKER_MAX_DELIVERIES": "96"},
    ),
    "missing provider": Trial(
        "FULFILLMENT_PROVIDER is 'no.such:Provider', which cannot be loaded: No module named 'no'",
        set={"FULFILLMENT_PROVIDER": "no.such:Provider"},
    ),
    "protection outside of ECS": Trial(
        "WORKER_TASK_PROTECTION is true, but ECS_AGENT_URI is not set: only ECS tasks can be protected",
        set={"WORKER_TASK_PROTECTION": "true"},
        unset=("ECS_AGENT_URI",),
    ),
    "not a provider": Trial(
        "FULFILLMENT_PROVIDER is 'tests.integration.providers:NoProvider', which is not a provider: "
        "it needs a method ship(self, order), either async or a plain function",
        set={"FULFILLMENT_PROVIDER": "tests.integration.providers:NoProvider"},
    ),
    "a card for a name": Trial("there is no queue ****: ", set={"ORDER_FULFILLMENT_QUEUE": CARD}),
}


@pytest.fixture(scope="module")
def trials(stack: DeployedStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Worker]]:
    """Start the workers of all trials at the same time: each takes a second or two."""
    logs = tmp_path_factory.mktemp("trials")
    with contextlib.ExitStack() as running:
        started = {}
        for name, trial in TRIALS.items():
            environment = stack.worker_environment() | ENVIRONMENT | trial.set
            kept = {name: value for name, value in environment.items() if name not in trial.unset}
            started[name] = run_worker(trial.worker, kept, logs / f"{name}.log")
            running.callback(started[name].kill)
        yield started


@pytest.mark.parametrize("name", TRIALS)
def test_a_failed_start_is_explained_in_one_line(trials: dict[str, Worker], name: str) -> None:
    worker = trials[name]
    assert worker.wait() == 1
    lines = worker.lines()
    assert [line["event"] for line in lines] == ["worker.starting", "worker.failed"]
    assert len(worker.output().splitlines()) == 2
    assert lines[-1]["level"] == "critical"
    assert lines[-1]["reason"].startswith(TRIALS[name].line)
    assert "Traceback" not in worker.output()
    assert CARD not in worker.output()


def test_a_wrong_setting_prints_one_line(stack: DeployedStack, tmp_path: Path) -> None:
    wrong = {"ESCALATION_QUEUE": "Escalations.fifo", "WORKER_WAIT_S": "21", "LOG_LEVEL": CARD}
    environment = stack.worker_environment() | wrong
    worker = run_worker("fulfillment", environment, tmp_path / "worker.log")
    assert worker.wait() == 1
    assert worker.output() == (
        "python -m workers: ESCALATION_QUEUE is 'Escalations.fifo', must be the name, the URL or the ARN of a standard "
        "SQS queue, not of a FIFO queue; WORKER_WAIT_S is '21', must be 0 to 20 seconds; "
        "LOG_LEVEL is '****', must be DEBUG, INFO, WARNING or ERROR\n"
    )


@pytest.mark.process
def test_a_worker_waits_for_aws_and_then_starts(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    with deploy.local.aws.local_aws(state=state, port=port) as aws:
        deployment = deployed_pipeline.up(Aws.of(aws.client, REGION), "", Progress(quiet=True))
        pipeline = Pipeline(DeployedStack(aws, "", deployment.outputs))
    waiting, stopped = (pipeline.start("fulfillment", tmp_path / f"{name}.log") for name in ("waiting", "stopped"))
    with contextlib.ExitStack() as running:
        running.callback(waiting.kill)
        running.callback(stopped.kill)
        for attempt in range(1, 4):
            line = waiting.wait_for("aws.unavailable", attempt=attempt)
            assert line["reason"] == f"endpoint connection error at {aws.endpoint}/"
            assert 0 <= line["delay_ms"] <= 500 * 2 ** (attempt - 1)
        stopped.wait_for("aws.unavailable")
        assert stopped.stop() == 0
        assert [line["event"] for line in stopped.lines()][-2:] == ["signal.received", "worker.stopped"]
        with deploy.local.aws.local_aws(state=state, port=port):
            waiting.wait_for("worker.started")
            pipeline.put_order("waited-1")
            message_id = pipeline.send_order("waited-1")
            waiting.wait_for("message.acknowledged", message_id=message_id, outcome="fulfilled")
            assert waiting.stop() == 0
        assert "Traceback" not in waiting.output() + stopped.output()


async def test_a_worker_asks_ecs_for_protection_and_runs_without_it(start_worker: StartWorker) -> None:
    async with running_agent() as agent:
        agent.answer, agent.status = {"error": {"Code": "AccessDeniedException", "Message": "..."}}, 400
        protected = {"WORKER_TASK_PROTECTION": "true", "ECS_AGENT_URI": agent.uri}
        worker = await asyncio.to_thread(start_worker, "fulfillment", env=protected)
        await asyncio.to_thread(worker.wait_for, "worker.started")
        failed = await asyncio.to_thread(worker.wait_for, "task_protection.failed")
        assert await asyncio.to_thread(worker.stop) == 0
    assert (failed["level"], failed["reason"]) == ("warning", "AccessDeniedException")
    assert agent.calls == [("GET", None)]


class CredentialsEndpoint(http.server.BaseHTTPRequestHandler):
    """Hands out credentials as a container's endpoint does; not before the server's `failures` are answered."""

    def do_GET(self) -> None:
        failures: list[int] = getattr(self.server, "failures")  # noqa: B009 - the base class has no such attribute.
        status = failures.pop(0) if failures else 200
        credentials = {
            "AccessKeyId": "test",
            "SecretAccessKey": "test",
            "Token": "test",
            "Expiration": "2099-01-01T00:00:00Z",
        }
        body = json.dumps(credentials).encode() if status == 200 else b"busy"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def credentials_endpoint(*failures: int) -> Iterator[str]:
    """Yield the URL of an endpoint that first answers with the statuses *failures*."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), CredentialsEndpoint)
    server.failures = list(failures)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/credentials"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def without_keys(environment: dict[str, str], url: str) -> dict[str, str]:
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    kept = {name: value for name, value in environment.items() if name not in keys}
    return kept | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_EC2_METADATA_DISABLED": "true"}


def test_a_credentials_endpoint_that_fails_is_waited_for(stack: DeployedStack, tmp_path: Path) -> None:
    # The SDK itself asks three times.
    with credentials_endpoint(500, 429, 500, 429, 500, 500) as url:
        environment = without_keys(stack.worker_environment() | ENVIRONMENT, url)
        worker = run_worker("fulfillment", environment, tmp_path / "worker.log")
        with contextlib.ExitStack() as running:
            running.callback(worker.kill)
            for attempt in (1, 2):
                reason = worker.wait_for("aws.unavailable", attempt=attempt)["reason"]
                assert reason.startswith("no AWS credentials: Error when retrieving credentials from container-role: ")
            worker.wait_for("worker.started")
            assert worker.stop() == 0


def test_a_stop_ends_the_wait_for_credentials(stack: DeployedStack, tmp_path: Path) -> None:
    with credentials_endpoint(*[500] * 1000) as url:
        environment = without_keys(stack.worker_environment() | ENVIRONMENT, url)
        worker = run_worker("escalation", environment, tmp_path / "worker.log")
        with contextlib.ExitStack() as running:
            running.callback(worker.kill)
            worker.wait_for("aws.unavailable")
            assert worker.stop() == 0
            assert "Traceback" not in worker.output()
