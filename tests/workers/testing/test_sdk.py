"""What child processes and clients get for a local AWS: its endpoint, and nothing of the caller's own AWS settings."""

import os
from typing import Any

import pytest

from deploy.local.aws import LocalAws
from workers.testing import sdk
from workers.testing.sdk import Endpoint, environment

HOSTILE = {
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL_SQS": "https://sqs.us-east-1.amazonaws.com",
    "AWS_ENDPOINT_URL": "https://example.com",
    "AWS_SESSION_TOKEN": "real",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
}


def test_child_processes_get_none_of_the_callers_aws_settings() -> None:
    made = environment("http://127.0.0.1:4566", {"PATH": "/bin", "NO_PROXY": "intranet", **HOSTILE})

    assert {name: value for name, value in made.items() if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert made["PATH"] == "/bin"
    assert made["NO_PROXY"] == made["no_proxy"] == "intranet,127.0.0.1,localhost"


def test_clients_ignore_the_callers_environment(local_aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)

    sqs = local_aws.client("sqs")

    assert sqs.meta.endpoint_url == local_aws.endpoint
    assert sqs.create_queue(QueueName="isolated")["QueueUrl"].startswith(local_aws.endpoint)
    assert {name: os.environ[name] for name in HOSTILE} == HOSTILE


def test_a_client_is_built_in_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Session:
        def __init__(self, **given: str) -> None:
            seen.append(given)

        def client(self, service: str, *, endpoint_url: str, config: Any) -> str:
            seen.append({name: value for name, value in os.environ.items() if name.startswith("AWS_")})
            seen.append((config.connect_timeout, config.read_timeout, config.retries))
            return f"{service} at {endpoint_url}"

    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.session.Session", Session)
    endpoint = Endpoint("http://127.0.0.1:4566")
    assert endpoint.client("sqs") == "sqs at http://127.0.0.1:4566"
    key = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    ours = {name: value for name, value in endpoint.environment.items() if name.startswith("AWS_")}
    assert seen == [key, ours, (5, 60, {"mode": "standard", "total_max_attempts": 3})]
    assert {name: os.environ[name] for name in HOSTILE} == HOSTILE
    assert sdk.shared_client.__wrapped__("sqs", "http://x") == "sqs at http://x"


@pytest.mark.parametrize(
    ("given", "no_proxy"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": "intranet"}, "intranet,127.0.0.1,localhost"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, "b,127.0.0.1,localhost"),
    ],
)
def test_the_local_aws_is_called_without_a_proxy(given: dict[str, str], no_proxy: str) -> None:
    made = environment("http://127.0.0.1:4566", given)
    assert (made["NO_PROXY"], made["no_proxy"]) == (no_proxy, no_proxy)


def test_a_client_gets_dummy_credentials_and_short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)

    sqs = sdk.client("sqs", "http://127.0.0.1:1")

    assert (sqs.meta.endpoint_url, sqs.meta.region_name) == ("http://127.0.0.1:1", "us-east-1")
    credentials = sqs._request_signer._credentials.get_frozen_credentials()
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("local", "local", None)
    config = sqs.meta.config
    assert (config.connect_timeout, config.read_timeout) == (5, 60)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert dict(os.environ) == before


def test_the_environment_comes_back_after_an_error() -> None:
    before, during = dict(os.environ), dict[str, str]()

    def fail() -> None:
        with sdk._only_environment({"AWS_REGION": "x", "OTHER": "y"}):
            during.update(os.environ)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (during["AWS_REGION"], during["OTHER"]) == ("x", "y")
    assert dict(os.environ) == before
