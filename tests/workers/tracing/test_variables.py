"""Which variables switch tracing on."""

import pytest

from workers.errors import FatalError
from workers.tracing.variables import asks_for_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}


@pytest.mark.parametrize(
    "environ",
    [
        ENDPOINT,
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector.example.com:4318/v1/traces"},
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": " otlp "},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "false"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "yes"},  # The specification: any value but `true` means false.
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""},
    ],
)
def test_an_endpoint_or_the_exporter_switches_tracing_on(environ: dict[str, str]) -> None:
    assert asks_for_tracing(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_SERVICE_NAME": "orders", "OTEL_RESOURCE_ATTRIBUTES": "a=b", "OTEL_TRACES_SAMPLER": "always_on"},
        {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "true"},
        {**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},  # For some other program in the same environment.
    ],
)
def test_nothing_else_does(environ: dict[str, str]) -> None:
    assert not asks_for_tracing(environ)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin', must be otlp or none"),
        ({"OTEL_TRACES_EXPORTER": "otlp,console"}, "OTEL_TRACES_EXPORTER is 'otlp,console', must be otlp or none"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc', must be http/protobuf",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'http/json', must be http/protobuf",
        ),
    ],
)
def test_what_workers_cannot_do_is_refused(environ: dict[str, str], line: str) -> None:
    with pytest.raises(FatalError) as refusal:
        asks_for_tracing(environ)
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    "endpoint", ["localhost:4318", "grpc://localhost:4317", "http://", "http://[::1", "http://x:y"]
)
@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_must_be_a_url(variable: str, endpoint: str) -> None:
    with pytest.raises(FatalError, match=f"^{variable} must be an http or https URL, such as http://localhost:4318$"):
        asks_for_tracing({variable: endpoint})
