"""
Tracing with OpenTelemetry: a span for each message, and one for each call that it causes.

Off unless the standard `OTEL_*` variables ask for it. Only `opened` imports OpenTelemetry, and only then. Everything is
bound at the start: `wiring` passes each part of a worker through `Tracing`, which returns it unchanged without tracing.
"""
