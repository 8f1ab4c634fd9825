"""What CloudWatch knows about queues and workers, read with one request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.operations.stack import Stack

FAILURES_WINDOW = timedelta(hours=1)
RATE_WINDOW = timedelta(minutes=5)
RECENT = timedelta(minutes=15)  # SQS reports once a minute, and a few minutes late.
_PERIOD_S = 60
_SQS = "AWS/SQS"
_OF_QUEUES = {
    "oldest": ("ApproximateAgeOfOldestMessage", "Maximum"),
    "sent": ("NumberOfMessagesSent", "Sum"),
    "deleted": ("NumberOfMessagesDeleted", "Sum"),
    "received": ("NumberOfMessagesReceived", "Sum"),
    "empty": ("NumberOfEmptyReceives", "Sum"),
}
_OF_DEAD_LETTER_QUEUES = {"oldest": _OF_QUEUES["oldest"]}
_FAILED_RELEASES = ("transient", "unexpected_error", "timed_out")

Points = Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The data points of the last hour, the newest first, by queue and by worker."""

    now: datetime
    of_queues: Mapping[tuple[str, str], Points]
    of_workers: Mapping[tuple[str, str], Points]

    def oldest_s(self, queue: str) -> int | None:
        """Return the age of the oldest message; None if CloudWatch has no recent one."""
        points = self._recent(queue, "oldest")
        return round(points[0][1]) if points else None

    def last_poll_at(self, queue: str) -> datetime | None:
        """Return the end of the last minute in which the queue was received from."""
        polled = [at for name in ("received", "empty") for at, count in self.of_queues.get((queue, name), ()) if count]
        return max(polled) + timedelta(seconds=_PERIOD_S) if polled else None

    def deleted_per_second(self, queue: str) -> float | None:
        """Return how many messages were acknowledged per second, in the last five minutes that CloudWatch has."""
        return self._per_second(queue, "deleted")

    def drained_per_second(self, queue: str) -> float | None:
        """Return how many more messages were acknowledged per second than sent; None if CloudWatch has no data."""
        deleted, sent = self._per_second(queue, "deleted"), self._per_second(queue, "sent")
        return None if deleted is None or sent is None else deleted - sent

    def failures(self, worker: str) -> int:
        """Return how many failures the worker's log lines of the last hour report."""
        names = ("dead_lettered", "abandoned", "worker_failed", *_FAILED_RELEASES)
        return round(sum(count for name in names for _, count in self.of_workers.get((worker, name), ())))

    def recently_fulfilled(self) -> datetime | None:
        """Return the last minute in which an order was fulfilled, if that was in the last fifteen minutes."""
        points = [at for at, count in self.of_workers.get(("fulfillment", "fulfilled"), ()) if count]
        return max(points) if points and max(points) > self.now - RECENT else None

    def _per_second(self, queue: str, name: str) -> float | None:
        # SQS reports all of these together, so the newest point of any shows how far its report has come.
        times = [points[0][0] for each in _OF_QUEUES if (points := self._recent(queue, each))]
        if not times:
            return None
        since = max(times) - RATE_WINDOW
        counts = [count for at, count in self.of_queues.get((queue, name), ()) if at > since]
        return round(sum(counts) / RATE_WINDOW.total_seconds(), 3)

    def _recent(self, queue: str, name: str) -> Points:
        return [point for point in self.of_queues.get((queue, name), ()) if point[0] > self.now - RECENT]


@dataclass(frozen=True, slots=True)
class _Query:
    """A metric of a queue or a worker, by our name and by CloudWatch's."""

    of: str
    name: str
    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    stat: str = "Sum"

    @property
    def is_of_queue(self) -> bool:
        return self.namespace == _SQS

    def request(self, query_id: str) -> dict[str, Any]:
        dimensions = [{"Name": name, "Value": value} for name, value in self.dimensions.items()]
        metric = {"Namespace": self.namespace, "MetricName": self.metric, "Dimensions": dimensions}
        return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": _PERIOD_S, "Stat": self.stat}}


def _of_queues(queues: Iterable[str], metrics: Mapping[str, tuple[str, str]]) -> list[_Query]:
    return [
        _Query(queue, name, _SQS, metric, {"QueueName": queue}, stat)
        for queue in queues
        for name, (metric, stat) in metrics.items()
    ]


def _of_workers(namespace: str) -> list[_Query]:
    queries = [_Query("fulfillment", "fulfilled", namespace, "OrdersFulfilled", {})]
    for worker in ("fulfillment", "escalation"):
        of_worker = {"Worker": worker}
        queries += [
            *(
                _Query(worker, outcome, namespace, "MessagesReleased", of_worker | {"Outcome": outcome})
                for outcome in _FAILED_RELEASES
            ),
            _Query(worker, "dead_lettered", namespace, "MessagesDeadLettered", of_worker),
            _Query(worker, "abandoned", namespace, "MessagesAbandoned", of_worker),
            _Query(worker, "worker_failed", namespace, "WorkersFailed", of_worker),
        ]
    return queries


async def read_metrics(
    stack: "Stack", queues: Sequence[str], dead_letter_queues: Sequence[str], prefix: str | None
) -> Metrics:
    """Read the metrics of these queues, and those that the workers' stack with this prefix makes of log lines."""
    asked = [*_of_queues(queues, _OF_QUEUES), *_of_queues(dead_letter_queues, _OF_DEAD_LETTER_QUEUES)]
    if prefix is not None:
        asked += _of_workers(f"{prefix}OrderFulfillment")
    now = stack.now()
    found: dict[bool, dict[tuple[str, str], Points]] = {True: {}, False: {}}
    answer: Any = await stack.cloudwatch.call(
        "get_metric_data",
        MetricDataQueries=[query.request(f"m{number}") for number, query in enumerate(asked)],
        StartTime=now - FAILURES_WINDOW,
        EndTime=now,
        ScanBy="TimestampDescending",
    )
    for result in answer["MetricDataResults"]:
        query = asked[int(result["Id"].removeprefix("m"))]
        points = list(zip(result["Timestamps"], result["Values"], strict=True))
        found[query.is_of_queue][query.of, query.name] = sorted(points, reverse=True)
    return Metrics(now, found[True], found[False])
