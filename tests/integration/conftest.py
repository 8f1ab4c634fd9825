"""One pipeline with both workers running, for tests that only send messages and look at what comes of them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.pipeline import SCRIPTED, Pipeline
from tests.support import DeployStack, Worker


@dataclass(frozen=True, slots=True)
class Running:
    pipeline: Pipeline
    fulfillment: Worker
    escalation: Worker


@pytest.fixture(scope="package")
def running(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    pipeline = Pipeline(deploy_stack("integration-"))
    logs = tmp_path_factory.mktemp("workers")
    with contextlib.ExitStack() as stack:
        fulfillment = pipeline.start("fulfillment", logs / "fulfillment.log", FULFILLMENT_PROVIDER=SCRIPTED)
        stack.callback(fulfillment.kill)
        escalation = pipeline.start("escalation", logs / "escalation.log")
        stack.callback(escalation.kill)
        for worker in (fulfillment, escalation):
            worker.wait_for("worker.started")
        yield Running(pipeline, fulfillment, escalation)
        for worker in (fulfillment, escalation):
            assert worker.stop() == 0, worker.output()
