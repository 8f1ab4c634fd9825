from types import SimpleNamespace
from typing import cast

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tests.workers.operations.fakes import refused
from workers.errors import OutageError
from workers.operations.names import Names
from workers.operations.sdk_errors import SDK_ERRORS, Explaining, explained, is_missing, is_unknown_call
from workers.operations.stack import Stack


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("SendMessage", "SendMessage (AccessDenied); the stack's parameter SenderArns names who may"),
        ("SendMessageBatch", "SendMessageBatch (AccessDenied); the stack's parameter SenderArns names who may"),
        ("GetItem", "GetItem (AccessDenied)"),
    ],
)
async def test_a_refused_send_names_the_parameter_that_allows_it(operation: str, line: str) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
    assert await explained(error, Stack()) == f"these credentials do not allow {line}"


HINT = "give the SDK working credentials, for example with AWS_PROFILE"


LOCAL = '; if it is a local AWS, it has ended or listens on another port now: eval "$(make env)"'


async def missing_table() -> str:
    return "there is no table X"


STACK = cast("Explaining", SimpleNamespace(names=Names("o", "e", "q", "d", "Orders"), missing_table=missing_table))


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "StateMachineDoesNotExist",
            "there is no state machine Orders: deploy the stack, or correct STATE_MACHINE",
        ),
        ("ExpiredToken", f"AWS refuses the credentials (ExpiredToken); {HINT}"),
        ("AccessDeniedException", "these credentials do not allow GetItem (AccessDeniedException)"),
        ("ResourceNotFoundException", "there is no table X"),
        ("QueueDoesNotExist", "GetItem: the queue does not exist"),
        ("ThrottlingException", "AWS refused GetItem (ThrottlingException)"),
        ("Surprise", "AWS refused GetItem (Surprise)"),
    ],
)
async def test_a_refusal_is_explained(code: str, line: str) -> None:
    assert await explained(refused(code, "GetItem"), STACK) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (exceptions.NoRegionError(), "no region: set AWS_REGION, or a region in your AWS profile"),
        (exceptions.NoCredentialsError(), f"no AWS credentials: Unable to locate credentials; {HINT}"),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="key"),
            f"no AWS credentials: Partial credentials found in env, missing: key; {HINT}",
        ),
        (
            exceptions.CredentialRetrievalError(provider="x", error_msg="a\nb"),
            f"no AWS credentials: Error when retrieving credentials from x: a b; {HINT}",
        ),
        (
            exceptions.UnauthorizedSSOTokenError(),
            "no AWS credentials: The SSO session associated with this profile has expired or is otherwise invalid."
            " To refresh this SSO session run aws sso login with the corresponding profile; " + HINT,
        ),
        (
            exceptions.TokenRetrievalError(provider="sso", error_msg="no"),
            f"no AWS credentials: Error when retrieving token from sso: no; {HINT}",
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://x"),
            'AWS cannot be reached: Could not connect to the endpoint URL: "http://x"',
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:36039/"),
            f'AWS cannot be reached: Could not connect to the endpoint URL: "http://127.0.0.1:36039/"{LOCAL}',
        ),
        (
            exceptions.ConnectTimeoutError(endpoint_url="http://localhost:4566"),
            f'AWS cannot be reached: Connect timeout on endpoint URL: "http://localhost:4566"{LOCAL}',
        ),
        (
            exceptions.ReadTimeoutError(endpoint_url="http://127.0.0.1:4566"),  # It is there.
            'AWS cannot be reached: Read timeout on endpoint URL: "http://127.0.0.1:4566"',
        ),
        (
            exceptions.ProxyConnectionError(proxy_url="http://***:***@proxy.example:3128"),
            "AWS cannot be reached: proxy connection error at the proxy proxy.example:3128",
        ),
        (
            exceptions.ConnectTimeoutError(endpoint_url="http://x"),
            'AWS cannot be reached: Connect timeout on endpoint URL: "http://x"',
        ),
        (
            exceptions.HTTPClientError(error="x"),
            "AWS cannot be reached: An HTTP Client raised an unhandled exception: x",
        ),
        (
            exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            "AWS cannot be reached: 1 read, but total bytes expected is 2.",
        ),
        (ResponseParserError("x"), "an AWS response cannot be read; the command can be repeated"),
        (
            exceptions.ParamValidationError(report="a card number"),
            "the AWS SDK cannot make calls: param validation error",
        ),
        (
            exceptions.ProfileNotFound(profile="p"),
            "the AWS SDK cannot make calls: The config profile (p) could not be found",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_failed_call_is_explained(error: Exception, line: str) -> None:
    assert await explained(error, STACK) == line


async def test_an_error_of_the_library_is_explained_by_its_cause_or_else_by_its_text() -> None:
    error = OutageError("GetItem: ThrottlingException")
    assert await explained(error, STACK) == "GetItem: ThrottlingException"
    error.__cause__ = refused("ThrottlingException", "GetItem")
    assert await explained(error, STACK) == "AWS refused GetItem (ThrottlingException)"
    error.__cause__ = KeyError("x")
    assert await explained(error, STACK) == "GetItem: ThrottlingException"


async def test_any_other_error_is_not_explained() -> None:
    error = KeyError("x")
    assert await explained(error, STACK) is None
    error.__cause__ = refused("ThrottlingException")
    assert await explained(error, STACK) is None


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (refused("QueueDoesNotExist"), True),
        (refused("AWS.SimpleQueueService.NonExistentQueue"), True),
        (refused("ResourceNotFoundException"), True),
        (refused("AccessDeniedException"), False),
        (refused("ThrottlingException"), False),
        (exceptions.NoRegionError(), False),
    ],
    ids=str,
)
def test_a_queue_or_table_that_aws_does_not_know_is_missing(error: Exception, missing: bool) -> None:
    assert is_missing(error) is missing


@pytest.mark.parametrize(
    ("error", "caught"),
    [(refused("X"), True), (exceptions.NoRegionError(), True), (ResponseParserError(), True), (KeyError(), False)],
    ids=lambda value: type(value).__name__,
)
def test_these_are_the_errors_of_a_call_to_aws(error: Exception, caught: bool) -> None:
    assert isinstance(error, SDK_ERRORS) is caught


def test_an_endpoint_that_does_not_know_a_call_is_not_aws() -> None:
    errors = [refused("UnknownOperationException", "GetItem"), refused("Throttling", "GetItem"), ValueError("bug")]
    assert [is_unknown_call(error) for error in errors] == [True, False, False]
