from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from workers.aws.sdk.signing import JsonSigV4Auth

NOON_S = 1_795_348_800.0  # 2026-11-22 12:00 UTC.
HEADERS = {
    "X-Amz-Target": "AmazonSQS.ReceiveMessage",
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amzn-Query-Mode": "true",
    "User-Agent": "not signed",
    "amz-sdk-invocation-id": "some  id ",
}


def request(url: str) -> Any:
    return AWSRequest("POST", url, headers=HEADERS, data=b'{"QueueUrl": "q"}')


def signed_by_both(url: str, credentials: Credentials, service: str, region: str) -> tuple[Any, Any]:
    """Return a request with our signature and one with the SDK's, both of the same second."""
    ours, theirs = request(url), request(url)
    SigV4Auth(credentials, service, region).add_auth(theirs)
    at = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    JsonSigV4Auth(credentials, service, region, now_s=at.timestamp).add_auth(ours)
    return ours, theirs


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
        "https://gateway.example/sqs?stage=b&stage=a",
        "https://user:password@gateway.example:8443/sqs",
    ],
)
def test_our_signature_equals_the_sdks(url: str, token: str | None) -> None:
    ours, theirs = signed_by_both(url, Credentials("AKID", "secret", token), "sqs", "eu-central-1")
    assert sorted(ours.headers.items()) == sorted(theirs.headers.items())


def test_a_retry_is_signed_like_the_first_attempt() -> None:
    signer = JsonSigV4Auth(Credentials("AKID", "secret", "token"), "sqs", "eu-central-1", now_s=lambda: NOON_S)
    tried = request("https://sqs.eu-central-1.amazonaws.com/")
    signer.add_auth(tried)
    first = sorted(tried.headers.items())
    signer.add_auth(tried)
    assert sorted(tried.headers.items()) == first


@pytest.mark.parametrize(
    "other",
    [
        (Credentials("AKID", "another secret"), "sqs", "eu-central-1"),
        (Credentials("AKID", "secret"), "dynamodb", "eu-central-1"),
        (Credentials("AKID", "secret"), "sqs", "us-east-1"),
    ],
)
def test_a_cached_key_is_used_only_in_its_scope(other: tuple[Credentials, str, str]) -> None:
    JsonSigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1").add_auth(request("http://localhost/"))
    ours, theirs = signed_by_both("http://localhost/", *other)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]


def test_the_time_of_a_signature_is_utc() -> None:
    tried = request("http://localhost/")
    JsonSigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1", now_s=lambda: 1_764_000_059.9).add_auth(tried)
    assert tried.headers["X-Amz-Date"] == "20251124T160059Z"
