"""AWS's clients as the deployer uses them, answering from scripts: for what the local AWS never answers."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import ClientError

from deploy.aws import Aws

ACCOUNT = "111122223333"


class MissingError(Exception):
    """Stands for each of a client's own exceptions."""


class FakeClient:
    """Answers each operation with a function of its request; for a paginator, the function returns the pages."""

    exceptions = SimpleNamespace(
        ResourceNotFoundException=MissingError,
        QueueDoesNotExist=MissingError,
        StateMachineDoesNotExist=MissingError,
        BucketAlreadyOwnedByYou=MissingError,
        ExecutionAlreadyExists=MissingError,
        NoSuchEntityException=MissingError,
        InvalidInputException=MissingError,
        EntityAlreadyExistsException=MissingError,
    )
    meta = SimpleNamespace(partition="aws-cn", endpoint_url="https://s3.cn-north-1.amazonaws.com.cn")

    def __init__(self, **operations: Callable[..., Any]) -> None:
        self.operations = operations
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.requests.append((operation, request))
            return self.operations[operation](**request)

        return call

    def get_paginator(self, operation: str) -> Any:
        def paginate(**request: Any) -> Iterator[Any]:
            self.requests.append((operation, request))
            yield from self.operations[operation](**request)

        return SimpleNamespace(paginate=paginate)

    def get_waiter(self, name: str) -> Any:
        return SimpleNamespace(wait=lambda **request: self.requests.append((name, request)))

    @property
    def calls(self) -> list[str]:
        return [operation for operation, _ in self.requests]


def fake_aws(region: str = "eu-central-1", **clients: FakeClient) -> Aws:
    """Return an AWS with these clients; all others know no operation, except who calls."""
    sts = FakeClient(get_caller_identity=lambda: {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/ann"})
    return Aws.of(lambda service: cast("Any", {"sts": sts, **clients}).get(service, FakeClient()), region)


def refusal(code: str, status: int = 400, message: str = "no", operation: str = "Operation") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def failing(error: Exception) -> Callable[..., Any]:
    """Return an operation that always raises `error`."""

    def fail(**_: Any) -> Any:
        raise error

    return fail
