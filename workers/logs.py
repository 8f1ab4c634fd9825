"""Structured logs: JSON on one line for machines, readable lines for a terminal, never a card number."""

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
    Renders an event as a line, masking card-like digit runs wherever they stand in it.

    The rendered line tells whether there is anything to mask (digits, spaces and dashes are never escaped); hardly a
    line has, so the walk through its values is the exception.
    """

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
        event = _arranged(event)
        line = self._render(event)
        return self._render(mask_all(event)) if may_hold_card(line) else line


def configure(*, level: str, as_json: bool, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's log lines, at *level* and above, to *stream* (default: stdout)."""
    stream = stream or sys.stdout
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamp,
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


def _stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    now_s = time.time()
    event["timestamp"] = f"{_second(int(now_s))}.{int(now_s % 1 * 1_000_000):06d}Z"
    return event


@lru_cache(maxsize=1)
def _second(now_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s))


def _arranged(event: EventDict) -> EventDict:
    """Return *event* as people read it: when, how bad and what first; without what does not apply."""
    arranged = {name: event.pop(name) for name in _FIRST if name in event}
    arranged.update(event)
    if None in arranged.values():
        return {name: value for name, value in arranged.items() if value is not None}
    return arranged


def _json(event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # Numbers beyond 64 bits, half of a surrogate pair: rare, and a line all the same.
        return json.dumps(event, default=str, skipkeys=True).encode()


def _console(*, colors: bool) -> Render:
    render = structlog.dev.ConsoleRenderer(colors=colors)
    return lambda event: render(None, "", dict(event)).encode(errors="backslashreplace")


def _name_event(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Give a library's prose line an event name; the prose becomes `detail`."""
    record = event.get("_record")
    event["logger"] = getattr(record, "name", None)
    event["detail"] = event.pop("event", None)
    event["event"] = "library.logged"
    return event
