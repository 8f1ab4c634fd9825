"""A handler for the tests of your own workers: what it does depends on the body. It writes its steps to JOURNAL."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from workers import Message


@asynccontextmanager
async def scripted() -> AsyncIterator[object]:
    if "DOWN" in os.environ and Path(os.environ["DOWN"]).exists():  # noqa: ASYNC240
        raise ConnectionRefusedError("the database is down")

    def note(step: str) -> None:
        with Path(os.environ["JOURNAL"]).open("a", encoding="utf-8") as journal:
            journal.write(f"{step}\n")

    async def handle(message: Message) -> None:
        note(f"begin {message.body} {message.receive_count}")
        if message.body == "fails":
            raise KeyError(message.body)
        if message.body == "slow once" and message.receive_count == 1:
            await asyncio.sleep(600)

    note("open")
    yield handle
    note("close")
