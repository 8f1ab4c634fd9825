"""The account that the environment points to: its clients, and the person's confirmation that it is the right one."""

import functools
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import NoRegionError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.local.aws import ROOT
from workers.errors import FatalError
from workers.proxies import keep_metadata_direct, proxy_for

MAX_CONNECTIONS = 50
_LIBRARIES = ("boto3", "botocore", "aioboto3", "aiobotocore", "aiohttp")


@dataclass(frozen=True)
class Account:
    """An account and region. `client(service)` may be called from several threads."""

    account_id: str
    caller_arn: str
    region: str
    endpoint: str
    make_client: Callable[[str], Any] = field(repr=False)

    @functools.cached_property
    def client(self) -> Callable[[str], Any]:
        lock, made = threading.Lock(), functools.cache(self.make_client)

        def client(service: str) -> Any:
            with lock:  # Sessions of boto3 may not be shared by threads; clients may.
                return made(service)

        return client

    @functools.cached_property
    def deployer(self) -> Aws:
        return Aws.of(self.client, self.region)

    @property
    def is_local(self) -> bool:
        """Whether it is an emulator on this machine."""
        return urlsplit(self.endpoint).hostname in {"127.0.0.1", "localhost", "::1"}

    def lines(self) -> list[str]:
        """Describe the account for the person who must confirm it."""
        where = f"{self.region}, at {self.endpoint} (a local AWS)" if self.is_local else self.region
        return [f"account  {self.account_id}", f"caller   {self.caller_arn}", f"region   {where}"]


def from_environment() -> Account:
    """
    Return the account of the SDK's own variables and profiles. Asks STS who the caller is.

    Raises botocore's errors if the region or the credentials are missing, and `DeployError` if an endpoint or a proxy
    is no URL.
    """
    keep_metadata_direct()
    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
    if not session.region_name:
        raise NoRegionError
    config = Config(
        connect_timeout=10,
        max_pool_connections=MAX_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 5},
        s3={"us_east_1_regional_endpoint": "regional"},  # The only kind of host that every region has.
    )

    def client(service: str) -> Any:
        return session.client(service, config=config)  # type: ignore[call-overload]

    try:
        sts = client("sts")
        proxy_for(sts.meta.endpoint_url)  # Checks the variable that names it.
    except FatalError as error:
        raise DeployError(str(error)) from error
    except ValueError as error:  # The SDK has no error class of its own for this.
        raise DeployError(f"{str(error).rstrip('.')}: region and AWS_ENDPOINT_URL must give a valid URL") from error
    identity = sts.get_caller_identity()
    return Account(identity["Account"], identity["Arn"], session.region_name, sts.meta.endpoint_url, client)


def confirm(account: Account, given: str | None) -> None:
    """
    Let a person confirm the account by typing its id, unless it is *given* already.

    Raises `DeployError` if another account is given or typed, or if there is no terminal.
    """
    if given is not None:
        if given != account.account_id:
            raise DeployError(
                f"Nothing was done: the environment points to account {account.account_id}, not to {given}"
            )
        return
    if not sys.stdin.isatty():
        raise DeployError(
            "Nothing was done: there is no terminal to ask for confirmation. "
            f"To confirm: make acceptance ACCOUNT={account.account_id}"
        )
    print("To go on, type the account's id: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != account.account_id:
        raise DeployError("Nothing was done: that is not the account's id")


def versions() -> Mapping[str, str]:
    """Return what runs here: the release of this code, the interpreter, and the libraries that talk to AWS."""
    return {
        "release": f"{version('order-fulfillment-workers')}, commit {_commit()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _commit() -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=, with changes"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # There is no git.
        return "unknown"
    return described.stdout.strip() or "unknown"
