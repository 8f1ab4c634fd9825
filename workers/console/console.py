"""What one console knows: the stack that it shows, who may do what, and what its viewers share."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from jinja2 import Environment

from workers.console.feeds import Feed, Feeds
from workers.console.rendering import environment
from workers.console.security import Guard
from workers.console.system import SystemReader
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import explained
from workers.operations.stack import Stack
from workers.operations.status import Status
from workers.operations.status_endpoints import Endpoint

STATUS_EVERY_S: Final = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where the console looks: on a local AWS, or an account and a region.

    `can_write`: whether its pages may change anything; otherwise `why_not` says why not.
    """

    name: str
    is_local: bool
    can_write: bool
    why_not: str | None = None


@dataclass(frozen=True, slots=True)
class Console:
    """
    *actor* is the name that forms propose, and *logs* are files with the workers' JSON lines.

    *stopping* is set when the console stops, so that streams end.
    """

    stack: Stack
    guard: Guard
    place: Place
    actor: str
    endpoints: Sequence[Endpoint] = ()
    logs: Sequence[Path] = ()
    templates: Environment = field(default_factory=environment)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    feeds: Feeds = field(init=False)
    system: SystemReader = field(init=False)

    def __post_init__(self) -> None:
        async def explain(error: Exception) -> str | None:
            return await explained_here(error, self.stack)

        object.__setattr__(self, "feeds", Feeds(explain, report))
        object.__setattr__(self, "system", SystemReader(self.stack, self.endpoints, has_alarms=not self.place.is_local))

    @property
    def status(self) -> Feed[Status]:
        """The state of the whole system, as `orders status` shows it."""
        return self.feeds.feed("status", self.system.read, STATUS_EVERY_S)


CONSOLE: Final = web.AppKey("console", Console)


def console_of(request: web.Request) -> Console:
    return request.app[CONSOLE]


async def explained_here(error: Exception, stack: Stack) -> str | None:
    """Return what *error* means for a person; None if it is an internal error."""
    return str(error) if isinstance(error, OperationError) else await explained(error, stack)


def report(error: Exception) -> None:
    """Log an internal error; its text may hold anything, and is masked as every line is."""
    log.error("console.failed", exc_info=error)


def login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
