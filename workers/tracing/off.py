"""What `wiring` passes the parts of a worker through. Without tracing, each comes back unchanged."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from workers.consumer.in_flight import InFlight

if TYPE_CHECKING:
    from aiohttp import TraceConfig

Part = TypeVar("Part")


class Tracing:
    """No tracing. `workers.tracing.on` has the subclass that traces."""

    is_on: bool = False

    def in_flight(self, queue: str) -> Callable[..., InFlight]:  # noqa: ARG002
        """Return what makes the `InFlight` of a consumer of *queue*: with a span for each delivery."""
        return InFlight

    def table(self, port: Part, table: str, operations: Mapping[str, str]) -> Part:  # noqa: ARG002
        """Return *port* with a span for each call. *operations* are DynamoDB's operations, by method."""
        return port

    def port(self, port: Part, name: str, *methods: str) -> Part:  # noqa: ARG002
        """Return *port* with a span called *name* for each call of *methods*."""
        return port

    def sender(self, client: Part) -> Part:
        """Return *client*, of SQS or SNS, with a span for each message, which carries the context of that span."""
        return client

    def http(self) -> "list[TraceConfig]":
        """Return what gives each request of a `ClientSession` a span, and its context as headers."""
        return []


NO_TRACING = Tracing()
