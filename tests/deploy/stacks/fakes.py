"""AWS's clients as the deployer uses them, answering from scripts: for what the local AWS never answers."""

import functools
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from botocore.validate import ParamValidator

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

    service = ""  # Where it is known, requests are compared with the SDK's model of the service.

    def __init__(self, **operations: Callable[..., Any]) -> None:
        self.operations = operations
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self._record(operation, request)
            return self.operations[operation](**request)

        return call

    def get_paginator(self, operation: str) -> Any:
        def paginate(**request: Any) -> Iterator[Any]:
            self._record(operation, request)
            yield from self.operations[operation](**request)

        return SimpleNamespace(paginate=paginate)

    def get_waiter(self, name: str) -> Any:
        def wait(**request: Any) -> None:
            self.requests.append((name, request))
            if self.service:
                waiters = botocore.session.get_session().get_waiter_model(self.service)
                operation = waiters.get_waiter(next(n for n in waiters.waiter_names if xform_name(n) == name)).operation
                check(self.service, xform_name(operation), {k: v for k, v in request.items() if k != "WaiterConfig"})

        return SimpleNamespace(wait=wait)

    def _record(self, operation: str, request: dict[str, Any]) -> None:
        self.requests.append((operation, request))
        if self.service:
            check(self.service, operation, request)

    @property
    def calls(self) -> list[str]:
        return [operation for operation, _ in self.requests]


def fake_aws(region: str = "eu-central-1", **clients: FakeClient) -> Aws:
    """Return an AWS with these clients; all others know no operation, except who calls."""
    sts = FakeClient(get_caller_identity=lambda: {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/ann"})

    def client(service: str) -> Any:
        found = {"sts": sts, **clients}.get(service, FakeClient())
        found.service = service
        return found

    return Aws.of(client, region)


@functools.cache
def operation_models(service: str) -> Mapping[str, Callable[[], OperationModel]]:
    """Return what makes the model of each operation of a service, by the names of the client's methods."""
    model = botocore.session.get_session().get_service_model(service)
    return {
        xform_name(name): functools.cache(functools.partial(model.operation_model, name))
        for name in model.operation_names
    }


def check(service: str, operation: str, request: Mapping[str, Any]) -> None:
    """Check a request against the SDK's model. Raises `AssertionError`."""
    models = operation_models(service)
    assert operation in models, f"{service} has no {operation}"
    expected = models[operation]().input_shape
    report = ParamValidator().validate(request, expected) if expected else None
    assert report is None or not report.has_errors(), f"{service}.{operation}: {report.generate_report()}"


def refusal(code: str, status: int = 400, message: str = "no", operation: str = "Operation") -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


def failing(error: Exception) -> Callable[..., Any]:
    """Return an operation that always raises `error`."""

    def fail(**_: Any) -> Any:
        raise error

    return fail
