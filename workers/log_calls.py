"""The methods of a logger. They never raise, whatever they are given: a log line must not fail the work it is about."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

import structlog

from workers.log_values import text_of

_METHODS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "msg": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_TAKEN = frozenset({"self", "method_name", "event", "exc_info", "stack_info"})  # Names of structlog's own arguments.


def logger_that_never_raises(level: int) -> type[Any]:
    """Return structlog's logger for lines from *level* up, with methods that do not raise."""
    base = structlog.make_filtering_bound_logger(level)
    methods = {
        name: _safe(getattr(base, name), _LEVELS[number], name) if number >= level else _ignore
        for name, number in _METHODS.items()
    }
    return type("SafeLogger", (base,), methods | {"log": _safe_log(base, level)})


def _ignore(_self: Any, /, *_args: Any, **_fields: Any) -> None:
    """Log nothing: the line is below the level."""


def _safe(method: Callable[..., Any], level: str, name: str) -> Callable[..., None]:
    adds_nothing = name != "exception"

    @wraps(method)
    def call(self: Any, /, *args: Any, **fields: Any) -> None:
        try:
            if len(args) == 1 and adds_nothing:
                self._proxy_to_logger(level, args[0], **fields)  # As *method* does.
            else:
                method(self, *args, **fields)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - values may raise anything.
            try:
                _salvage(self, level, args, fields)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001, S110 - the last resort, for example at the end of the stack.
                pass

    return call


def _safe_log(base: type[Any], level: int) -> Callable[..., None]:
    methods = {number: _safe(getattr(base, name), name, name) for number, name in _LEVELS.items()}

    def log(self: Any, number: int, /, *args: Any, **fields: Any) -> None:
        if number >= level:
            methods[number](self, *args, **fields)

    return log


def _salvage(logger: Any, name: str, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    """Log what can be logged of a call that failed: a text that does not fit its arguments, or a name that is taken."""
    event, *others = args or ("",)
    renamed = {f"{key}_" if key in _TAKEN else key: value for key, value in fields.items()}
    if others:
        renamed["args"] = others
    logger._proxy_to_logger(name, text_of(event), **renamed)  # noqa: SLF001
