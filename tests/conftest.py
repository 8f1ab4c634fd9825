"""
The fixtures that tests of the whole pipeline stand on; their types, with docs, are in tests/support.py.

- `local_aws`: one local AWS for the session, on a free loopback port, with throw-away state.
- `stack`: deploy/pipeline.yaml on it, deployed by the deployer people use. Tests share it: use order ids of your own.
- `deploy_stack(name_prefix)`: a stack for one test's own use, where queues must be empty or resources get broken.
- `start_worker(name)`: a worker process, ended after the test.

All of it ignores the `AWS_*` variables and profiles of whoever runs the tests.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import deploy.local.aws
from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks import pipeline
from tests.support import DeployedStack, DeployStack, StartWorker, Worker, run_worker

# A state machine's second of waiting or backing off takes 20 ms.
WAIT_SCALE = 0.02
SESSION_PREFIX = "test-"
# Short enough for a test's patience; what people set is tested with values of its own.
WORKER_DEFAULTS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "5", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    """`.endpoint`, `.environment` for child processes, `.client("sqs")` for a boto3 client."""
    with deploy.local.aws.local_aws(wait_scale=WAIT_SCALE) as aws:
        yield aws


@pytest.fixture(scope="session")
def aws(local_aws: LocalAws) -> Aws:
    """The deployer's clients, for the local AWS."""
    return Aws.of(local_aws.client, deploy.local.aws.REGION)


@pytest.fixture(scope="session")
def deploy_stack(local_aws: LocalAws, aws: Aws) -> DeployStack:
    """Deploy the pipeline under a name prefix; it goes with the session's local AWS."""

    def deployed(name_prefix: str) -> DeployedStack:
        deployment = pipeline.up(aws, name_prefix, Progress(quiet=True))
        return DeployedStack(local_aws, name_prefix, deployment.outputs)

    return deployed


@pytest.fixture(scope="session")
def stack(deploy_stack: DeployStack) -> DeployedStack:
    """The session's stack: `.outputs["StateMachineArn"]`, `.order_table`, `.worker_environment()`, `.client("sqs")`."""
    return deploy_stack(SESSION_PREFIX)


@pytest.fixture
def start_worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartWorker]:
    """Start `python -m workers <name>` on the session's stack, or on `stack`; it is killed after the test."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as running:

        def started(name: str, *, stack: DeployedStack | None = None, env: Mapping[str, str] | None = None) -> Worker:
            served: DeployedStack = stack or request.getfixturevalue("stack")
            environment = served.worker_environment() | WORKER_DEFAULTS | dict(env or {})
            worker = run_worker(name, environment, tmp_path / f"{name}-{next(numbers)}.log")
            running.callback(worker.kill)
            return worker

        yield started
