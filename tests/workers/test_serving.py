import asyncio

from tests.workers.serving import serving


async def test_a_connection_that_nobody_has_begun_to_serve_is_closed_too() -> None:
    began = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        began.set()

    async with serving(serve) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        assert not began.is_set()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
