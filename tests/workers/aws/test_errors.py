import asyncio
import contextlib
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from workers.aws.errors import (
    ITEM_FAULTS,
    SEND_FAULTS,
    CredentialsError,
    CredentialsSourceError,
    MissingResourceError,
    UnreachableError,
    WrongEndpointError,
    ask,
    cancellation_codes,
    readable,
    statement_error,
    translated,
)
from workers.errors import AccessDeniedError, FatalError, OutageError, SuspectedOutageError, WorkerError, plain_name


def client_error(code: str, status: int = 400, **more: Any) -> sdk.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "prose that may quote anything"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return sdk.ClientError(response | more, "UpdateItem")


def raised_for(error: BaseException, faults: Collection[str] = ()) -> BaseException:
    with pytest.raises(BaseException) as raised, translated(faults):  # noqa: PT011 - the tests check which one.
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
        ("InvalidSignatureException", CredentialsError, None),
        ("RequestTimeTooSkewed", CredentialsError, None),
        ("IncompleteSignatureException", CredentialsError, None),
        ("MissingAuthenticationTokenException", CredentialsError, None),
        ("KmsAccessDenied", AccessDeniedError, None),
        ("KMS.DisabledException", OutageError, "UpdateItem: KMS.DisabledException"),
        ("KmsInvalidState", OutageError, None),
        ("NotAuthorized", OutageError, None),
        ("OptInRequired", OutageError, None),
        ("UnknownOperationException", WrongEndpointError, None),
        ("CodeOfTomorrow", SuspectedOutageError, "UpdateItem: CodeOfTomorrow"),
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


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        ("ConditionalCheckFailedException", ITEM_FAULTS),
        ("ValidationException", ITEM_FAULTS),
        ("InvalidParameterValue", SEND_FAULTS),
        ("InvalidMessageContents", SEND_FAULTS),
    ],
)
def test_a_fault_of_the_request_is_not_translated(code: str, faults: Collection[str]) -> None:
    error = client_error(code)
    assert raised_for(error, faults) is error
    assert type(raised_for(error)) is SuspectedOutageError, "a call that names no such codes has none"


def test_a_request_that_the_sdk_refuses_is_a_fault_of_that_request() -> None:
    error = sdk.ParamValidationError(report="prose")
    assert raised_for(error, SEND_FAULTS) is error
    assert type(raised_for(error)) is OutageError


@pytest.mark.parametrize(
    "error", [RuntimeError("Session is closed"), KeyError("x"), AttributeError(), ArithmeticError()]
)
@pytest.mark.parametrize("faults", [(), ITEM_FAULTS])
def test_an_error_of_another_library_is_an_outage(error: Exception, faults: Collection[str]) -> None:
    outage = raised_for(error, faults)
    assert (type(outage), str(outage)) == (SuspectedOutageError, f"the call failed ({plain_name(error)})")


async def test_a_call_that_cancels_itself_is_an_outage() -> None:
    assert type(raised_for(asyncio.CancelledError())) is OutageError


async def test_a_cancellation_of_the_caller_passes() -> None:
    async def call() -> None:
        await asyncio.sleep(60)

    caller = asyncio.create_task(ask(call, ()))
    await asyncio.sleep(0)
    caller.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    assert caller.cancelled()


async def test_a_mistake_in_the_parameters_of_a_call_is_not_an_outage() -> None:
    async def call(*, number: int) -> None: ...

    with pytest.raises(ValueError, match="invalid literal"):
        await ask(call, ITEM_FAULTS, number=int("x"))


@pytest.mark.parametrize("error", [KeyError("Item"), TypeError(), ValueError(), IndexError()])
def test_an_answer_of_another_shape_is_an_outage(error: Exception) -> None:
    with pytest.raises(SuspectedOutageError, match=r"^GetItem: an unreadable response$"), readable("GetItem"):
        raise error


@pytest.mark.parametrize("code", ["ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_throttled_transaction_is_an_outage(code: str) -> None:
    reasons = [{"Code": "None"}, {"Code": code, "Message": "prose"}]
    error = raised_for(client_error("TransactionCanceledException", CancellationReasons=reasons), ITEM_FAULTS)
    assert type(error) is OutageError
    assert str(error) == f"UpdateItem: {code}"


@pytest.mark.parametrize("code", ["ConditionalCheckFailed", "TransactionConflict", "ValidationError"])
def test_a_transaction_cancelled_for_other_reasons_is_not_translated(code: str) -> None:
    error = client_error("TransactionCanceledException", CancellationReasons=[{"Code": "None"}, {"Code": code}])
    assert raised_for(error, ITEM_FAULTS) is error


@pytest.mark.parametrize("reasons", [[], None, [{"Code": "CodeOfTomorrow"}], ["odd"]])
def test_a_transaction_cancelled_for_unknown_reasons_is_an_outage(reasons: Any) -> None:
    error = client_error("TransactionCanceledException", CancellationReasons=reasons)
    assert type(raised_for(error, ITEM_FAULTS)) is SuspectedOutageError


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (sdk.NoCredentialsError(), CredentialsError, "no AWS credentials: Unable to locate credentials"),
        (
            sdk.EndpointConnectionError(endpoint_url="http://127.0.0.1:1/"),
            UnreachableError,
            "endpoint connection error at http://127.0.0.1:1/",
        ),
        (
            sdk.ReadTimeoutError(endpoint_url="http://127.0.0.1:1/"),
            UnreachableError,
            "read timeout error at http://127.0.0.1:1/",
        ),
        (sdk.ConnectionClosedError(endpoint_url="http://x/"), UnreachableError, "connection closed error at http://x/"),
        (
            sdk.ProxyConnectionError(proxy_url="http://***:***@proxy.example:3128/"),
            UnreachableError,
            "proxy connection error at the proxy proxy.example:3128",
        ),
        (
            sdk.ProxyConnectionError(proxy_url="h***tp://***:t@proxy.example", error=SimpleNamespace(status=407)),
            UnreachableError,
            "proxy connection error at the proxy proxy.example, HTTP 407",
        ),
        (sdk.UnauthorizedSSOTokenError(), CredentialsError, "no AWS credentials: unauthorized SSO token error"),
        (sdk.SSOTokenLoadError(error_msg="prose"), CredentialsError, "no AWS credentials: SSO token load error"),
        (
            sdk.TokenRetrievalError(provider="sso", error_msg="prose"),
            CredentialsSourceError,
            "no AWS credentials: token retrieval error",
        ),
        (
            sdk.CredentialRetrievalError(provider="container-role", error_msg="HTTP\n500"),
            CredentialsSourceError,
            "no AWS credentials: Error when retrieving credentials from container-role: HTTP 500",
        ),
        (
            sdk.MetadataRetrievalError(error_msg="prose"),
            CredentialsSourceError,
            "no AWS credentials: metadata retrieval error",
        ),
        (sdk.InvalidConfigError(error_msg="prose"), CredentialsError, "no AWS credentials: invalid config error"),
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
            "the AWS SDK cannot make calls: profile not found",
        ),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), UnreachableError, "incomplete read error"),
        (
            sdk.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
            OutageError,
            "an unreadable response",
        ),
        (TimeoutError(), UnreachableError, "timeout error"),
        (ConnectionResetError("peer"), UnreachableError, "connection reset error"),
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
        ("KMS.ThrottlingException", OutageError),
        ("KmsThrottled", OutageError),
        ("Unheard", SuspectedOutageError),
    ],
)
def test_an_error_of_a_statement_is_classed_by_its_action(code: str, expected: type[Exception]) -> None:
    assert type(statement_error(code)) is expected


@pytest.mark.parametrize("code", ["400", "413", "Unknown"])
def test_an_unreadable_error_is_an_outage(code: str) -> None:
    error = raised_for(client_error(code))
    assert (type(error), str(error)) == (OutageError, f"UpdateItem: {code}")


CODES: dict[type[Exception], str] = {
    FatalError: "AWS.SimpleQueueService.NonExistentQueue QueueDoesNotExist",
    AccessDeniedError: "AccessDenied AccessDeniedException AuthorizationError KMS.AccessDeniedException KMSAccessDenied"
    " KmsAccessDenied UnauthorizedOperation",
    CredentialsError: "AuthFailure ExpiredToken ExpiredTokenException IncompleteSignature IncompleteSignatureException"
    " InvalidAccessKeyId InvalidClientTokenId InvalidSecurity InvalidSignature InvalidSignatureException"
    " MissingAuthenticationToken MissingAuthenticationTokenException RequestExpired RequestInTheFuture"
    " RequestTimeTooSkewed SignatureDoesNotMatch TokenRefreshRequired UnrecognizedClient UnrecognizedClientException",
    WrongEndpointError: "InvalidAction UnknownOperation UnknownOperationException UnsupportedOperation",
    OutageError: "InternalError InternalFailure InternalServerError InternalServiceError KMS.ThrottlingException"
    " KmsThrottled LimitExceededException NotAuthorized OptInRequired OverLimit ProvisionedThroughputExceeded"
    " ProvisionedThroughputExceededException RequestLimitExceeded RequestThrottled RequestTimeout"
    " RequestTimeoutException ServiceUnavailable SlowDown Throttled Throttling ThrottlingError ThrottlingException"
    " TooManyRequestsException TransactionConflictException TransactionInProgressException KMSDisabled KmsDisabled",
    SuspectedOutageError: "ValidationException InvalidParameterValue DuplicateItemException Surprise kms 1a unknown",
}


@pytest.mark.parametrize(
    ("code", "expected"), [(code, expected) for expected, codes in CODES.items() for code in codes.split()]
)
def test_every_known_code_has_its_class(code: str, expected: type[Exception]) -> None:
    assert type(raised_for(client_error(code, status=499))) is expected


ITEM_CODES = (
    "ConditionalCheckFailedException TransactionCanceledException DuplicateItemException"
    " ItemCollectionSizeLimitExceededException SerializationException ValidationException"
)
SEND_CODES = (
    "BatchRequestTooLong InvalidAttributeValue InvalidMessageContents InvalidParameterCombination InvalidParameterValue"
    " MessageTooLong MissingParameter SerializationException ValidationError ValidationException"
)


def test_the_faults_of_items_and_messages_are_these() -> None:
    assert {*ITEM_CODES.split()} == ITEM_FAULTS
    assert {*SEND_CODES.split()} == SEND_FAULTS


def test_an_error_without_a_code_or_status_is_an_outage() -> None:
    error = sdk.ClientError({}, "UpdateItem")
    assert (type(raised_for(error)), str(raised_for(error))) == (OutageError, "UpdateItem: Unknown")


@pytest.mark.parametrize(
    ("codes", "named", "expected"),
    [
        (["Surprise", "ThrottlingError"], "ThrottlingError", OutageError),
        (["ConditionalCheckFailed", "InternalServerError"], "InternalServerError", OutageError),
        (["Surprise", "Other"], "Surprise", SuspectedOutageError),
        ([], "TransactionCanceledException", SuspectedOutageError),
    ],
)
def test_a_cancelled_transaction_names_the_outage(codes: list[str], named: str, expected: type[Exception]) -> None:
    reasons = [{"Code": code} for code in codes]
    error = raised_for(client_error("TransactionCanceledException", CancellationReasons=reasons), ITEM_FAULTS)
    assert (type(error), str(error)) == (expected, f"UpdateItem: {named}")


@pytest.mark.parametrize("code", ["DuplicateItem", "ItemCollectionSizeLimitExceeded"])
def test_items_at_fault_cancel_their_own_transaction(code: str) -> None:
    error = client_error("TransactionCanceledException", CancellationReasons=[{"Code": code}])
    assert raised_for(error, ITEM_FAULTS) is error
    assert type(statement_error(code)) is WorkerError


def test_cancellation_codes_are_one_for_each_item() -> None:
    error = client_error("x", CancellationReasons=[{"Code": "None"}, {}, "odd", {"Code": "ValidationError"}])
    assert cancellation_codes(error) == ["None", "None", "Unknown", "ValidationError"]
    assert cancellation_codes(client_error("x")) == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("AccessDenied", "BatchExecuteStatement: access denied (AccessDenied)"),
        ("ResourceNotFound", "BatchExecuteStatement: the table does not exist"),
        ("ValidationError", "BatchExecuteStatement: ValidationError"),
        ("Unheard", "BatchExecuteStatement: Unheard"),
    ],
)
def test_an_error_of_a_statement_names_its_code(code: str, text: str) -> None:
    assert str(statement_error(code)) == text


def test_the_text_of_a_source_of_credentials_is_cut() -> None:
    error = raised_for(sdk.CredentialRetrievalError(provider="x", error_msg="y" * 1000))
    assert len(str(error)) == len("no AWS credentials: ") + 300


@pytest.mark.parametrize(
    "error",
    [
        sdk.PartialCredentialsError(provider="env", cred_var="key"),
        sdk.NoRegionError(),
        OSError("disk"),
        sdk.HTTPClientError(error="x"),
        sdk.ProxyConnectionError(proxy_url="http://x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_sdks_own_errors_are_no_suspicion(error: Exception) -> None:
    unreachable = isinstance(error, OSError | sdk.HTTPClientError)
    assert type(raised_for(error)) is (UnreachableError if unreachable else CredentialsError)


@pytest.mark.usefixtures("at_debug")
def test_an_error_of_another_library_is_logged_for_debugging() -> None:
    error = RuntimeError("Session is closed")
    with structlog.testing.capture_logs() as logs:
        raised_for(error)
    assert logs == [{"event": "aws.call_failed", "log_level": "debug", "exc_info": error}]


def test_our_own_errors_pass_unchanged() -> None:
    error = WorkerError("ours")
    assert raised_for(error) is error


async def test_a_call_that_is_cancelled_by_something_else_is_named() -> None:
    error = raised_for(asyncio.CancelledError())
    assert str(error) == "the call was cancelled by something else"
    assert type(error.__cause__) is asyncio.CancelledError


def test_only_errors_of_reading_are_unreadable_responses() -> None:
    for error in (ArithmeticError(), AttributeError(), KeyError()):
        with pytest.raises(SuspectedOutageError), readable("GetItem"):
            raise error
    with pytest.raises(RuntimeError), readable("GetItem"):
        raise RuntimeError


async def test_an_answer_is_returned_and_its_faults_are_raised() -> None:
    async def call(number: int, *, more: int) -> int:
        return number + more

    async def fail() -> None:
        raise client_error("ValidationException")

    assert await ask(call, (), 1, more=2) == 3
    with pytest.raises(sdk.ClientError):
        await ask(fail, ITEM_FAULTS)
    with pytest.raises(SuspectedOutageError):
        await ask(fail, ())
