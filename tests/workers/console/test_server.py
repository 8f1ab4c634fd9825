"""The console's server: it takes no signal, and ends what it cannot answer."""

import signal
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from tests.workers.console.site import Site
from workers.console.security import HEADERS
from workers.console.server import _Connection


async def test_the_server_takes_no_signal() -> None:
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(each) for each in signals]
    async with Site.started():
        assert [signal.getsignal(each) for each in signals] == before
    assert [signal.getsignal(each) for each in signals] == before


def test_an_answer_that_has_begun_is_not_followed_by_another_one() -> None:
    begun: Any = SimpleNamespace(writer=SimpleNamespace(output_size=1))
    with pytest.raises(ConnectionError):
        _Connection.handle_error(cast("_Connection", None), begun, 400)


@pytest.mark.parametrize(
    ("status", "error", "events"),
    [
        (500, ZeroDivisionError("x"), ["console.failed"]),
        (503, ZeroDivisionError("x"), ["console.failed"]),
        (500, None, []),
        (500, KeyboardInterrupt(), []),
        (400, ZeroDivisionError("x"), []),
    ],
)
def test_errors_outside_of_the_application_are_reported_and_answered(
    status: int, error: BaseException | None, events: list[str]
) -> None:
    request: Any = SimpleNamespace(writer=SimpleNamespace(output_size=0))
    with capture_logs() as lines:
        answer = _Connection.handle_error(cast("_Connection", None), request, status, error)
    assert [line["event"] for line in lines] == events
    assert isinstance(answer, web.Response)
    assert (answer.status, answer.text, answer.keep_alive) == (status, f"{HTTPStatus(status).phrase}\n", False)
    assert HEADERS.items() | {("Server", "console")} <= set(answer.headers.items())
