from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from workers.aws.errors import CredentialsError, MissingResourceError, UnreachableError, statement_error, translated
from workers.errors import AccessDeniedError, FatalError, OutageError, WorkerError


def client_error(code: str, status: int = 400, **more: Any) -> sdk.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "prose that may quote anything"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return sdk.ClientError(response | more, "UpdateItem")


def raised_for(error: Exception) -> Exception:
    with pytest.raises(Exception) as raised, translated():  # noqa: PT011 - the tests check which one.
        raise error
    return raised.value


@pytest.mark.parametrize(
    ("code", "expected", "text"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", FatalError, "UpdateItem: the queue does not exist"),
        ("QueueDoesNotExist", FatalError, "UpdateItem: the queue does not exist"),
        ("AccessDenied", AccessDeniedError, "UpdateItem: access denied (AccessDenied)"),
        ("AccessDeniedException", AccessDeniedError, "UpdateItem: access denied (AccessDeniedException)"),
        ("ExpiredToken", CredentialsError, "UpdateItem: AWS refuses the credentials (ExpiredToken)"),
        ("InvalidClientTokenId", CredentialsError, "UpdateItem: AWS refuses the credentials (InvalidClientTokenId)"),
        ("SignatureDoesNotMatch", CredentialsError, "UpdateItem: AWS refuses the credentials (SignatureDoesNotMatch)"),
        ("UnrecognizedClientException", CredentialsError, None),
        ("ResourceNotFoundException", MissingResourceError, "UpdateItem: the table does not exist"),
        ("ThrottlingException", OutageError, "UpdateItem: ThrottlingException"),
        ("ProvisionedThroughputExceededException", OutageError, None),
        ("RequestThrottled", OutageError, None),
        ("TransactionInProgressException", OutageError, None),
        ("TransactionConflictException", OutageError, "UpdateItem: TransactionConflictException"),
        ("ServiceUnavailable", OutageError, None),
    ],
)
def test_an_error_code_is_classed_by_its_action(code: str, expected: type[Exception], text: str | None) -> None:
    error = raised_for(client_error(code))
    assert type(error) is expected
    assert text is None or str(error) == text
    assert "prose" not in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_an_outage_whatever_its_code(status: int) -> None:
    assert type(raised_for(client_error("Unheard", status))) is OutageError


@pytest.mark.parametrize("code", ["ConditionalCheckFailedException", "ValidationException", "InvalidParameterValue"])
def test_a_mistake_in_the_request_is_not_translated(code: str) -> None:
    error = client_error(code)
    assert raised_for(error) is error


def test_a_request_that_the_sdk_refuses_is_not_translated() -> None:
    error = sdk.ParamValidationError(report="prose")
    assert raised_for(error) is error


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_throttled_transaction_is_an_outage(code: str) -> None:
    reasons = [{"Code": "None"}, {"Code": code, "Message": "prose"}]
    error = raised_for(client_error("TransactionCanceledException", CancellationReasons=reasons))
    assert type(error) is OutageError
    assert str(error) == f"UpdateItem: {code}"


@pytest.mark.parametrize("code", ["ConditionalCheckFailed", "TransactionConflict", "ValidationError"])
def test_a_transaction_cancelled_for_other_reasons_is_not_translated(code: str) -> None:
    error = client_error("TransactionCanceledException", CancellationReasons=[{"Code": code}])
    assert raised_for(error) is error


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (sdk.NoCredentialsError(), CredentialsError, "no AWS credentials: Unable to locate credentials"),
        (
            sdk.EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"),
            UnreachableError,
            "EndpointConnectionError at http://127.0.0.1:1/",
        ),
        (
            sdk.ReadTimeoutError(endpoint_url="http://127.0.0.1:1/"),
            UnreachableError,
            "ReadTimeoutError at http://127.0.0.1:1/",
        ),
        (sdk.ConnectionClosedError(endpoint_url="http://x/"), UnreachableError, "ConnectionClosedError at http://x/"),
        (sdk.UnauthorizedSSOTokenError(), CredentialsError, "no AWS credentials: UnauthorizedSSOTokenError"),
        (sdk.SSOTokenLoadError(error_msg="prose"), CredentialsError, "no AWS credentials: SSOTokenLoadError"),
        (
            sdk.TokenRetrievalError(provider="sso", error_msg="prose"),
            CredentialsError,
            "no AWS credentials: TokenRetrievalError",
        ),
        (sdk.MetadataRetrievalError(error_msg="prose"), CredentialsError, "no AWS credentials: MetadataRetrievalError"),
        (sdk.InvalidConfigError(error_msg="prose"), CredentialsError, "no AWS credentials: InvalidConfigError"),
        (
            FileNotFoundError(2, "No such file or directory", "/run/token"),
            CredentialsError,
            "no AWS credentials: /run/token: No such file or directory",
        ),
        (
            PermissionError(13, "Permission denied", "/run/token"),
            CredentialsError,
            "no AWS credentials: /run/token: Permission denied",
        ),
        (
            sdk.ProfileNotFound(profile="prose"),
            CredentialsError,
            "the AWS SDK cannot make calls: ProfileNotFound",
        ),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), UnreachableError, "IncompleteReadError"),
        (
            sdk.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
            OutageError,
            "an unreadable response",
        ),
        (TimeoutError(), UnreachableError, "TimeoutError"),
        (ConnectionResetError("peer"), UnreachableError, "ConnectionResetError"),
        (ResponseParserError("<html>"), OutageError, "an unreadable response"),
    ],
)
def test_a_missing_or_unreadable_response_is_an_outage(error: Exception, expected: type[Exception], text: str) -> None:
    translation = raised_for(error)
    assert (type(translation), str(translation)) == (expected, text)
    assert isinstance(translation, OutageError)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("AccessDenied", AccessDeniedError),
        ("ResourceNotFound", MissingResourceError),
        ("ValidationError", WorkerError),
        ("ThrottlingError", OutageError),
        ("ProvisionedThroughputExceeded", OutageError),
        ("TransactionConflict", OutageError),
        ("InternalServerError", OutageError),
        ("Unheard", OutageError),
    ],
)
def test_an_error_of_a_statement_is_classed_by_its_action(code: str, expected: type[Exception]) -> None:
    assert type(statement_error(code)) is expected


@pytest.mark.parametrize("code", ["400", "413", "Unknown"])
def test_an_unreadable_error_is_an_outage(code: str) -> None:
    error = raised_for(client_error(code))
    assert (type(error), str(error)) == (OutageError, f"UpdateItem: {code}")
