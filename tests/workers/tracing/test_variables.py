"""Which variables switch tracing on."""

import pytest

from workers.errors import FatalError
from workers.tracing import variables
from workers.tracing.variables import asks_for_tracing

SAMPLERS = (
    "always_on, always_off, parentbased_always_on, parentbased_always_off, traceidratio, parentbased_traceidratio"
)
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
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "", "OTEL_BSP_MAX_QUEUE_SIZE": "", "OTEL_RESOURCE_ATTRIBUTES": ""},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio"},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"},
        {**ENDPOINT, "OTEL_BSP_SCHEDULE_DELAY": "1"},
        {**ENDPOINT, "OTEL_TRACES_SAMPLER_ARG": "of a sampler that takes none"},
        {**ENDPOINT, "OTEL_BSP_SCHEDULE_DELAY": "500", "OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"},
        {**ENDPOINT, "OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP", "OTEL_RESOURCE_ATTRIBUTES": "a=b, c=d=e,"},
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
        (
            {**ENDPOINT, "OTEL_TRACES_SAMPLER": "foo"},
            f"OTEL_TRACES_SAMPLER is 'foo', must be one of {SAMPLERS}",
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_SAMPLER": "always_on "},  # The SDK does not take it for `always_on`.
            f"OTEL_TRACES_SAMPLER is 'always_on ', must be one of {SAMPLERS}",
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1%"},
            "OTEL_TRACES_SAMPLER_ARG is '1%', must be a number from 0 to 1",
        ),
        (
            {**ENDPOINT, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"},
            "OTEL_TRACES_SAMPLER_ARG is '5', must be a number from 0 to 1",
        ),
        *(
            (
                {**ENDPOINT, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": share},
                f"OTEL_TRACES_SAMPLER_ARG is '{share}', must be a number from 0 to 1",
            )
            for share in ("-0.1", "1.1")
        ),
        (
            {**ENDPOINT, "OTEL_RESOURCE_ATTRIBUTES": "a=b,secret"},
            "OTEL_RESOURCE_ATTRIBUTES must be NAME=VALUE, or several of them with commas between",
        ),
        *(
            ({**ENDPOINT, name: value}, f"{name} is {value!r}, must be a positive whole number")
            for name, value in {
                "OTEL_BSP_MAX_QUEUE_SIZE": "many",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0",
                "OTEL_BSP_SCHEDULE_DELAY": "-1",
                "OTEL_BSP_EXPORT_TIMEOUT": "1.5",
            }.items()
        ),
        *(
            ({**ENDPOINT, name: value}, f"{name} is {value!r}, must be a positive number of seconds")
            for name, value in {
                "OTEL_EXPORTER_OTLP_TIMEOUT": "10s",
                "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "inf",
            }.items()
        ),
        *(
            (
                {**ENDPOINT, "OTEL_EXPORTER_OTLP_TIMEOUT": value},
                f"OTEL_EXPORTER_OTLP_TIMEOUT is '{value}', must be a positive number of seconds",
            )
            for value in ("0", "-0.5")
        ),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"},
            "OTEL_EXPORTER_OTLP_COMPRESSION is 'zstd', must be one of none, gzip, deflate",
        ),
    ],
)
def test_what_workers_cannot_do_is_refused(environ: dict[str, str], line: str) -> None:
    with pytest.raises(FatalError) as refusal:
        asks_for_tracing(environ)
    assert str(refusal.value) == line


def test_a_text_that_is_no_number_or_no_url_is_neither_count_nor_endpoint() -> None:
    assert (variables._is_count("many"), variables._is_url("http://[::1")) == (False, False)


@pytest.mark.parametrize(
    "endpoint", ["localhost:4318", "grpc://localhost:4317", "http://", "http://[::1", "http://x:y", "http://x:0"]
)
@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_must_be_a_url(variable: str, endpoint: str) -> None:
    with pytest.raises(FatalError, match=f"^{variable} must be an http or https URL, such as http://localhost:4318$"):
        asks_for_tracing({variable: endpoint})
