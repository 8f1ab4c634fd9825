import asyncio
import socket
from contextlib import suppress

import pytest

from tests.workers.serving import serving


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_is_closed_however_far_it_has_come(turns: int) -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(serve) as address:
        host, port = address.split(":")
        client = socket.create_connection((host, int(port)))
        for _ in range(turns):
            await asyncio.sleep(0)
    with client, suppress(ConnectionResetError):
        client.settimeout(5)
        assert client.recv(1) == b""
