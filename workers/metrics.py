"""The metrics of a worker, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from workers.outages import LOGGED_EVERY_S, PROLONGED_AFTER_S, Outages

# In seconds: from one conditional write to the longest handler. Ages go up to the retention of a queue.
_HANDLE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_AGE_BUCKETS_S = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 10 * 24 * 3600)


class Metrics:
    """The metrics of one worker, in their own registry, and its outages."""

    def __init__(
        self, *, prolonged_after_s: float = PROLONGED_AFTER_S, prolonged_every_s: float = LOGGED_EVERY_S
    ) -> None:
        self.registry = CollectorRegistry()
        self.outages = Outages(self.registry, prolonged_after_s, prolonged_every_s)
        self.received = Counter("workers_messages_received", "Messages received.", registry=self.registry)
        self.settled = Counter(
            "workers_messages_settled",
            "Messages that ended, by last log line and outcome.",
            ["ending", "outcome"],
            registry=self.registry,
        )
        self._settled: dict[tuple[str, str], Counter] = {}
        self.in_flight = Gauge(
            "workers_messages_in_flight", "Messages received that have not ended.", registry=self.registry
        )
        self.handle_s = Histogram(
            "workers_handle_seconds",
            "Duration of each call of the handler.",
            buckets=_HANDLE_BUCKETS_S,
            registry=self.registry,
        )
        self.age_s = Histogram(
            "workers_message_age_seconds",
            "Age of each message when it was received.",
            buckets=_AGE_BUCKETS_S,
            registry=self.registry,
        )
        self.requests = Counter(
            "workers_aws_requests",
            "Calls to AWS, by action and result: ok, an error code, or the name of a network error.",
            ["action", "result"],
            registry=self.registry,
        )
        self.notifications = Counter(
            "workers_notifications",
            "Notifications of escalations, by channel and result: sent, failed, or deferred while the channel rests.",
            ["channel", "result"],
            registry=self.registry,
        )
        self.loop_blocked_s = Counter(
            "workers_event_loop_blocked_seconds",
            "Seconds for which code blocked the event loop, in blocks of more than a second.",
            registry=self.registry,
        )

    def count_settled(self, ending: str, outcome: str) -> None:
        """Count one ended message. Caches the labelled counters, because looking one up for each message is slow."""
        counter = self._settled.get((ending, outcome))
        if counter is None:
            counter = self._settled[(ending, outcome)] = self.settled.labels(ending, outcome)
        counter.inc()
