"""Fixtures: an environment for the SDK, and clients of SQS that have learned where to send deletes."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.support import CA_BUNDLE
from tests.workers.aws.sdk.calls import ENVIRONMENT, Calls, calling


@pytest.fixture
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    uses_tls = request.path.name == "test_tls.py" or "certificate" in request.fixturenames
    for name, value in (ENVIRONMENT | ({} if uses_tls else CA_BUNDLE)).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with calling() as calls:
        await calls.learn()
        yield calls
