"""What goes wrong on the command line, each told in one line; and what the SDK's errors mean for an operator."""

from typing import TYPE_CHECKING

from botocore import exceptions
from botocore.parsers import ResponseParserError

from workers.aws.errors import error_code

if TYPE_CHECKING:
    from workers.cli.stack import Stack

# All that a call may raise.
SDK_ERRORS = (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError)
UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError, exceptions.IncompleteReadError)

_CREDENTIALS_HINT = "give the SDK working credentials, for example with AWS_PROFILE"
_CREDENTIAL_CODES = {
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
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "KMS.AccessDeniedException"}
_NO_TABLE = "ResourceNotFoundException"
_NO_STATE_MACHINE = "StateMachineDoesNotExist"
NO_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


def explained(error: Exception, stack: "Stack") -> str:
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
    # Their texts quote the request and the answer.
    secret = isinstance(error, exceptions.ParamValidationError | ResponseParserError)
    return f"the AWS SDK cannot make calls: {type(error).__name__ if secret else text}"


def _refused(error: exceptions.ClientError, stack: "Stack") -> str:
    code, operation = error_code(error), error.operation_name
    if code in _CREDENTIAL_CODES:
        return f"AWS refuses the credentials ({code}); {_CREDENTIALS_HINT}"
    if code in DENIED:
        return f"these credentials do not allow {operation} ({code})"
    if code == _NO_TABLE:
        return stack.missing_table()
    if code == _NO_STATE_MACHINE:
        return f"there is no state machine {stack.names.state_machine}: deploy the stack, or correct STATE_MACHINE"
    if code in NO_QUEUE:
        return f"{operation}: the queue does not exist (any more)"
    return f"AWS refused {operation} ({code})"
