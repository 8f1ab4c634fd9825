"""Logs each request at DEBUG: what was asked and how it ended, never a body, a header or an address."""

import logging
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import structlog
from aiohttp import TraceConfig

log = structlog.get_logger(__name__)


def is_on() -> bool:
    """Return whether the log's level is DEBUG."""
    return bool(log.is_enabled_for(logging.DEBUG))


def log_request(
    operation: str,
    started_at_s: float,
    *,
    attempt: int | None = None,
    status: int | None = None,
    reason: str | None = None,
) -> None:
    """Log a request that was sent at *started_at_s* (`time.perf_counter`); *reason* is why it failed."""
    log.debug(
        "request.finished",
        operation=operation,
        attempt=attempt,
        status=status,
        reason=reason,
        duration_ms=round((time.perf_counter() - started_at_s) * 1000, 1),
    )


def traces(operation: str, others: Sequence[TraceConfig] = ()) -> list[TraceConfig] | None:
    """
    Return what makes a `ClientSession` log its requests as *operation* if the log's level is DEBUG, and *others*.

    None if that is nothing.
    """
    if not is_on():
        return [*others] or None

    async def started(_session: Any, context: SimpleNamespace, _params: Any) -> None:
        context.started_at_s = time.perf_counter()

    async def ended(_session: Any, context: SimpleNamespace, params: Any) -> None:
        log_request(operation, context.started_at_s, status=params.response.status)

    async def failed(_session: Any, context: SimpleNamespace, params: Any) -> None:
        log_request(operation, context.started_at_s, reason=type(params.exception).__name__)

    trace = TraceConfig()
    trace.on_request_start.append(started)
    trace.on_request_end.append(ended)
    trace.on_request_exception.append(failed)
    return [trace, *others]
