"""
Structured logs: one JSON line per event for machines, or readable lines for a terminal; never a card number.

A line that another library logs becomes an event too, `library.logged`, and so does a warning of Python: `code.warned`.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar, copy_context
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

from workers import clock
from workers.domain.cards import mask_all, may_hold_card
from workers.log_calls import logger_that_never_raises
from workers.log_output import LogOutput
from workers.log_text import render as render_text
from workers.log_text import wants_color
from workers.log_values import MAX_LINE_BYTES, cut, plain, text_of
from workers.log_writers import FileWriter, write_at_once

_FIRST = ("timestamp", "level", "event", "worker", "queue", "message_id", "order_id", "execution_arn", "receive_count")
_IN_ORDER: dict[str, None] = dict.fromkeys(_FIRST)
_SDK = frozenset({"aioboto3", "aiobotocore", "aiohttp", "asyncio", "boto3", "botocore", "s3transfer", "urllib3"})
_BOUND_PREFIX = structlog.contextvars.STRUCTLOG_KEY_PREFIX
_MAY_BE_DROPPED = frozenset({"debug", "info"})

Render = Callable[[EventDict], bytes]


class FieldsInOrder:
    """
    Adds time, level, *release* and the values bound to the context; puts all fields in reading order, without None.

    It does the work of five processors in one pass, which saves 2 us a line.
    """

    def __init__(self, release: str | None) -> None:
        self._release = {"release": release} if release else {}
        self._bound_names = _BoundNames()

    def __call__(self, _logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
        for variable, value in copy_context().items():
            name = self._bound_names[variable]
            if name is not None and name not in event and value is not ...:
                event[name] = value
        event["timestamp"], event["level"] = clock.now(), level
        return {name: value for name, value in {**_IN_ORDER, **event, **self._release}.items() if value is not None}


class _BoundNames(dict[ContextVar[Any], str | None]):
    """The field of each context variable; None if the variable is not one of structlog's."""

    def __missing__(self, variable: ContextVar[Any]) -> str | None:
        bound = variable.name.startswith(_BOUND_PREFIX)
        name = self[variable] = variable.name.removeprefix(_BOUND_PREFIX) if bound else None
        return name


class MaskingRenderer:
    """
    Renders an event as a line and masks every run of digits that looks like a card number.

    Checking the rendered line is enough to see whether it may have a card number: digits, spaces and dashes are never
    escaped. Few lines may have one, so the slow walk through all values is rare. So are values that cannot be rendered
    as they are, and lines that are too long.
    """

    def __init__(self, render: Render) -> None:
        self._render = render

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
        try:
            line = self._render(event)
            if may_hold_card(line):
                event = mask_all(event)
                line = self._render(event)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - values may raise anything when they are asked for their text.
            event = mask_all(plain(event))
            line = self._render(event)
        return line if len(line) < MAX_LINE_BYTES else cut(event, self._render)


class _Line:
    """Makes of an event the arguments of `LogOutput.put`. One processor for all of it saves a microsecond a line."""

    def __init__(self, fields: FieldsInOrder, render: MaskingRenderer) -> None:
        self._fields, self._render = fields, render

    def __call__(self, logger: WrappedLogger, level: str, event: EventDict) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        event = self._fields(logger, level, event)
        message_id = event.get("message_id")
        # Escalations and everything from WARNING up must not be lost.
        keep = level not in _MAY_BE_DROPPED or str(event["event"]).startswith("escalation.")
        return (self._render(logger, level, event), keep, message_id if type(message_id) is str else None), {}


class OutputLogger:
    """What structlog calls with the rendered line. All of its methods do the same: the level is in the line."""

    def __init__(self, output: LogOutput) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = output.put


class _OutputHandler(logging.Handler):
    """Passes on the lines of other libraries."""

    def __init__(self, output: LogOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # A record that cannot be formatted has its values in the error, unmasked.
            message_id = structlog.contextvars.get_contextvars().get("message_id")
            self._output.put(self.format(record).encode(), record.levelno >= logging.WARNING, message_id)


def configure(*, level: str, as_json: bool, release: str | None = None, stream: TextIO | None = None) -> LogOutput:
    """
    Write structlog's and the standard library's lines, from *level* up, to *stream* (default: standard output).

    Every line carries *release*, if there is one. Returns the buffer of lines: flush it at the end.
    """
    stream = stream or sys.stdout
    output = _output(stream)
    output.reset_after_fork()
    fields = FieldsInOrder(release)
    console = _console(color=wants_color(stream), tracebacks=level == "DEBUG")
    render = MaskingRenderer(render_json if as_json else console)
    structlog.configure(
        processors=[_Line(fields, render)],
        wrapper_class=logger_that_never_raises(getattr(logging, level)),
        logger_factory=lambda *_: OutputLogger(output),
        cache_logger_on_first_use=True,
    )
    handler = _OutputHandler(output)
    handler.addFilter(_is_harmless)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[fields, _name_event, structlog.processors.format_exc_info],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda logger, method, event: render(logger, method, event).decode(),
            ],
        )
    )
    # Otherwise a library's line with a wrong format would go to standard error with its arguments, unmasked.
    logging.raiseExceptions = False
    warnings.showwarning = _log_warning
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level)), handlers=[handler], force=True)
    return output


def _log_warning(  # noqa: PLR0917 - as in the standard library.
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Log a warning of Python, such as that of a coroutine that was never awaited. Otherwise only stderr shows it."""
    logger = structlog.get_logger()
    logger.warning("code.warned", warning=category.__name__, detail=text_of(message), file=filename, line=lineno)


def _output(stream: TextIO) -> LogOutput:
    try:
        descriptor = stream.fileno()
    except OSError:  # A stream in memory.
        return LogOutput(stream.buffer.write)
    return LogOutput(FileWriter(descriptor), write_at_once=write_at_once(descriptor))


def render_json(event: EventDict) -> bytes:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS)


def _console(*, color: bool, tracebacks: bool) -> Render:
    return lambda event: render_text(event, color=color, tracebacks=tracebacks).encode()


def _is_harmless(record: logging.LogRecord) -> bool:
    """Leave out what the SDK logs of its requests, whatever its loggers' levels are: bodies and signatures."""
    return record.levelno >= logging.WARNING or record.name.split(".")[0] not in _SDK


def _name_event(_logger: WrappedLogger, _method: str, event: MutableMapping[str, Any]) -> EventDict:
    """Name the event of a line that a library logged. The text of the line becomes `detail`."""
    event["logger"], event["detail"] = event["_record"].name, event["event"]
    event["event"] = "library.logged"
    return event
