"""A server's certificate, for what speaks TLS; and virtual time for tests that only wait for timers."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.virtual_time import LoopClock, VirtualTimeLoop

# Their code waits for timers, not for sockets or threads.
IN_VIRTUAL_TIME = {"test_bulk.py", "test_metrics.py", "test_router.py", "test_status.py", "test_status_on_aws.py"}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name in IN_VIRTUAL_TIME:
        return {"virtual time": VirtualTimeLoop}
    return {"real time": asyncio.new_event_loop}


@pytest.fixture
async def loop_clock() -> LoopClock:
    """The clock of the test's event loop."""
    return LoopClock()


@pytest.fixture(params=["IP:127.0.0.1"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> ssl.SSLContext:
    """
    The context of a server with a certificate that it signed itself; `cert.pem` in the temporary folder.

    The parameter is the name in it: by default the right one.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed, nothing else here makes certificates")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem"
    options = f"req -x509 {key} -days 1 -subj /CN=test -addext subjectAltName={request.param} -out cert.pem"
    subprocess.run(
        [openssl, *options.split()],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context
