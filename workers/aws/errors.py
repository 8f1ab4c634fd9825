"""Translates the SDK's errors into those of the workers, once, by the action they ask for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from workers.errors import AccessDeniedError, FatalError, OutageError, WorkerError

_QUEUE_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMS.AccessDeniedException"}
# Credentials are renewed outside the process: they expire, and come back, while it runs.
_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_THROTTLED = {
    "KmsThrottled",
    "KMS.ThrottlingException",
    "OverLimit",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "SlowDown",
    "Throttling",
    "ThrottlingError",
    "ThrottlingException",
    "TooManyRequestsException",
}
_DOWN = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionConflictException",  # A transaction on the same item is under way; over in milliseconds.
    "TransactionInProgressException",
}
# Their texts quote answers and configuration.
_NO_CREDENTIALS = (sdk.SSOError, sdk.TokenRetrievalError, sdk.MetadataRetrievalError, sdk.InvalidConfigError)
SERVER_ERROR = 500


class CredentialsError(OutageError):
    """AWS does not accept the credentials, there are none, or the SDK's set-up is wrong: fatal at the start only."""


class UnreachableError(OutageError):
    """Nothing answers at the endpoint."""


class MissingResourceError(OutageError):
    """A table or queue is not there: fatal at the start. While the worker runs, only a deleted queue is."""


@contextmanager
def translated() -> Iterator[None]:
    """
    Raise the workers' errors instead of the SDK's.

    Raises:
        FatalError: The queue was deleted.
        OutageError: Anything that may pass by itself; its text names what AWS said, by code.
    """
    try:
        yield
    except sdk.ClientError as error:
        translation = translate(error)
        if translation is None:
            raise
        raise translation from error
    except (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError) as error:
        raise CredentialsError(f"no AWS credentials: {error}") from error
    except _NO_CREDENTIALS as error:
        raise CredentialsError(f"no AWS credentials: {type(error).__name__}") from error
    except (FileNotFoundError, PermissionError) as error:  # Of a web identity's token, most likely.
        raise CredentialsError(f"no AWS credentials: {error.filename}: {error.strerror}") from error
    except (sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError, TimeoutError, OSError) as error:
        raise UnreachableError(_unreachable(error)) from error
    except (ResponseParserError, sdk.ChecksumError) as error:
        raise OutageError("an answer that cannot be read") from error
    except sdk.ParamValidationError:  # Of the request, like an error code that has no translation.
        raise
    except sdk.BotoCoreError as error:
        raise CredentialsError(f"the AWS SDK cannot make calls: {type(error).__name__}") from error


def translate(error: sdk.ClientError) -> FatalError | OutageError | None:
    """Return what *error* means for the worker, None where it means a mistake in the request itself."""
    code = error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    operation = error.operation_name
    if code in _QUEUE_GONE:
        return FatalError(f"{operation}: the queue does not exist")
    if code in _DENIED:
        return AccessDeniedError(f"{operation}: access denied ({code})")
    if code in _CREDENTIALS:
        return CredentialsError(f"{operation}: AWS refuses the credentials ({code})")
    if code == "ResourceNotFoundException":
        return MissingResourceError(f"{operation}: the table does not exist")
    cancellations: Any = error.response.get("CancellationReasons", [])  # Of a transaction, one for each item.
    passing = [each for each in (code, *(each["Code"] for each in cancellations)) if each in _THROTTLED | _DOWN]
    unread = code.isdigit() or code == "Unknown"  # Where the error cannot be read, the SDK has its status for a code.
    if passing or unread or status >= SERVER_ERROR:
        return OutageError(f"{operation}: {passing[0] if passing else code}")
    return None


def statement_error(code: str) -> Exception:
    """Return what the error of one statement in a batch means; its codes lack the `Exception` of a request's."""
    match code:
        case "AccessDenied":
            return AccessDeniedError(f"BatchExecuteStatement: access denied ({code})")
        case "ResourceNotFound":
            return MissingResourceError("BatchExecuteStatement: the table does not exist")
        case "ValidationError" | "ItemCollectionSizeLimitExceeded" | "DuplicateItem":
            return WorkerError(f"BatchExecuteStatement: {code}")
        case _:  # Throttled, in conflict with a transaction, or an error of the server's.
            return OutageError(f"BatchExecuteStatement: {code}")


def error_code(error: sdk.ClientError) -> str:
    details: Any = error.response.get("Error", {})
    return str(details.get("Code", "Unknown"))


def _unreachable(error: BaseException) -> str:
    """Say what happened without the SDK's prose around it: it quotes whole URLs."""
    endpoint = getattr(error, "kwargs", {}).get("endpoint_url")
    return f"{type(error).__name__} at {endpoint}" if endpoint else type(error).__name__
