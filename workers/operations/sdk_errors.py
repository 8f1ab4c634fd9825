"""The SDK's errors, and what they mean for an operator."""

from typing import Protocol
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from workers.aws.errors import CredentialsError, MissingResourceError, WrongEndpointError, error_code, translate
from workers.aws.unreachable import unreachable
from workers.errors import AccessDeniedError, FatalError, WorkerError, plain_name
from workers.http_values import is_loopback
from workers.operations.names import Names

__all__ = [
    "SDK_ERRORS",
    "UNREACHABLE",
    "ClientError",
    "ResponseParserError",
    "explained",
    "is_missing",
    "is_unknown_call",
]

# All errors that a call to AWS may raise.
SDK_ERRORS = (exceptions.BotoCoreError, ClientError, ResponseParserError)
UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)

_CREDENTIALS_HINT = "give the SDK working credentials, for example with AWS_PROFILE"
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_NOT_THERE = (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError, exceptions.ConnectionClosedError)
_NO_STATE_MACHINE = "StateMachineDoesNotExist"


class Explaining(Protocol):
    """The part of a `Stack` that an explanation needs."""

    @property
    def names(self) -> Names: ...

    async def missing_table(self) -> str: ...


def is_missing(error: Exception) -> bool:
    """Return whether a call failed because its queue or table does not exist."""
    return isinstance(error, ClientError) and isinstance(translate(error), FatalError | MissingResourceError)


def is_unknown_call(error: Exception) -> bool:
    """Return whether the endpoint does not know a call: it is not AWS."""
    return isinstance(error, ClientError) and isinstance(translate(error), WrongEndpointError)


async def explained(error: Exception, stack: Explaining) -> str | None:
    """
    Return one line for the operator about an error of AWS or of the workers' library; None for any other error.

    The line quotes no values of a request.
    """
    # A translated error's text is for the workers' log; its cause says more.
    origin = error.__cause__ if isinstance(error, WorkerError) else error
    match origin:
        case ClientError():
            return await _refused(origin, stack)
        case _ if isinstance(origin, SDK_ERRORS):
            return _failed(origin)
        case _ if isinstance(error, WorkerError):
            return str(error)
        case _:
            return None


def _failed(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.NoRegionError):
        return "no region: set AWS_REGION, or a region in your AWS profile"
    if isinstance(error, _NO_CREDENTIALS):
        return f"no AWS credentials: {text.rstrip('.')}; {_CREDENTIALS_HINT}"
    if isinstance(error, UNREACHABLE):
        proxied = isinstance(error, exceptions.ProxyConnectionError)
        return f"AWS cannot be reached: {unreachable(error) if proxied else text}{_hint(error)}"
    if isinstance(error, ResponseParserError):
        return "an AWS response cannot be read; the command can be repeated"
    secret = isinstance(error, exceptions.ParamValidationError)  # Its text quotes the request.
    return f"the AWS SDK cannot make calls: {plain_name(error) if secret else text}"


def _hint(error: Exception) -> str:
    """Return what to do if the endpoint is that of a local AWS: each start may listen on another port."""
    endpoint = getattr(error, "kwargs", {}).get("endpoint_url")
    if not isinstance(error, _NOT_THERE) or not is_loopback(urlsplit(str(endpoint)).hostname or ""):
        return ""
    return '; if it is a local AWS, it has ended or listens on another port now: eval "$(make env)"'


async def _refused(error: ClientError, stack: Explaining) -> str:
    code, operation = error_code(error), error.operation_name
    if code == _NO_STATE_MACHINE:
        return f"there is no state machine {stack.names.state_machine}: deploy the stack, or correct STATE_MACHINE"
    match translate(error):
        case CredentialsError():
            return f"AWS refuses the credentials ({code}); {_CREDENTIALS_HINT}"
        case AccessDeniedError():
            senders = "; the stack's parameter SenderArns names who may" if operation.startswith("SendMessage") else ""
            return f"these credentials do not allow {operation} ({code}){senders}"
        case MissingResourceError():
            return await stack.missing_table()
        case FatalError() as gone:
            return str(gone)
        case _:
            return f"AWS refused {operation} ({code})"
