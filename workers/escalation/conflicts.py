"""Repeats the read and write of a case if another writer changed the case or its order in between."""

from typing import Protocol

from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_attempt

from workers.backoff import Backoff
from workers.errors import ConflictError

MAX_TRIES = 5  # Two workers that write to the same case need two or three.
CONFLICT_BACKOFF = Backoff(base_s=0.02, cap_s=0.5)


class Writer(Protocol):
    """An object with methods that `retry_conflicts` decorates."""

    @property
    def conflict_backoff(self) -> Backoff: ...


def _wait_s(state: RetryCallState) -> float:
    writer: Writer = state.args[0]
    return writer.conflict_backoff.wait_s(state.attempt_number)


# Decorates an async method of a `Writer`. If the method raises `ConflictError`, it runs again, up to `MAX_TRIES`
# times in all.
retry_conflicts = retry(
    retry=retry_if_exception_type(ConflictError), stop=stop_after_attempt(MAX_TRIES), wait=_wait_s, reraise=True
)
