"""
Translates the errors of AWS calls into the workers' own errors, all in one place. The class says what to do.

- The queue is gone: `FatalError`. AWS denies access: `AccessDeniedError`, fatal if it lasts.
- AWS blames the request itself: the SDK's error is raised unchanged. Each call lists the error codes that mean this
  (`ITEM_FAULTS`, `SEND_FAULTS`); most calls list none.
- Anything else: `OutageError`, for known and unknown codes, and for errors of the SDK and of other libraries.
  If nothing shows that the error concerns every message, it is a `SuspectedOutageError`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import structlog
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from workers.aws.unreachable import unreachable
from workers.errors import AccessDeniedError, FatalError, OutageError, SuspectedOutageError, WorkerError, plain_name

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

CONDITION_FAILED = "ConditionalCheckFailedException"
TRANSACTION_CANCELLED = "TransactionCanceledException"
# DynamoDB's codes for a problem with one request: with its condition, size, keys or text.
ITEM_FAULTS = frozenset(
    {
        CONDITION_FAILED,
        TRANSACTION_CANCELLED,
        "DuplicateItemException",
        "ItemCollectionSizeLimitExceededException",
        "SerializationException",
        "ValidationException",
    }
)
# SQS's codes for a problem with the message in a SendMessage: with its contents, size or attributes.
SEND_FAULTS = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidAttributeValue",
        "InvalidMessageContents",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "MessageTooLong",
        "MissingParameter",
        "SerializationException",
        "ValidationError",
        "ValidationException",
    }
)
# DynamoDB's codes for a problem with one statement of a batch or one item of a transaction. None ends in `Exception`.
_STATEMENT_FAULTS = {"DuplicateItem", "ItemCollectionSizeLimitExceeded", "ValidationError"}
# For an item, a transaction can also report a conflict with another writer, or `None` if it accepts the item.
_CANCELLATION_FAULTS = _STATEMENT_FAULTS | {"ConditionalCheckFailed", "None", "TransactionConflict"}

_QUEUE_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",  # SNS.
    "KMS.AccessDeniedException",
    "KMSAccessDenied",
    "KmsAccessDenied",
    "UnauthorizedOperation",
}
# These errors may pass while the process runs: credentials are renewed, and clocks corrected, outside of it.
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignature",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClient",
    "UnrecognizedClientException",
}
# The endpoint does not know the call: the endpoint belongs to another service, or is not AWS.
_WRONG_ENDPOINT = {"InvalidAction", "UnknownOperation", "UnknownOperationException", "UnsupportedOperation"}
# These codes concern AWS, the account or a KMS key as a whole, and so every message.
_DOWN = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServiceError",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "LimitExceededException",
    "NotAuthorized",
    "OptInRequired",
    "OverLimit",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttled",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",  # Another transaction is using the item, for milliseconds.
    "TransactionInProgressException",
}
_KMS = ("KMS", "Kms")  # SQS: `KMS.DisabledException`, `KmsDisabled`; SNS: `KMSDisabled`.
SERVER_ERROR = 500
MAX_TEXT_CHARS = 300  # The SDK's text about a source of credentials quotes the response of that source.


class CredentialsError(OutageError):
    """Credentials are missing or refused, or the SDK is misconfigured. Fatal only at the start."""


class CredentialsSourceError(OutageError):
    """Credentials cannot be fetched now, for example from the container's endpoint. Fatal at the start if it lasts."""


class UnreachableError(OutageError):
    """No response from the endpoint."""


class WrongEndpointError(OutageError):
    """The endpoint does not know the call: fatal only at the start."""


class MissingResourceError(OutageError):
    """A table or secret is missing: fatal only at the start. A missing queue is a `FatalError` at any time."""


async def ask(call: Callable[P, Awaitable[T]], faults: Collection[str], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Return the response of *call*, a method of a client.

    The caller computes the arguments first. So an error while computing them is not mistaken for an error of AWS.

    Raises:
        FatalError: The queue was deleted.
        OutageError: A problem that may pass by itself; its text includes AWS's error code.
        ClientError: The code is one of *faults*: AWS blames this request.
    """
    with translated(faults):
        return await call(*args, **kwargs)


@contextmanager
def translated(faults: Collection[str] = ()) -> Iterator[None]:
    """Translate the errors of AWS calls in the block into the workers' own errors. Raises the same errors as `ask`."""
    try:
        yield
    except WorkerError:
        raise
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        raise OutageError("the call was cancelled by something else") from error
    except sdk.ClientError as error:
        translation = translate(error, faults)
        if translation is None:
            raise
        raise translation from error
    except sdk.ParamValidationError as error:
        if faults:
            raise  # A fault of this request, which the SDK notices before AWS does.
        raise OutageError("the SDK refuses the request (ParamValidationError)") from error
    except Exception as error:
        raise _without_answer(error) from error


@contextmanager
def readable(operation: str) -> Iterator[None]:
    """Raise a `SuspectedOutageError` if the block fails to read a response."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise SuspectedOutageError(f"{operation}: an unreadable response") from error


def translate(error: sdk.ClientError, faults: Collection[str] = ()) -> FatalError | OutageError | None:
    """Translate *error* into one of ours. Returns None if its code is one of *faults*: AWS blames the request."""
    code, operation = error_code(error), error.operation_name
    if code in faults:
        return _cancelled(error) if code == TRANSACTION_CANCELLED else None
    translation: FatalError | OutageError
    if code in _QUEUE_GONE:
        translation = FatalError(f"{operation}: the queue does not exist")
    elif code in _DENIED:
        translation = AccessDeniedError(f"{operation}: access denied ({code})")
    elif code in _CREDENTIALS:
        translation = CredentialsError(f"{operation}: AWS refuses the credentials ({code})")
    elif code == "ResourceNotFoundException":
        translation = MissingResourceError(f"{operation}: the table does not exist")
    elif code in _WRONG_ENDPOINT:
        translation = WrongEndpointError(f"{operation}: the endpoint does not know this call ({code})")
    elif _concerns_all(code, error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)):
        translation = OutageError(f"{operation}: {code}")
    else:
        translation = SuspectedOutageError(f"{operation}: {code}")
    return translation


def _concerns_all(code: str, status: int) -> bool:
    """Return whether an error concerns AWS, the account or a KMS key as a whole, and so every message."""
    unreadable = code.isdigit() or code == "Unknown"  # The SDK's code for an unreadable error is its HTTP status.
    return code in _DOWN or code.startswith(_KMS) or unreadable or status >= SERVER_ERROR


def cancelled_transaction(error: Exception) -> sdk.ClientError | None:
    """Return the SDK's error if *error*, or the cause of this outage, is that DynamoDB cancelled a transaction."""
    cause = error if isinstance(error, sdk.ClientError) else error.__cause__
    if isinstance(cause, sdk.ClientError) and error_code(cause) == TRANSACTION_CANCELLED:
        return cause
    return None


def cancellation_codes(error: sdk.ClientError) -> list[str]:
    """Return why a transaction was cancelled: one code for each item, `None` for an item that was accepted."""
    reasons: Any = error.response.get("CancellationReasons") or []
    return [str(reason.get("Code")) if isinstance(reason, dict) else "Unknown" for reason in reasons]


def _cancelled(error: sdk.ClientError) -> OutageError | None:
    """Return the outage that cancelled a transaction; None if its own items or other writers are the cause."""
    codes = cancellation_codes(error)
    return cancellation_outage(codes or [error_code(error)], error.operation_name)


def cancellation_outage(codes: Collection[str], operation: str = "TransactWriteItems") -> OutageError | None:
    """Return the outage that is among the *codes* of a cancelled transaction's items; None if there is none."""
    others = [code for code in codes if code not in _CANCELLATION_FAULTS]
    if not others:
        return None
    code = next((code for code in others if code in _DOWN), others[0])
    return (OutageError if code in _DOWN else SuspectedOutageError)(f"{operation}: {code}")


def statement_error(code: str) -> Exception:
    """Translate the error of one statement in a batch into one of ours. Its codes lack the suffix `Exception`."""
    if code in _STATEMENT_FAULTS:
        return WorkerError(f"BatchExecuteStatement: {code}")
    if code == "AccessDenied":
        return AccessDeniedError(f"BatchExecuteStatement: access denied ({code})")
    if code == "ResourceNotFound":
        return MissingResourceError("BatchExecuteStatement: the table does not exist")
    known = code in _DOWN or code == "TransactionConflict"
    return (OutageError if known else SuspectedOutageError)(f"BatchExecuteStatement: {code}")


def error_code(error: sdk.ClientError) -> str:
    """Return AWS's code of *error*; `Unknown` if the response has none."""
    details: Any = error.response.get("Error", {})
    return str(details.get("Code", "Unknown"))


def _without_answer(error: Exception) -> OutageError:
    """Return the outage for an *error* that is not a response from AWS."""
    kind = plain_name(error)
    outage: OutageError
    match error:
        case sdk.NoCredentialsError() | sdk.PartialCredentialsError():
            outage = CredentialsError(f"no AWS credentials: {error}")
        case sdk.CredentialRetrievalError():
            outage = CredentialsSourceError(f"no AWS credentials: {' '.join(str(error).split())[:MAX_TEXT_CHARS]}")
        case sdk.SSOError() | sdk.InvalidConfigError():  # Their texts quote responses and configuration.
            outage = CredentialsError(f"no AWS credentials: {kind}")
        case sdk.TokenRetrievalError() | sdk.MetadataRetrievalError():
            outage = CredentialsSourceError(f"no AWS credentials: {kind}")
        case FileNotFoundError() | PermissionError():  # Most likely the file of a web identity token.
            outage = CredentialsError(f"no AWS credentials: {error.filename}: {error.strerror}")
        case sdk.HTTPClientError() | sdk.ConnectionError() | sdk.IncompleteReadError() | TimeoutError() | OSError():
            outage = UnreachableError(unreachable(error))
        case ResponseParserError() | sdk.ChecksumError():
            outage = OutageError("an unreadable response")
        case sdk.BotoCoreError():
            outage = CredentialsError(f"the AWS SDK cannot make calls: {kind}")
        case _:
            # From another library or a credentials plugin. Its text could contain anything, so the outage omits it.
            log.debug("aws.call_failed", exc_info=error)
            outage = SuspectedOutageError(f"the call failed ({kind})")
    return outage
