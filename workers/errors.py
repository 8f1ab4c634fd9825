"""Errors, grouped by what the worker does about them."""

import re

MAX_RETRY_AFTER_S = 600.0  # A longer Retry-After is shortened to this: one call every ten minutes does no harm.


_CASE_CHANGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def plain_name(error: BaseException | str) -> str:
    """Return what kind of error *error* is, or the class of this name, in words: `connection reset error`."""
    name = error if isinstance(error, str) else type(error).__name__
    words = _CASE_CHANGE.sub(" ", name).split()
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in words)


def _bounded(retry_after_s: float) -> float:
    """Return how long to wait: what is negative or not a number asks for nothing."""
    return min(max(0.0, retry_after_s), MAX_RETRY_AFTER_S)


class WorkerError(Exception):
    """Base class of every error this package raises on purpose."""


class TransientError(WorkerError):
    """
    The attempt failed; another delivery may succeed. The message is released with backoff.

    The message stays invisible for at least `retry_after_s` seconds, if the failed service asked for that.
    """

    def __init__(self, reason: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = _bounded(retry_after_s)


class ConflictError(TransientError):
    """Another writer was faster: the data has changed since it was read."""


class PermanentError(WorkerError):
    """
    The message is refused for good: another delivery would fail in the same way. The text says why.

    A worker of your own moves the message to the dead-letter queue, with the text as its reason. The fulfillment worker
    escalates the order.
    """


class OutageError(WorkerError):
    """
    A service that every message needs is down. The message itself is fine: it is held until the service is back.

    Nothing is tried again for `retry_after_s` seconds, if the service asked for that.
    """

    def __init__(self, reason: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = _bounded(retry_after_s)


class SuspectedOutageError(OutageError):
    """Several messages in a row failed alike: probably an outage, but each may have failed for its own reason."""


class AccessDeniedError(OutageError):
    """AWS denied access. New permissions spread slowly, so this is an outage at first; if it lasts, it is fatal."""


class UnreadableOrderError(WorkerError):
    """An order in the table cannot be read: it was probably edited by hand."""


class FatalError(WorkerError):
    """The process cannot start or continue. The text is the one line that the operator reads."""


class UndecodableError(WorkerError):
    """A message body breaks the contract. The text names the problem and never quotes the body."""
