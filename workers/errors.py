"""Errors, classed by the action they ask for."""


class WorkerError(Exception):
    """Base class of every error this package raises on purpose."""


class TransientError(WorkerError):
    """The attempt failed; another delivery may succeed. The message is released with backoff."""


class ConflictError(TransientError):
    """Someone else was faster: what was read has changed."""


class OutageError(WorkerError):
    """Something that every message needs is down. Says nothing about this message: it is held until that is back."""


class AccessDeniedError(OutageError):
    """AWS refuses a call. Permissions take a while to spread: an outage at first; one that lasts ends the process."""


class FatalError(WorkerError):
    """The process cannot go on, or never could start. Its text is the one line the operator reads."""


class UndecodableError(WorkerError):
    """A message body that follows no contract. Its text names what is wrong and never quotes the body."""
