"""What a worker counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

# From a single conditional write to the longest handler in seconds; ages reach a queue's retention.
_HANDLE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_AGE_BUCKETS_S = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 10 * 24 * 3600)


class Metrics:
    """The metrics of one consumer, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.received = Counter("workers_messages_received", "Messages received.", registry=self.registry)
        self.settled = Counter(
            "workers_messages_settled",
            "Messages that ended, by the log line they ended in and its outcome.",
            ["ending", "outcome"],
            registry=self.registry,
        )
        self._settled: dict[tuple[str, str], Counter] = {}
        self.in_flight = Gauge(
            "workers_messages_in_flight", "Messages received and not settled.", registry=self.registry
        )
        self.handle_s = Histogram(
            "workers_handle_seconds",
            "From the start of a message's handling to its outcome.",
            buckets=_HANDLE_BUCKETS_S,
            registry=self.registry,
        )
        self.age_s = Histogram(
            "workers_message_age_seconds",
            "From the sending of a message to its receipt.",
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

    def count_settled(self, ending: str, outcome: str) -> None:
        """Count one message. Once for each message: the labelled counter is looked up only the first time."""
        counter = self._settled.get((ending, outcome))
        if counter is None:
            counter = self._settled[(ending, outcome)] = self.settled.labels(ending, outcome)
        counter.inc()
