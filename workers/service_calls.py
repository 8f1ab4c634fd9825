"""What a worker's calls show about the services it uses: the provider, and the channels of notifications."""

import time
from collections.abc import Callable, Iterable
from math import nan

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workers.errors import WorkerError, plain_name

PROVIDER = "provider"
MAX_REASON_CHARS = 300


def channel_service(name: str) -> str:
    """Return what the metrics call the channel *name*."""
    return f"channel {name}"


class ServiceCalls:
    """Whether a service works, as its last calls have shown. Times are in seconds since the epoch."""

    def __init__(self, name: str, now_s: Callable[[], float] = time.time, mask: Callable[[str], str] = str) -> None:
        self.name = name
        self.up: bool | None = None  # None: it was not called yet.
        self.down_since_s: float | None = None
        self.last_success_s: float | None = None
        self.last_error_s: float | None = None
        self.last_error = ""
        self._now_s = now_s
        self._mask = mask

    def worked(self) -> None:
        """Record that the service answered a call, even if it refused it for its content."""
        self.up, self.down_since_s, self.last_success_s = True, None, self._now_s()

    def failed(self, error: Exception, *, down: bool) -> None:
        """Record a call that failed. *down*: the service works for no call, as far as this one shows."""
        self.last_error_s = self._now_s()
        # Only our own errors are known not to quote a message or an address.
        reason = str(error) if isinstance(error, WorkerError) and str(error) else plain_name(error)
        self.last_error = self._mask(" ".join(reason.split()))[:MAX_REASON_CHARS]
        if down:
            self.up = False
            if self.down_since_s is None:
                self.down_since_s = self.last_error_s


class Services(Collector):
    """The services that a worker uses, as metrics."""

    def __init__(self, registry: CollectorRegistry, mask: Callable[[str], str]) -> None:
        self._services: dict[str, ServiceCalls] = {}
        self._mask = mask
        registry.register(self)

    def service(self, name: str) -> ServiceCalls:
        """Add the service called *name*, if it is new, and return it."""
        return self._services.setdefault(name, ServiceCalls(name, mask=self._mask))

    def collect(self) -> Iterable[GaugeMetricFamily]:
        up = GaugeMetricFamily(
            "workers_service_up",
            "Whether the provider or a channel works, as the last call showed: 1, 0, or NaN before the first call.",
            labels=["service"],
        )
        since = GaugeMetricFamily(
            "workers_service_down_since_timestamp_seconds", "Since when a service is down.", labels=["service"]
        )
        success = GaugeMetricFamily(
            "workers_service_last_success_timestamp_seconds", "When a service last worked.", labels=["service"]
        )
        error = GaugeMetricFamily(
            "workers_service_last_error_timestamp_seconds",
            "When a call to a service last failed, and why.",
            labels=["service", "reason"],
        )
        for service in self._services.values():
            up.add_metric([service.name], nan if service.up is None else float(service.up))
            if service.down_since_s is not None:
                since.add_metric([service.name], service.down_since_s)
            if service.last_success_s is not None:
                success.add_metric([service.name], service.last_success_s)
            if service.last_error_s is not None:
                error.add_metric([service.name, service.last_error], service.last_error_s)
        return up, since, success, error
