"""
Structured logs: one JSON line per event for machines, or readable lines for a terminal; never a card number.

A line that another library logs becomes an event too: `library.logged`.
"""

import json
import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from functools import lru_cache
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from workers.domain.cards import mask_all, may_hold_card

_FIRST = ("timestamp", "level", "event", "worker", "queue", "message_id", "order_id", "execution_arn", "receive_count")

Render = Callable[[EventDict], bytes]


class MaskingRenderer:
    """
    Renders an event as a line and masks every run of digits that looks like a card number.

    Checking the rendered line is enough to see whether it may have a card number: digits, spaces and dashes are never
    escaped. Few lines may have one, so the slow walk through all values is rare.
    """

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
        event = _arranged(event)
        line = self._render(event)
        return self._render(mask_all(event)) if may_hold_card(line) else line


def configure(*, level: str, as_json: bool, release: str | None = None, stream: TextIO | None = None) -> None:
    """
    Write structlog's and the standard library's lines, from *level* up, to *stream* (default: standard output).

    Every line carries *release*, if there is one.
    """
    stream = stream or sys.stdout
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_timestamp,
        *([_adding_release(release)] if release else []),
    ]
    render = MaskingRenderer(_json if as_json else _console(colors=stream.isatty()))
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.BytesLoggerFactory(stream.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_event, structlog.processors.format_exc_info],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda logger, method, event: render(logger, method, event).decode(),
            ],
        )
    )
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level)), handlers=[handler], force=True)


def _add_timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # The same format as `clock.now`, but faster: every line needs a timestamp.
    now_s = time.time()
    event["timestamp"] = f"{_second(int(now_s))}.{int(now_s % 1 * 1_000_000):06d}Z"
    return event


def _adding_release(release: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["release"] = release
        return event

    return add


@lru_cache(maxsize=1)
def _second(now_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))


def _arranged(event: EventDict) -> EventDict:
    """Return *event* without None values and in reading order: time, level and event come first."""
    arranged = {name: event.pop(name) for name in _FIRST if name in event}
    arranged.update(event)
    if None in arranged.values():
        return {name: value for name, value in arranged.items() if value is not None}
    return arranged


def _json(event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # Rare: numbers beyond 64 bits, or half of a surrogate pair.
        return json.dumps(event, default=str, skipkeys=True).encode()


def _console(*, colors: bool) -> Render:
    render = structlog.dev.ConsoleRenderer(colors=colors)
    return lambda event: render(None, "", dict(event)).encode(errors="backslashreplace")


def _name_event(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Name the event of a line that a library logged. The text of the line becomes `detail`."""
    record = event.get("_record")
    event["logger"] = getattr(record, "name", None)
    event["detail"] = event.pop("event", None)
    event["event"] = "library.logged"
    return event
