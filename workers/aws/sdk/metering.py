"""Counts the SDK's calls by action and result, using the SDK's events."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from prometheus_client import Counter


def meter(client: "BaseClient", requests: "Counter") -> None:
    """Count every call of *client* in *requests*. A call that the SDK retries counts once."""

    @cache  # Bounded by the number of actions and error codes.
    def counter(action: str, result: str) -> "Counter":
        return requests.labels(action, result)

    def answered(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        counter(model.name, parsed["Error"].get("Code", "ok") if "Error" in parsed else "ok").inc()

    def failed(exception: Exception, event_name: str, **_: Any) -> None:
        counter(event_name.rpartition(".")[2], type(exception).__name__).inc()

    client.meta.events.register("after-call", answered)
    client.meta.events.register("after-call-error", failed)
