"""Fixtures: an environment for the SDK, and clients of SQS that have learned where to send deletes."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.workers.aws.sdk.calls import ENVIRONMENT, Calls, calling


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with calling() as calls:
        await calls.learn()
        yield calls
