"""A small server that answers as the ECS agent does, as far as it protects tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

TASK = "arn:aws:ecs:us-east-1:111122223333:task/order-fulfillment/0123456789abcdef"


@dataclass
class FakeAgent:
    """Records calls. Answers as the agent does, or with `answer` and `status`."""

    answer: Any = None
    status: int = 200
    hangs: bool = False
    calls: list[tuple[str, Any]] = field(default_factory=list)
    uri: str = ""
    _calling: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def called(self, times: int) -> None:
        """Wait until there were so many calls."""
        async with self._calling, asyncio.timeout(5):
            await self._calling.wait_for(lambda: len(self.calls) >= times)

    async def handle(self, request: web.Request) -> web.Response:
        assert request.path == "/api/container-id/task-protection/v1/state"
        body = await request.json() if request.can_read_body else None
        async with self._calling:
            self.calls.append((request.method, body))
            self._calling.notify_all()
        if self.hangs:
            await asyncio.sleep(60)
        if isinstance(self.answer, str):
            return web.Response(text=self.answer, status=self.status)
        enabled = bool(body and body["ProtectionEnabled"])
        good = {"protection": {"ProtectionEnabled": enabled, "ExpirationDate": None, "TaskArn": TASK}}
        return web.json_response(good if self.answer is None else self.answer, status=self.status)

    @property
    def puts(self) -> list[Any]:
        return [body for method, body in self.calls if method == "PUT"]


@asynccontextmanager
async def running_agent() -> AsyncIterator[FakeAgent]:
    agent = FakeAgent()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", agent.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    agent.uri = f"http://127.0.0.1:{port}/api/container-id"
    try:
        yield agent
    finally:
        await runner.cleanup()
