"""
Protects a worker's ECS task from being stopped while a handler takes long.

The ECS agent, at `ECS_AGENT_URI`, sets the protection on behalf of the task's role. Its contract:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import ClientError, ClientSession, ClientTimeout
from pydantic_core import from_json

from workers.errors import FatalError, plain_name
from workers.settings import Settings

log = structlog.get_logger(__name__)

AGENT_URI = "ECS_AGENT_URI"
PATH = "/task-protection/v1/state"
CHECK_EVERY_S = 10.0  # The start and end of long handlers are noticed at most this late. At most one call per check.
RETRY_AFTER_S = 60.0  # After a failed call: ECS throttles the calls of all tasks together.
RENEW_BEFORE_S = 30.0  # Renew the protection this long before it expires, if another handler takes long.
TIMEOUT_S = 10.0  # For each call. The agent itself gives up on ECS sooner.
MINUTE_S = 60.0  # ECS's unit and minimum. WORKER_MAX_HANDLE_S is below ECS's maximum, 48 hours.
_OK, _SERVER_ERROR = 200, 500


class ProtectionError(Exception):
    """The agent or ECS refused, or could not be reached. If *uncertain*, ECS may have done what was asked."""

    def __init__(self, reason: str, *, uncertain: bool = False) -> None:
        super().__init__(reason)
        self.uncertain = uncertain


@dataclass(slots=True)
class Agent:
    """The agent's endpoint."""

    session: ClientSession
    uri: str

    async def check(self) -> None:
        """
        Ask for the current state.

        Raises:
            ProtectionError: The call failed.
        """
        await self._call("GET", None)

    async def protect(self, minutes: int) -> None:
        """
        Protect the task for *minutes*, from now on.

        Raises:
            ProtectionError: The call failed.
        """
        await self._call("PUT", {"ProtectionEnabled": True, "ExpiresInMinutes": minutes})

    async def release(self) -> None:
        """
        End the protection.

        Raises:
            ProtectionError: The call failed.
        """
        await self._call("PUT", {"ProtectionEnabled": False})

    async def _call(self, method: str, body: Mapping[str, Any] | None) -> None:
        try:
            async with self.session.request(method, self.uri.rstrip("/") + PATH, json=body) as response:
                status, text = response.status, await response.read()
        except (ClientError, TimeoutError, ValueError, OSError) as error:  # ValueError: an answer that is not HTTP.
            raise ProtectionError(plain_name(error), uncertain=method == "PUT") from error
        try:
            answer = from_json(text)
        except ValueError:
            answer = None
        uncertain = method == "PUT" and status >= _SERVER_ERROR  # For example, the agent has given up waiting for ECS.
        if not isinstance(answer, dict):
            raise ProtectionError(f"HTTP {status}", uncertain=uncertain)
        # If ECS itself refuses, the answer has a `failure`, and its status is 200. Any earlier problem is an `error`.
        for key, code in (("failure", "Reason"), ("error", "Code")):
            if isinstance(refusal := answer.get(key), dict):
                raise ProtectionError(f"{refusal.get(code)}"[:100], uncertain=uncertain)
        if status != _OK or not isinstance(answer.get("protection"), dict):
            raise ProtectionError(f"HTTP {status}", uncertain=uncertain)


@dataclass(slots=True, kw_only=True)
class TaskProtection:
    """
    Protects the task while a handler has been running for longer than `drain_s`, because a stop would cut it short.

    - The protection expires when the longest running handler must have ended, after `max_handle_s`, rounded up to a
      minute. It is renewed if another handler takes long by then, and ended once no handler takes long.
    - A failed call is logged. If that call may have set the protection, the protection is requested again, or ended.
      Without protection, a stop is harmless: messages are released and handled again.

    `handling_s` returns how long each running handler has been running.
    """

    agent: Agent
    handling_s: Callable[[], Iterable[float]]
    drain_s: float
    max_handle_s: float
    now_s: Callable[[], float] = time.monotonic
    _until_s: float | None = field(default=None, init=False)  # When it expires. None: not protected.
    _uncertain: bool = field(default=False, init=False)  # A failed call may have taken effect.
    _not_before_s: float = field(default=-math.inf, init=False)

    async def run(self, stop: asyncio.Event, every_s: float = CHECK_EVERY_S) -> None:
        """Check every *every_s* seconds until *stop* is set. By then, ECS is already stopping the task."""
        await self._succeeds(self.agent.check())  # So that a missing permission shows at the start.
        while not stop.is_set():
            await self.update()
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stop.wait()

    async def update(self) -> None:
        """Make the one call that is needed now, if any."""
        now_s = self.now_s()
        if self._until_s is not None and now_s >= self._until_s:
            self._until_s = None
        if now_s < self._not_before_s:
            return
        # A handler that outlives its cap ignores its cancellation, so it does not protect the task.
        long_s = [taken_s for taken_s in self.handling_s() if self.drain_s < taken_s < self.max_handle_s]
        if long_s and (self._until_s is None or self._uncertain or self._until_s - now_s <= RENEW_BEFORE_S):
            minutes = math.ceil((self.max_handle_s - max(long_s)) / MINUTE_S)
            succeeded = await self._succeeds(self.agent.protect(minutes))
            if succeeded or self._uncertain:
                self._until_s = now_s + minutes * MINUTE_S
            if succeeded:
                log.info("task_protection.set", minutes=minutes, handling_ms=round(max(long_s) * 1000))
        elif not long_s and self._until_s is not None and await self._succeeds(self.agent.release()):
            self._until_s = None
            log.info("task_protection.released")

    async def _succeeds(self, call: Awaitable[None]) -> bool:
        """Await *call* and return whether it succeeded."""
        try:
            await call
        except ProtectionError as error:
            self._uncertain = self._uncertain or error.uncertain
            self._not_before_s = self.now_s() + RETRY_AFTER_S
            log.warning("task_protection.failed", reason=str(error), delay_ms=round(RETRY_AFTER_S * 1000))
            return False
        self._uncertain = False
        return True


def agent_uri(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """
    Return the agent's address; None if protection is off.

    Raises:
        FatalError: Protection is on, but there is no agent.
    """
    if not settings.task_protection:
        return None
    uri = environ.get(AGENT_URI, "").strip()
    try:
        valid = urlsplit(uri).scheme in {"http", "https"} and bool(urlsplit(uri).hostname)
    except ValueError:
        valid = False
    if not valid:
        problem = f"is {uri!r}, which is not a URL" if uri else "is not set"
        raise FatalError(f"WORKER_TASK_PROTECTION is true, but {AGENT_URI} {problem}: only ECS tasks can be protected")
    return uri


@asynccontextmanager
async def protecting(
    uri: str | None, settings: Settings, handling_s: Callable[[], Iterable[float]], stop: asyncio.Event
) -> AsyncIterator[None]:
    """Protect the task during the block, until *stop* is set, with the agent at *uri*; if None, do nothing."""
    if uri is None:
        yield
        return
    async with ClientSession(timeout=ClientTimeout(total=TIMEOUT_S)) as session:
        protection = TaskProtection(
            agent=Agent(session, uri),
            handling_s=handling_s,
            drain_s=settings.drain_s,
            max_handle_s=settings.max_handle_s,
        )
        running = asyncio.create_task(protection.run(stop), name="task protection")
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
