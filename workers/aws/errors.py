"""Translates the SDK's errors into the workers' own, in one place, by the action they require."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from workers.errors import AccessDeniedError, FatalError, OutageError, WorkerError

_QUEUE_GONE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMS.AccessDeniedException"}
# Credentials are renewed outside the process, so these errors may pass while it runs.
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
    "TransactionConflictException",  # Another transaction is using the item, for milliseconds.
    "TransactionInProgressException",
}
# Their texts quote responses and configuration, so only their class is shown.
_NO_CREDENTIALS = (sdk.SSOError, sdk.TokenRetrievalError, sdk.MetadataRetrievalError, sdk.InvalidConfigError)
SERVER_ERROR = 500


class CredentialsError(OutageError):
    """Missing or refused credentials, or a wrong set-up of the SDK: fatal only at the start."""


class UnreachableError(OutageError):
    """No response from the endpoint."""


class MissingResourceError(OutageError):
    """A table or secret is missing: fatal only at the start. A missing queue is a `FatalError` at any time."""


@contextmanager
def translated() -> Iterator[None]:
    """
    Raise the workers' errors instead of the SDK's.

    Raises:
        FatalError: The queue was deleted.
        OutageError: A problem that may pass by itself; its text has AWS's error code.
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
    except (FileNotFoundError, PermissionError) as error:  # Most likely the file of a web identity token.
        raise CredentialsError(f"no AWS credentials: {error.filename}: {error.strerror}") from error
    except (sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError, TimeoutError, OSError) as error:
        raise UnreachableError(_unreachable(error)) from error
    except (ResponseParserError, sdk.ChecksumError) as error:
        raise OutageError("an unreadable response") from error
    except sdk.ParamValidationError:  # A mistake in the request, like an error code without a translation.
        raise
    except sdk.BotoCoreError as error:
        raise CredentialsError(f"the AWS SDK cannot make calls: {type(error).__name__}") from error


def translate(error: sdk.ClientError) -> FatalError | OutageError | None:
    """Return *error* as one of ours; None if the mistake is in the request itself."""
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
    cancellations: Any = error.response.get("CancellationReasons", [])  # A transaction has one for each item.
    codes = [code, *(reason["Code"] for reason in cancellations)]
    passing = [found for found in codes if found in _THROTTLED | _DOWN]
    unreadable = code.isdigit() or code == "Unknown"  # The SDK's code for an unreadable error is its HTTP status.
    if passing or unreadable or status >= SERVER_ERROR:
        return OutageError(f"{operation}: {passing[0] if passing else code}")
    return None


def statement_error(code: str) -> Exception:
    """Return the error of one statement in a batch as one of ours. Its codes lack the suffix `Exception`."""
    match code:
        case "AccessDenied":
            return AccessDeniedError(f"BatchExecuteStatement: access denied ({code})")
        case "ResourceNotFound":
            return MissingResourceError("BatchExecuteStatement: the table does not exist")
        case "ValidationError" | "ItemCollectionSizeLimitExceeded" | "DuplicateItem":
            return WorkerError(f"BatchExecuteStatement: {code}")
        case _:  # Throttling, a conflict with a transaction, or a server error.
            return OutageError(f"BatchExecuteStatement: {code}")


def error_code(error: sdk.ClientError) -> str:
    """Return AWS's code of *error*; `Unknown` if the response has none."""
    details: Any = error.response.get("Error", {})
    return str(details.get("Code", "Unknown"))


def _unreachable(error: BaseException) -> str:
    """Return the error's class and endpoint. The SDK's own text quotes whole URLs."""
    endpoint = getattr(error, "kwargs", {}).get("endpoint_url")
    return f"{type(error).__name__} at {endpoint}" if endpoint else type(error).__name__
