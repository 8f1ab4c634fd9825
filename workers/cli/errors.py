"""What goes wrong on the command line, each told in one line; and what the SDK's errors mean for an operator."""

from typing import Any

from botocore import exceptions
from botocore.parsers import ResponseParserError

from workers.aws.errors import CredentialsError, MissingResourceError, error_code, translate
from workers.errors import AccessDeniedError, FatalError

# All that a call may raise.
SDK_ERRORS = (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError)
UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)

_CREDENTIALS_HINT = "give the SDK working credentials, for example with AWS_PROFILE"
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_NO_STATE_MACHINE = "StateMachineDoesNotExist"


def explained(error: Exception, stack: Any) -> str:
    """Say in one line what one of `SDK_ERRORS` means for the person at the terminal. Quotes no value of a request."""
    if isinstance(error, exceptions.ClientError):
        return _refused(error, stack)
    text = " ".join(str(error).split())
    if isinstance(error, exceptions.NoRegionError):
        return "no region: set AWS_REGION, or a region in your AWS profile"
    if isinstance(error, _NO_CREDENTIALS):
        return f"no AWS credentials: {text.rstrip('.')}; {_CREDENTIALS_HINT}"
    if isinstance(error, UNREACHABLE):
        return f"AWS cannot be reached: {text}"
    if isinstance(error, ResponseParserError):
        return "an AWS response cannot be read; the command can be repeated"
    secret = isinstance(error, exceptions.ParamValidationError)  # Its text quotes the request.
    return f"the AWS SDK cannot make calls: {type(error).__name__ if secret else text}"


def _refused(error: exceptions.ClientError, stack: Any) -> str:
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
            return str(stack.missing_table())
        case FatalError() as gone:
            return str(gone)
        case _:
            return f"AWS refused {operation} ({code})"
