"""Which of OpenTelemetry's standard variables switch tracing on. The SDK itself reads all the others."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from workers.errors import FatalError

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
# Of two variables, the one for traces alone counts, as in the specification.
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


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
    return True


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
