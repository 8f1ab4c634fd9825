from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from workers.aws.sdk.signing import RequestSigner

NOON_S = 1_795_348_800.0  # 2026-11-22 12:00 UTC.
HEADERS = {
    "X-Amz-Target": "AmazonSQS.ReceiveMessage",
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amzn-Query-Mode": "true",
    "User-Agent": "not signed",
    "amz-sdk-invocation-id": "some  id ",
}
BODY = b'{"QueueUrl": "q"}'


def signed_by_sdk(url: str, credentials: Credentials, service: str, region: str) -> tuple[dict[str, str], float]:
    """Return the headers of a request that the SDK signs, and when it signed them."""
    request: Any = AWSRequest("POST", url, headers=HEADERS, data=BODY)
    SigV4Auth(credentials, service, region).add_auth(request)
    at = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return dict(request.headers.items()), at.timestamp()


def signer(url: str = "http://localhost/", service: str = "sqs", region: str = "eu-central-1") -> RequestSigner:
    return RequestSigner(url, HEADERS, region=region, service=service)


@pytest.mark.parametrize("token", [None, "a session's token"])
@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-central-1.amazonaws.com/",
        "http://127.0.0.1:4566/",
        "https://sqs.example:443/",
        "http://[::1]:80/",
        "http://[::1]:4566/",
        "https://gateway.example",
        "https://gateway.example/sqs",
        "https://gateway.example/a/b/",
        "https://gateway.example//a//b",
        "https://gateway.example/a/./b/../c",
        "https://gateway.example/a%20b/%2Fc~d",
        "https://gateway.example/a b/(c)+d,e;f=g@h:i",
        "https://gateway.example/\u5f20/\u00e9",
        "https://user:password@gateway.example:8443/sqs",
    ],
)
def test_our_signature_equals_the_sdks(url: str, token: str | None) -> None:
    credentials = Credentials("AKID", "secret", token)
    theirs, at_s = signed_by_sdk(url, credentials, "sqs", "eu-central-1")
    assert dict(signer(url).signed(BODY, credentials, at_s)) == theirs


@pytest.mark.parametrize("body", [b"{}", b'{"QueueUrl": "\xc3\xa9"}', b"x" * 300_000])
def test_each_body_has_its_own_signature(body: bytes) -> None:
    credentials, ours = Credentials("AKID", "secret"), signer()
    first = ours.signed(BODY, credentials, NOON_S)["Authorization"]
    signed = ours.signed(body, credentials, NOON_S)["Authorization"]
    assert signed != first
    assert signed == signer().signed(body, credentials, NOON_S)["Authorization"]
    assert ours.signed(BODY, credentials, NOON_S)["Authorization"] == first


@pytest.mark.parametrize(
    ("credentials", "at_s"),
    [
        (ReadOnlyCredentials("AKID", "another secret", None), NOON_S),
        (ReadOnlyCredentials("another id", "secret", None), NOON_S),
        (ReadOnlyCredentials("AKID", "secret", "a token"), NOON_S),
        (ReadOnlyCredentials("AKID", "secret", None), NOON_S + 1),
        (ReadOnlyCredentials("AKID", "secret", None), NOON_S + 86400),
    ],
)
def test_what_is_kept_for_a_second_is_used_only_then_and_for_the_same_credentials(
    credentials: ReadOnlyCredentials, at_s: float
) -> None:
    ours = signer()
    ours.signed(BODY, ReadOnlyCredentials("AKID", "secret", None), NOON_S)
    assert ours.signed(BODY, credentials, at_s) == signer().signed(BODY, credentials, at_s)


@pytest.mark.parametrize(("service", "region"), [("dynamodb", "eu-central-1"), ("sqs", "us-east-1")])
def test_a_signature_names_its_service_and_region(service: str, region: str) -> None:
    credentials = Credentials("AKID", "secret")
    signer().signed(BODY, credentials, NOON_S)
    theirs, at_s = signed_by_sdk("http://localhost/", credentials, service, region)
    ours = signer(service=service, region=region).signed(BODY, credentials, at_s)
    assert ours["Authorization"] == theirs["Authorization"]


def test_the_time_of_a_signature_is_utc() -> None:
    signed = signer().signed(BODY, Credentials("AKID", "secret"), 1_764_000_059.9)
    assert signed["X-Amz-Date"] == "20251124T160059Z"
