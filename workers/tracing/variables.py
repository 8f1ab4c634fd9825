"""
Which of OpenTelemetry's standard variables switch tracing on.

The SDK itself reads all the others. It replaces most wrong values by its defaults, so they are found here.
"""

import math
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from workers.errors import FatalError

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
# Of two variables, the one for traces alone counts, as in the specification.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
_PLAIN_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off")
_SHARE_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
_SAMPLERS = (*_PLAIN_SAMPLERS, *_SHARE_SAMPLERS)
_COMPRESSIONS = ("none", "gzip", "deflate")
_COUNTS = ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE", "SCHEDULE_DELAY", "EXPORT_TIMEOUT")


def asks_for_tracing(environ: Mapping[str, str]) -> bool:
    """
    Return whether *environ* asks for tracing: it names the exporter `otlp`, or an endpoint and no exporter.

    Raises:
        FatalError: It asks for something that workers cannot do; the text names the variable.
    """
    if _value(environ, DISABLED).lower() == "true":
        return False
    exporter = _value(environ, EXPORTER)
    if exporter not in {"", "otlp", "none"}:
        raise FatalError(f"{EXPORTER} is {exporter!r}, must be otlp or none")
    endpoint = _first(environ, ENDPOINTS)
    if exporter == "none" or (not exporter and endpoint is None):
        return False
    if endpoint is not None and not _is_url(_value(environ, endpoint)):
        raise FatalError(f"{endpoint} must be an http or https URL, such as http://localhost:4318")
    protocol = _first(environ, PROTOCOLS)
    if protocol is not None and _value(environ, protocol) != PROTOCOL:
        raise FatalError(f"{protocol} is {_value(environ, protocol)!r}, must be {PROTOCOL}")
    _refuse_what_the_sdk_ignores(environ)
    return True


def _refuse_what_the_sdk_ignores(environ: Mapping[str, str]) -> None:
    """Raise a `FatalError` for a value that the SDK would replace by its default."""

    def check(name: str, is_right: Callable[[str], bool], allowed: str) -> None:
        value = environ.get(name, "")
        if value.strip() and not is_right(value):
            raise FatalError(f"{name} is {value!r}, must be {allowed}")

    check(SAMPLER, lambda value: value.lower() in _SAMPLERS, f"one of {', '.join(_SAMPLERS)}")
    if _value(environ, SAMPLER).lower() in _SHARE_SAMPLERS:
        check(SAMPLER_ARG, lambda value: 0 <= _number(value) <= 1, "a number from 0 to 1")
    for name in _COUNTS:
        check(f"OTEL_BSP_{name}", _is_count, "a positive whole number")
    for prefix in ("OTEL_EXPORTER_OTLP_TRACES", "OTEL_EXPORTER_OTLP"):
        check(f"{prefix}_TIMEOUT", lambda value: 0 < _number(value) < math.inf, "a positive number of seconds")
        check(
            f"{prefix}_COMPRESSION",
            lambda value: value.strip().lower() in _COMPRESSIONS,
            f"one of {', '.join(_COMPRESSIONS)}",
        )
    if any(item.strip() and "=" not in item for item in _value(environ, ATTRIBUTES).split(",")):
        raise FatalError(f"{ATTRIBUTES} must be NAME=VALUE, or several of them with commas between")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _is_count(text: str) -> bool:
    try:
        return int(text) > 0
    except ValueError:
        return False


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """Return the first of *names* that has a value. An empty one counts as missing, as in the specification."""
    return next((name for name in names if _value(environ, name)), None)


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip()


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
