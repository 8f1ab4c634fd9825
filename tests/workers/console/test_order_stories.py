"""The parts of an order's story: what is drawn, what is counted, and what is read of logs."""

from pathlib import Path
from typing import Any

import pytest

from tests.workers.console.histories import DEFINITION, caught, execution_arn
from tests.workers.operations.fakes import fake_stack, refused
from workers.console import order_stories
from workers.console.order_stories import OrderReader, OrderStory, _end_of, _with_letters
from workers.errors import UnreadableOrderError
from workers.operations.dead_letters import DeadLetter
from workers.operations.errors import OperationError
from workers.operations.execution_events import History
from workers.operations.executions import Execution
from workers.operations.order_letters import Search
from workers.operations.story import UnknownIdError

OLD, NEW, BROKEN = (Execution(execution_arn(name)) for name in ("old", "new", "broken"))
BROKEN = Execution(BROKEN.arn, problem="it could not be read")


class Sources:
    """Reads what is drawn, and counts it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, definition: Any = DEFINITION, history: Any = None) -> None:
        self.read: list[str] = []
        self.definition, self.history = definition, History(caught()) if history is None else history
        monkeypatch.setattr(order_stories, "read_own_definition", self._definition)
        monkeypatch.setattr(order_stories, "read_history", self._history)
        self.reader = OrderReader(fake_stack(), "1")

    async def _definition(self, _: object, arn: str) -> Any:
        return self._given("definition", arn, self.definition)

    async def _history(self, _: object, arn: str) -> Any:
        return self._given("history", arn, self.history)

    def _given(self, what: str, arn: str, given: Any) -> Any:
        self.read.append(f"{what} of {arn.rpartition(':')[2]}")
        if isinstance(given, Exception):
            raise given
        return given


async def test_the_newest_execution_that_is_known_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Sources(monkeypatch)
    drawn = await path.reader._draw([OLD, NEW, BROKEN])
    assert drawn
    assert drawn.execution is NEW
    assert 'aria-label="The path of the newest execution"' in drawn.drawing.svg
    assert 'href="/executions/new?order=1#state-2"' in drawn.drawing.svg
    assert path.read == ["definition of new", "history of new"]
    assert await path.reader._draw([OLD, NEW]) is drawn
    assert await path.reader._draw([BROKEN]) is await path.reader._draw([]) is None
    assert await path.reader._draw([NEW]) is drawn
    assert path.read == ["definition of new", "history of new"]
    gone_on = Execution(NEW.arn, "RUNNING")
    again = await path.reader._draw([OLD, gone_on])
    assert again
    assert (again.execution, path.read[2:]) == (gone_on, ["history of new"])


@pytest.mark.parametrize(
    "error", [refused("AccessDenied", "X", 403), UnreadableOrderError("x"), OperationError("it is not JSON")]
)
async def test_what_cannot_be_read_is_not_drawn(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({"definition": error}, {"history": error}):
        assert await Sources(monkeypatch, **given).reader._draw([NEW]) is None
    path = Sources(monkeypatch)
    path.history = None
    assert await path.reader._draw([NEW]) is None


@pytest.mark.parametrize("error", [AttributeError, KeyError, TypeError, ValueError])
async def test_of_what_was_edited_only_the_items_are_shown(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gather(*_: object, **__: object) -> None:
        raise error

    async def stored(*_: object) -> list[Any]:
        return [{"OrderId": "1"}, None]

    monkeypatch.setattr(order_stories, "gather", gather)
    monkeypatch.setattr(order_stories, "stored", stored)
    assert await OrderReader(fake_stack(), "1").read() == OrderStory(edited=[{"OrderId": "1"}])


async def test_an_id_that_is_not_known_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def gather(*_: object, **__: object) -> None:
        raise UnknownIdError("there is no order 1")

    monkeypatch.setattr(order_stories, "gather", gather)
    assert await OrderReader(fake_stack(), "1").read() == OrderStory(missing="there is no order 1")


def test_what_was_seen_in_dead_letters_stays_with_newer_counts() -> None:
    letter = DeadLetter.of("Q", {"MessageId": "m-1", "Body": "{}"})
    looked = Search(
        choice="fulfillment", queue="Q", waiting=1, letters=(letter,), looked_at=1, approximate_count=1, problem="slow"
    )
    counted = Search(choice="fulfillment", queue="Q", waiting=7, approximate_count=1)
    assert _with_letters(counted, looked) == Search(
        choice="fulfillment", queue="Q", waiting=7, letters=(letter,), looked_at=1, approximate_count=1, problem="slow"
    )
    assert _with_letters(Search(choice="fulfillment", queue="Q", problem="denied"), looked).problem == "denied"


@pytest.mark.parametrize(("size", "read"), [(6, b"a\nb\nc\n"), (5, b"b\nc\n"), (4, b"c\n"), (1, b"")])
def test_of_a_log_the_last_whole_lines_are_read(
    size: int, read: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_stories, "MAX_LOG_BYTES", size)
    log = tmp_path / "log"
    log.write_bytes(b"a\nb\nc\n")
    assert _end_of(log).read() == read
    assert _end_of(tmp_path / "missing").read() == b""
