from datetime import UTC, datetime
from typing import Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from workers.aws.sdk import signing
from workers.aws.sdk.signing import JsonSigV4Auth

HEADERS = {
    "X-Amz-Target": "AmazonSQS.ReceiveMessage",
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amzn-Query-Mode": "true",
    "User-Agent": "not signed",
    "amz-sdk-invocation-id": "some  id ",
}


def request(url: str) -> Any:
    return AWSRequest("POST", url, headers=HEADERS, data=b'{"QueueUrl": "q"}')


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: noon)
    monkeypatch.setattr(signing, "_now_s", lambda: int(noon.timestamp()))


@pytest.mark.parametrize("token", [None, "a session's token"])
@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-central-1.amazonaws.com/",
        "http://127.0.0.1:4566/",
        "https://sqs.example:443/",
        "http://[::1]:80/",
        "http://[::1]:4566/",
    ],
)
def test_the_signature_is_the_sdks_own(url: str, token: str | None) -> None:
    ours, theirs = request(url), request(url)
    credentials = Credentials("AKID", "secret", token)
    JsonSigV4Auth(credentials, "sqs", "eu-central-1").add_auth(ours)
    SigV4Auth(credentials, "sqs", "eu-central-1").add_auth(theirs)
    assert sorted(ours.headers.items()) == sorted(theirs.headers.items())


def test_a_second_try_is_signed_like_the_first() -> None:
    signer = JsonSigV4Auth(Credentials("AKID", "secret", "token"), "sqs", "eu-central-1")
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
def test_a_kept_key_is_used_for_its_own_scope_only(other: tuple[Credentials, str, str]) -> None:
    JsonSigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1").add_auth(request("http://localhost/"))
    ours, theirs = request("http://localhost/"), request("http://localhost/")
    JsonSigV4Auth(*other).add_auth(ours)
    SigV4Auth(*other).add_auth(theirs)
    assert ours.headers["Authorization"] == theirs.headers["Authorization"]


def test_the_time_is_told_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_now_s", lambda: 1_764_000_059)
    signed = request("http://localhost/")
    JsonSigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1").add_auth(signed)
    assert signed.headers["X-Amz-Date"] == "20251124T160059Z"
