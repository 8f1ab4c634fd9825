from dataclasses import dataclass, field

import pytest

from tests.workers.fakes import NO_WAIT
from workers.backoff import Backoff
from workers.errors import ConflictError, OutageError
from workers.escalation.conflicts import CONFLICT_BACKOFF, MAX_TRIES, retry_conflicts


@dataclass(frozen=True, slots=True)
class RecordedBackoff(Backoff):
    """Records after which tries it is asked for a wait, and does not wait."""

    asked: list[int] = field(default_factory=list)

    def wait_s(self, attempt: int) -> float:
        self.asked.append(attempt)
        return 0.0


class Writer:
    def __init__(self, *errors: Exception, conflict_backoff: Backoff = NO_WAIT) -> None:
        self.errors = list(errors)
        self.conflict_backoff = conflict_backoff

    @retry_conflicts
    async def write(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "written"


async def test_a_conflict_is_retried_after_the_writers_backoff() -> None:
    backoff = RecordedBackoff(0, 0)
    writer = Writer(*[ConflictError("changed")] * (MAX_TRIES - 1), conflict_backoff=backoff)
    assert await writer.write() == "written"
    assert backoff.asked == [1, 2, 3, 4]


async def test_the_last_conflict_is_raised() -> None:
    writer = Writer(*[ConflictError("changed")] * (MAX_TRIES + 1))
    with pytest.raises(ConflictError, match="changed"):
        await writer.write()
    assert len(writer.errors) == 1


async def test_no_other_error_is_retried() -> None:
    writer = Writer(OutageError("down"))
    with pytest.raises(OutageError):
        await writer.write()
    assert await writer.write() == "written"


def test_waits_after_conflicts_are_short() -> None:
    assert Backoff(base_s=0.02, cap_s=0.5) == CONFLICT_BACKOFF
    assert MAX_TRIES == 5
