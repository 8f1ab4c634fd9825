"""The console's server: it takes no signal, and ends what it cannot answer."""

import signal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.workers.console.site import Site
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
