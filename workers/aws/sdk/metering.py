"""Counts the SDK's calls by action and result, using the SDK's events."""

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from prometheus_client import Counter


class Meter:
    """Counts every call of *client* in *requests*. A call that the SDK retries counts once."""

    def __init__(self, client: "BaseClient", requests: "Counter") -> None:
        self._counter = cache(requests.labels)  # Bounded by the number of actions and error codes.
        client.meta.events.register("after-call", self._answered)
        client.meta.events.register("after-call-error", self._failed)

    def count(self, action: str, result: str) -> None:
        """Count a call of which the SDK does not know."""
        self._counter(action, result).inc()

    def _answered(self, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        self.count(model.name, parsed["Error"].get("Code", "ok") if "Error" in parsed else "ok")

    def _failed(self, exception: Exception, event_name: str, **_: Any) -> None:
        self.count(event_name.rpartition(".")[2], type(exception).__name__)
