"""Everything that a call to AWS may raise: AWS's codes from the SDK's models, a code of tomorrow, other exceptions."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from aiohttp import ClientPayloadError
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

SERVICES = ("sqs", "dynamodb", "secretsmanager", "sns", "stepfunctions")
TOMORROW = "CodeOfTomorrow"
# https://docs.aws.amazon.com/awsconsolehelpdocs/latest/gsg/common-errors.html, and its older names: codes that any
# service may answer and that no model lists. With them: what SQS and DynamoDB are known to answer beyond their models.
COMMON = {
    "AccessDenied": 403,
    "AccessDeniedException": 400,
    "AuthFailure": 401,
    "ExpiredToken": 403,
    "ExpiredTokenException": 400,
    "IncompleteSignature": 403,
    "IncompleteSignatureException": 400,
    "InternalError": 500,
    "InternalFailure": 500,
    "InvalidAction": 400,
    "InvalidClientTokenId": 403,
    "InvalidParameterCombination": 400,
    "InvalidParameterValue": 400,
    "InvalidQueryParameter": 400,
    "InvalidSignatureException": 400,
    "KMS.AccessDeniedException": 400,
    "KMS.DisabledException": 400,
    "KMS.InvalidStateException": 400,
    "KMS.NotFoundException": 400,
    "KMS.OptInRequired": 403,
    "KMS.ThrottlingException": 400,
    "MalformedHttpRequestException": 400,
    "MalformedQueryString": 404,
    "MissingAction": 400,
    "MissingAuthenticationToken": 403,
    "MissingAuthenticationTokenException": 400,
    "MissingParameter": 400,
    "NotAuthorized": 401,
    "OptInRequired": 403,
    "RequestAbortedException": 400,
    "RequestEntityTooLargeException": 413,
    "RequestExpired": 400,
    "RequestTimeTooSkewed": 403,
    "RequestTimeoutException": 408,
    "SerializationException": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "Throttling": 400,
    "ThrottlingException": 400,
    "TooManyRequestsException": 429,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 400,
    "ValidationError": 400,
    "ValidationException": 400,
    TOMORROW: 400,
    f"{TOMORROW}Forbidden": 403,
    f"{TOMORROW}Down": 599,
    "Unknown": 400,
    "413": 413,
}


@functools.cache
def codes() -> dict[str, int]:
    """Return every error code with its HTTP status."""
    found: dict[str, int] = {}
    for service in SERVICES:
        model = Loader().load_service_model(service, "service-2")
        for name, shape in model["shapes"].items():
            if shape.get("exception"):
                error = shape.get("error", {})
                found[error.get("code", name)] = error.get("httpStatusCode", 500 if shape.get("fault") else 400)
    return found | COMMON


def refusing(code: str) -> Callable[[str], ClientError]:
    """Return a function from an operation to AWS's error with this *code*."""
    response: Any = {
        "Error": {"Code": code, "Message": "prose"},
        "ResponseMetadata": {"HTTPStatusCode": codes()[code]},
        "CancellationReasons": [{"Code": "None"}, {"Code": TOMORROW}] if code == "TransactionCanceledException" else [],
    }
    return lambda operation: ClientError(response, operation)


# Raised by the SDK itself, by libraries below it, and by plugins for credentials.
FOREIGN: dict[str, Callable[[str], BaseException]] = {
    "no credentials": lambda _: sdk.NoCredentialsError(),
    "credentials endpoint": lambda _: sdk.CredentialRetrievalError(provider="container-role", error_msg="500"),
    "metadata": lambda _: sdk.MetadataRetrievalError(error_msg="429"),
    "sso token": lambda _: sdk.SSOTokenLoadError(error_msg="expired"),
    "refused": lambda _: sdk.EndpointConnectionError(endpoint_url="http://x/"),
    "read timeout": lambda _: sdk.ReadTimeoutError(endpoint_url="http://x/"),
    "closed": lambda _: sdk.ConnectionClosedError(endpoint_url="http://x/"),
    "proxy": lambda _: sdk.ProxyConnectionError(proxy_url="http://x/"),
    "certificate": lambda _: sdk.SSLError(endpoint_url="http://x/", error=OSError("expired")),
    "half read": lambda _: sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2),
    "unreadable": lambda _: ResponseParserError("<html>"),
    "checksum": lambda _: sdk.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
    "unknown service": lambda _: sdk.UnknownServiceError(service_name="x", known_service_names="y"),
    "token file": lambda _: FileNotFoundError(2, "No such file", "/run/token"),
    "too many files": lambda _: OSError(24, "Too many open files"),
    "timeout": lambda _: TimeoutError(),
    "aiohttp": lambda _: ClientPayloadError("not completed"),
    "closed session": lambda _: RuntimeError("Session is closed"),
    "KeyError": lambda _: KeyError("AccessKeyId"),
    "TypeError": lambda _: TypeError("not iterable"),
    "AttributeError": lambda _: AttributeError("x"),
    "AssertionError": lambda _: AssertionError(),
    "RecursionError": lambda _: RecursionError(),
    "MemoryError": lambda _: MemoryError(),
    "UnicodeDecodeError": lambda _: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
    "group": lambda _: ExceptionGroup("x", [ValueError()]),
    "cancelled by itself": lambda _: asyncio.CancelledError(),
}
