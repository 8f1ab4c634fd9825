"""Fixtures: the SDK's clients on the session's local AWS, and an empty queue."""

import os
import uuid
from typing import TYPE_CHECKING

import aioboto3
import pytest

from tests.support import CA_BUNDLE, DeployedStack
from workers.aws.sqs import SqsQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_sqs import SQSClient


@pytest.fixture
def session(stack: DeployedStack, monkeypatch: pytest.MonkeyPatch) -> aioboto3.Session:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (stack.local_aws.environment | CA_BUNDLE).items():
        monkeypatch.setenv(name, value)
    return aioboto3.Session()


@pytest.fixture
async def dynamodb(session: aioboto3.Session) -> "AsyncIterator[DynamoDBClient]":
    async with session.client("dynamodb") as client:
        yield client


@pytest.fixture
async def sqs(session: aioboto3.Session) -> "AsyncIterator[SQSClient]":
    async with session.client("sqs") as client:
        yield client


@pytest.fixture
async def url(sqs: "SQSClient") -> str:
    """Return the URL of a new queue for this test."""
    return (await sqs.create_queue(QueueName=f"sqs-{uuid.uuid4().hex}"))["QueueUrl"]


@pytest.fixture
def queue(sqs: "SQSClient", url: str) -> SqsQueue:
    return SqsQueue(name="queue", url=url, visibility_timeout_s=30, wait_s=0, receiving=sqs, visibility=sqs, sqs=sqs)
