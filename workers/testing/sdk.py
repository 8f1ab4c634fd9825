"""
AWS SDKs pointed at a local AWS: environment variables for child processes, and boto3 clients.

Neither can reach a real account: both get the loopback endpoint and dummy credentials, and none of the user's `AWS_*`
variables, profiles and files.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

HOST = "127.0.0.1"
REGION = "us-east-1"

_CREDENTIAL = "local"
_environment_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An AWS on this machine."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a child process that must use this AWS only."""
        return environment(self.endpoint)

    def client(self, service: str) -> Any:
        """Build a boto3 client for this AWS, regardless of the caller's `AWS_*` variables and profiles."""
        return client(service, self.endpoint)


def environment(endpoint: str, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return `base` without its `AWS_*` variables, plus the loopback endpoint, region and dummy credentials."""
    kept = {name: value for name, value in base.items() if not name.startswith("AWS_")}
    no_proxy = ",".join(filter(None, [kept.get("no_proxy") or kept.get("NO_PROXY"), HOST, "localhost"]))
    return kept | exports(endpoint) | {"NO_PROXY": no_proxy, "no_proxy": no_proxy}


def exports(endpoint: str) -> dict[str, str]:
    """Return the `AWS_*` variables that point an SDK at the local AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": _CREDENTIAL,
        "AWS_SECRET_ACCESS_KEY": _CREDENTIAL,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@functools.cache
def shared_client(service: str, endpoint: str) -> Any:
    """Return a client for a process's tests to share: to build one takes longer than most requests."""
    return client(service, endpoint)


def client(service: str, endpoint: str) -> Any:
    """Build a boto3 client for the local AWS at `endpoint`."""
    # The SDK reads the environment only while it builds a client.
    with _environment_lock, _only_environment(environment(endpoint)):
        session = boto3.session.Session(
            aws_access_key_id=_CREDENTIAL, aws_secret_access_key=_CREDENTIAL, region_name=REGION
        )
        # Short timeouts: on loopback, a slow answer means that something is broken.
        config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})
        return session.client(service, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]


@contextlib.contextmanager
def _only_environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in {*wanted, *(n for n in os.environ if n.startswith("AWS_"))}}
    try:
        for name in before:
            _set_variable(name, wanted.get(name))
        yield
    finally:
        for name, value in before.items():
            _set_variable(name, value)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
