"""Errors, classed by the action they ask for."""

MAX_RETRY_AFTER_S = 600.0  # Whoever asks for more is asked again all the same: one call every ten minutes hurts nobody.


class WorkerError(Exception):
    """Base class of every error this package raises on purpose."""


class TransientError(WorkerError):
    """
    The attempt failed; another delivery may succeed. The message is released with backoff.

    It stays away for `retry_after_s` seconds at least, where whoever failed asks for that.
    """

    def __init__(self, reason: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = min(retry_after_s, MAX_RETRY_AFTER_S)


class ConflictError(TransientError):
    """Someone else was faster: what was read has changed."""


class OutageError(WorkerError):
    """
    Something that every message needs is down. Says nothing about this message: it is held until that is back.

    Nobody tries again for `retry_after_s` seconds, where whoever is down asks for that.
    """

    def __init__(self, reason: str = "", *, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = min(retry_after_s, MAX_RETRY_AFTER_S)


class SuspectedOutageError(OutageError):
    """Several messages in a row failed alike: an outage by all appearances, but each may have failed for itself."""


class AccessDeniedError(OutageError):
    """AWS refuses a call. Permissions take a while to spread: an outage at first; one that lasts ends the process."""


class UnreadableOrderError(WorkerError):
    """An order in the table that is no order: someone has edited it by hand."""


class FatalError(WorkerError):
    """The process cannot go on, or never could start. Its text is the one line the operator reads."""


class UndecodableError(WorkerError):
    """A message body that follows no contract. Its text names what is wrong and never quotes the body."""
