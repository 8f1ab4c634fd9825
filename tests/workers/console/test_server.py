"""The console's server leaves to the command what is not its own."""

import signal

from tests.workers.console.site import Site


async def test_the_server_takes_no_signal() -> None:
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(each) for each in signals]
    async with Site.started():
        assert [signal.getsignal(each) for each in signals] == before
    assert [signal.getsignal(each) for each in signals] == before
