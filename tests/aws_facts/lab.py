"""
What checks work with: clients, resources with prefixed names, and waiting. It removes the resources at its end.

Resources that several checks can share (a table, a role, a stack) are made once, when the first check needs them.
"""

import contextlib
import functools
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

Clients = Callable[[str], Any]
T = TypeVar("T")

POLL_S = 0.2
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
NEW_QUEUE_S = 1.0
# The longest name that is made of it is that of a bucket: 63 characters.
_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,28}-")


class RemovalError(Exception):
    """Some of the run's resources could not be removed."""


class Stopped(Exception):  # noqa: N818 - not an error: the run has been interrupted
    """The run is being stopped; the check must end."""


class Lab:
    """See the module. Use it as a context manager; its methods may be called from several threads."""

    def __init__(self, client: Clients, prefix: str, *, patience_s: float) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"the prefix {prefix!r} is not 2 to 30 lower-case letters, digits and dashes, with a last dash"
            )
        self.prefix = prefix
        self.patience_s = patience_s
        self._make_client = client
        self._lock = threading.RLock()
        self._clients: dict[str, Any] = {}
        self._shared: dict[str, Any] = {}
        self._shared_locks: dict[str, threading.Lock] = {}
        self._stopped = threading.Event()
        self._removing = False
        self._removals: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.stop()
        self._removing = True
        problems = []
        while self._removals:
            removal = self._removals.pop()
            try:
                removal()
            except Exception as problem:  # noqa: BLE001 - the rest must be removed anyway
                problems.append(f"{type(problem).__name__}: {problem}")
        if problems and error is None:
            raise RemovalError(f"{len(problems)} resources of {self.prefix} could not be removed: {problems[0]}")

    # Clients.

    def client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._make_client(service)
            return self._clients[service]

    @property
    def sqs(self) -> Any:
        return self.client("sqs")

    @property
    def dynamodb(self) -> Any:
        return self.client("dynamodb")

    @property
    def workflows(self) -> Any:
        return self.client("stepfunctions")

    @property
    def region(self) -> str:
        return str(self.sqs.meta.region_name)

    @functools.cached_property
    def identity(self) -> Mapping[str, Any]:
        """`Account` and `Arn` of the caller."""
        identity: Mapping[str, Any] = self.client("sts").get_caller_identity()
        return identity

    @property
    def account(self) -> str:
        return str(self.identity["Account"])

    @property
    def partition(self) -> str:
        return str(self.identity["Arn"]).split(":")[1]

    # Time.

    def stop(self) -> None:
        """Let every check that waits end."""
        self._stopped.set()

    def sleep(self, seconds: float) -> None:
        """Wait; raise `Stopped` if the run is interrupted."""
        if self._removing:
            time.sleep(seconds)
        elif self._stopped.wait(seconds):
            raise Stopped

    def eventually(self, look: Callable[[], T], wanted: object) -> T:
        """Call *look* until it returns *wanted*, for `patience_s` at most; return its last answer."""
        deadline_s = time.monotonic() + self.patience_s
        while (found := look()) != wanted and time.monotonic() < deadline_s:
            self.sleep(POLL_S)
        return found

    # Resources.

    def name(self, kind: str = "") -> str:
        """Return a new name, with the prefix."""
        return f"{self.prefix}{kind}{uuid.uuid4().hex[:8]}"

    def removes(self, removal: Callable[[], object], *gone: str) -> None:
        """Call *removal* at the end. Error codes in *gone* mean that there is nothing to remove."""

        def remove() -> None:
            try:
                removal()
            except ClientError as error:
                if error.response["Error"]["Code"] not in gone:
                    raise

        with self._lock:
            if self._stopped.is_set():
                raise Stopped
            self._removals.append(remove)

    def shared(self, key: str, make: Callable[[], T]) -> T:
        """Return what *make* returns; it is called once for each *key*."""
        with self._lock:
            lock = self._shared_locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._shared:
                self._shared[key] = make()
            value: T = self._shared[key]
            return value

    def queue(self, **attributes: object) -> str:
        """Create a queue and return its URL. Attributes that are not strings are sent as JSON."""
        name = self.name()
        self.removes(lambda: self._remove_queue(name), *QUEUE_GONE)
        values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in attributes.items()}
        url = str(self.sqs.create_queue(QueueName=name, Attributes=values)["QueueUrl"])
        if self.is_patient:
            self.sleep(NEW_QUEUE_S)
        return url

    @property
    def is_patient(self) -> bool:
        """Whether this is AWS, where changes take a while to be seen everywhere. An emulator shows them at once."""
        return urlsplit(str(self.sqs.meta.endpoint_url)).hostname not in {"127.0.0.1", "localhost"}

    def _remove_queue(self, name: str) -> None:
        self.sqs.delete_queue(QueueUrl=self.sqs.get_queue_url(QueueName=name)["QueueUrl"])


QUEUE_GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def error_of(call: Callable[..., Any], /, *, status: bool = False, **parameters: object) -> str:
    """Return the code of the error that a call ends with, "ok" if none. With *status*, the HTTP status as well."""
    try:
        call(**parameters)
    except ClientError as error:
        code = str(error.response["Error"].get("Code"))
        return f"{code} {error.response['ResponseMetadata'].get('HTTPStatusCode')}" if status else code
    return "ok"


@contextlib.contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds since now."""
    began_s = time.monotonic()
    yield lambda: time.monotonic() - began_s
