"""Fixtures: clients of the session's local AWS, and one run of all facts on it."""

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.local.aws import LocalAws
from tests.aws_facts.fact import Result
from tests.aws_facts.lab import Clients
from tests.aws_facts.runner import run_facts

# The local AWS shows every change at once.
PATIENCE_S = 3.0
PREFIX = "facts-"
# Parameters of calls that name a resource.
NAMES = {
    *("Bucket", "ChangeSetName", "Name", "QueueName", "QueueUrl", "RoleName", "Rule", "SecretId", "StackName"),
    *("TableName", "TopicArn", "executionArn", "name", "roleArn", "stateMachineArn"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """
    The results by fact, and the calls of the run.

    `named` is what they named: (operation, name of the resource); `called`, the calls: (service, operation).
    """

    results: Mapping[str, Result]
    named: set[tuple[str, str]]
    called: set[tuple[str, str]]


@pytest.fixture(scope="session")
def clients(local_aws: LocalAws) -> Clients:
    """Make each client once: that takes longer than most facts."""
    return functools.cache(local_aws.client)


@pytest.fixture(scope="session")
def facts_run(clients: Clients) -> Run:
    """The facts are checked together, because most of their time is waiting."""
    named: set[tuple[str, str]] = set()
    called: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def note(params: dict[str, Any], model: Any, **_: object) -> None:
        with lock:
            called.add((model.service_model.service_name, model.name))
            named.update((model.name, value) for key, value in params.items() if key in NAMES)

    def recorded(service: str) -> Any:
        client = clients(service)
        client.meta.events.register("provide-client-params.*.*", note, unique_id="facts")
        return client

    results = run_facts(recorded, PREFIX, patience_s=PATIENCE_S)
    return Run({result.id: result for result in results}, named, called)
