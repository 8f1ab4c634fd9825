"""
Fixtures for tests of the whole pipeline. Their types, with documentation, are in tests/support.py.

- `local_aws`: one local AWS for the session, on a free loopback port, with temporary state.
- `stack`: deploy/pipeline.yaml on it, deployed with the real deployer. Tests share it: use your own order ids.
- `deploy_stack(name_prefix)`: a stack for one test, if it needs empty queues or breaks resources.
- `start_worker(name)`: a worker process, killed after the test.

All of them ignore the caller's `AWS_*` variables and profiles.
"""

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

import deploy.local.aws
from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.local.sdk import REGION
from deploy.progress import Progress
from deploy.stacks import pipeline
from tests.support import DeployedStack, DeployStack, StartWorker, Worker, run_worker

# A wait or backoff of one second in a state machine takes 20 ms.
WAIT_SCALE = 0.02
SESSION_PREFIX = "test-"
# Short, so that tests are fast. Tests of these settings use their own values.
WORKER_DEFAULTS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "5", "LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}

# Property-based tests try the same few examples in every run. HYPOTHESIS_PROFILE=explore tries many new ones, for as
# long as that takes. None fails because the machine is slow.
_UNTIMED = settings(
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("suite", _UNTIMED, derandomize=True, max_examples=60)
settings.register_profile("explore", _UNTIMED, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "suite")


@pytest.fixture(scope="session")
def local_aws() -> Iterator[LocalAws]:
    """`.endpoint`, `.environment` for child processes, `.client("sqs")` for a boto3 client."""
    with deploy.local.aws.local_aws(wait_scale=WAIT_SCALE) as aws:
        yield aws


@pytest.fixture(scope="session")
def aws(local_aws: LocalAws) -> Aws:
    """The deployer's clients, for the local AWS."""
    return Aws.of(local_aws.client, REGION)


@pytest.fixture(scope="session")
def deploy_stack(local_aws: LocalAws, aws: Aws) -> DeployStack:
    """Deploy the pipeline under a name prefix; it ends with the session's local AWS."""

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
    """Start `python -m workers <name>` on the session's stack or on `stack`; kill it after the test."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as running:

        def started(name: str, *, stack: DeployedStack | None = None, env: Mapping[str, str] | None = None) -> Worker:
            served: DeployedStack = stack or request.getfixturevalue("stack")
            environment = served.worker_environment() | WORKER_DEFAULTS | dict(env or {})
            worker = run_worker(name, environment, tmp_path / f"{name}-{next(numbers)}.log")
            running.callback(worker.kill)
            return worker

        yield started
