"""One pipeline with both workers running, for tests that only send messages and check their results."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.proxy import FaultProxy
from tests.integration.command_line import CommandLine
from tests.integration.hooks import Hooks
from tests.integration.pipeline import SCRIPTED, Pipeline
from tests.support import DeployedStack, DeployStack, Worker


@dataclass(frozen=True, slots=True)
class Running:
    """A pipeline, and the two workers that serve it."""

    pipeline: Pipeline
    fulfillment: Worker
    escalation: Worker


@contextlib.contextmanager
def running_workers(stack: DeployedStack, logs: Path, **environment: str) -> Iterator[Running]:
    """Run both workers on *stack* until the end of the block."""
    pipeline = Pipeline(stack)
    with contextlib.ExitStack() as started:
        fulfillment = pipeline.start(
            "fulfillment", logs / "fulfillment.log", FULFILLMENT_PROVIDER=SCRIPTED, **environment
        )
        started.callback(fulfillment.kill)
        escalation = pipeline.start("escalation", logs / "escalation.log", **environment)
        started.callback(escalation.kill)
        for worker in (fulfillment, escalation):
            worker.wait_for("worker.started")
        yield Running(pipeline, fulfillment, escalation)


@pytest.fixture(scope="package")
def running(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Both workers on a stack that all tests of this folder share; use your own order ids."""
    with running_workers(deploy_stack("integration-"), tmp_path_factory.mktemp("workers")) as running:
        yield running
        for worker in (running.fulfillment, running.escalation):
            assert worker.stop() == 0, worker.output()


@pytest.fixture
def proxy(orders: CommandLine) -> Iterator[FaultProxy]:
    """A fault proxy between the module's command line and its local AWS."""
    with FaultProxy(orders.stack.local_aws.endpoint, seed=7) as proxy:
        yield proxy


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    serving = Hooks()
    thread = threading.Thread(target=serving.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield serving
    finally:
        serving.closing.set()
        serving.server.shutdown()
        serving.server.server_close()
        thread.join()
