"""Counts the SDK's calls, by action and result, through its own events."""

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter

if TYPE_CHECKING:
    from botocore.client import BaseClient


def meter(client: "BaseClient", requests: Counter) -> None:
    """Have every call of *client* counted in *requests*; a call that the SDK retried counts once."""

    def answered(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        requests.labels(model.name, parsed.get("Error", {}).get("Code", "ok")).inc()

    def failed(exception: Exception, event_name: str, **_: Any) -> None:
        requests.labels(event_name.rpartition(".")[2], type(exception).__name__).inc()

    client.meta.events.register("after-call", answered)
    client.meta.events.register("after-call-error", failed)
