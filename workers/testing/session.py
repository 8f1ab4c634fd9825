"""Starts the local AWS and the stack of one test session, in a process that ends with this one."""

import contextlib
import ipaddress
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from workers.testing.children import start, stop
from workers.testing.emulator import installed_python
from workers.testing.errors import SetupError
from workers.testing.sdk import Endpoint, environment
from workers.testing.stack import Stack
from workers.testing.tree import ROOT, python_path

if TYPE_CHECKING:
    import subprocess

ENDPOINT, REMOTE_ENDPOINT = "AWS_ENDPOINT_URL", "WORKERS_TESTING_ENDPOINT"
READY_S = 300.0  # It takes three seconds on an idle machine.
NOTED_AFTER_S = 10.0
STOP_S = 60.0
POLL_S = 0.05
TAIL_LINES = 15
# Of all partitions, for IPv4 alone and with IPv6.
AWS_DOMAINS = (
    ".amazonaws.com",
    ".api.aws",
    ".on.aws",
    ".amazonaws.com.cn",
    ".api.amazonwebservices.com.cn",
    ".amazonaws.eu",
    ".api.amazonwebservices.eu",
    ".ic.gov",
    ".sgov.gov",
    ".aws.scloud",
    ".adc-e.uk",
)

Note = Callable[[str], None]


@contextlib.contextmanager
def session_stack(note: Note, environ: Mapping[str, str] = os.environ) -> Iterator[Stack]:
    """
    Deploy the stack under a prefix of its own, on a local AWS of its own or on the one that *environ* names.

    *note* shows a line to the person who waits. The stack, and the local AWS, end with the block or with this process.

    Raises:
        SetupError: That cannot be done.
    """
    endpoint = given_endpoint(environ)
    if find_spec("yaml") is None:
        raise SetupError("PyYAML is missing: install order-fulfillment-workers[testing], the package with its extra")
    where = ["--endpoint", endpoint] if endpoint else ["--python", str(installed_python(note, environ))]
    prefix = f"t-{secrets.token_hex(4)}-"
    with tempfile.TemporaryDirectory(prefix="workers-testing-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        ready, log_path = directory / "ready.json", directory / "session.log"
        with log_path.open("wb") as log:
            process = start(
                Path(sys.executable),
                "deploy.local.session",
                ["--name-prefix", prefix, "--ready", str(ready), *where],
                environment=environment("", environ) | {"PYTHONPATH": python_path(ROOT)},
                output=log,
                directory=directory,
                working_directory=directory,
            )
        try:
            document = _await_ready(process, ready, log_path, note)
            yield Stack(Endpoint(document["endpoint"]), prefix, document["outputs"])
        finally:
            stop(process, STOP_S)


def given_endpoint(environ: Mapping[str, str]) -> str | None:
    """
    Return the address of the AWS that *environ* names, or None.

    `AWS_ENDPOINT_URL` must be on this machine. `WORKERS_TESTING_ENDPOINT`, which nothing else reads, may be anywhere
    but at AWS itself. The credentials are dummies in any case.

    Raises:
        SetupError: It is not an address that is allowed.
    """
    for variable in (REMOTE_ENDPOINT, ENDPOINT):
        if url := environ.get(variable, "").strip():
            if problem := _problem(url, anywhere=variable == REMOTE_ENDPOINT):
                raise SetupError(f"{variable} {problem}")
            return url
    return None


def _problem(url: str, *, anywhere: bool) -> str | None:
    """Return what is wrong with an address, as the end of a sentence."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"}:
        return "must be an http or https URL, such as http://127.0.0.1:4566"
    if f".{host.rstrip('.')}".endswith(AWS_DOMAINS):
        return f"is an address of AWS itself ({host}): tests use a local AWS only"
    if not anywhere and not _is_loopback(host):
        return (
            f"is not on this machine ({host}): tests create and delete a stack there. "
            f"Unset it for a local AWS of their own, or set {REMOTE_ENDPOINT} to the same URL if that is meant"
        )
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _await_ready(process: "subprocess.Popen[bytes]", ready: Path, log_path: Path, note: Note) -> dict[str, Any]:
    began_s, noted = time.monotonic(), False
    while True:
        has_ended = process.poll() is not None
        with contextlib.suppress(FileNotFoundError):
            document: dict[str, Any] = json.loads(ready.read_text(encoding="utf-8"))
            return document
        waited_s = time.monotonic() - began_s
        if has_ended or waited_s > READY_S:
            why = "could not be started" if has_ended else f"was not ready within {READY_S:.0f} s"
            tail = "\n".join(log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:])
            raise SetupError(f"The stack {why}: {tail or 'it says nothing'}")
        if waited_s > NOTED_AFTER_S and not noted:
            noted = True
            note("Waiting for the local AWS and the stack ...")
        time.sleep(POLL_S)
