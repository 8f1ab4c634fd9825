"""Fixtures: the session's local AWS as the account that the environment points to, with every call recorded."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.model import OperationModel

from deploy.local.aws import LocalAws
from tests.acceptance import __main__ as command
from tests.acceptance.account import Account
from workers.testing.sdk import REGION

ACCOUNT = "000000000000"


@dataclass
class Recorded:
    """The account, and the calls to it: service, model of the operation, parameters."""

    local_aws: LocalAws
    calls: list[tuple[str, OperationModel, dict[str, Any]]] = field(default_factory=list)

    def find(self) -> Account:
        return Account(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root", REGION, self.local_aws.endpoint, self._client)

    def _client(self, service: str) -> Any:
        client = self.local_aws.client(service)

        def note(params: dict[str, Any], model: OperationModel, **_: object) -> None:
            self.calls.append((service, model, dict(params)))

        client.meta.events.register("provide-client-params.*.*", note)
        return client

    def run(self, *arguments: str | Path) -> int:
        return command.main(["--account", ACCOUNT, *map(str, arguments)], self.find)


@pytest.fixture
def recorded(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Also point the SDK's variables of this process to the local AWS: the workers and the submission read them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in local_aws.environment.items():
        monkeypatch.setenv(name, value)
    return Recorded(local_aws)
