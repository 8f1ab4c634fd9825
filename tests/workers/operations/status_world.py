"""A whole system whose sources tests script: the workers' endpoints, SQS, DynamoDB, CloudWatch, ECS, logs and cases."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.workers.operations.fakes import NOW, FakeClient, FakeSession, refused
from workers.domain.cases import Case, CaseState
from workers.domain.reasons import Reason, Severity
from workers.operations.cases import OpenCases, Selection
from workers.operations.stack import Stack
from workers.operations.status_endpoints import Endpoint
from workers.operations.status_reader import StatusReader

FULFILLMENT = Endpoint("fulfillment", "http://127.0.0.1:8081")
ESCALATION = Endpoint("escalation", "http://127.0.0.1:8082")
EPOCH_S = NOW.timestamp()


def ago(**length: float) -> str:
    """Return a time before now, as stored."""
    return (NOW - timedelta(**length)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def metrics(
    worker: str, *, settled: int = 0, failed: int = 0, polled_s: float = 2, release: str = "", more: str = ""
) -> str:
    """Return what `/metrics` of a worker says; *more* are lines to add."""
    return f"""\
workers_info{{worker="{worker}",queue="Q",release="{release}"}} 1
workers_start_timestamp_seconds {EPOCH_S - 7200}
workers_last_poll_timestamp_seconds {EPOCH_S - polled_s}
workers_messages_received_total {settled + failed}
workers_messages_settled_total{{ending="message.acknowledged",outcome="fulfilled"}} {settled}
workers_messages_settled_total{{ending="message.released",outcome="transient"}} {failed}
workers_messages_settled_total{{ending="message.released",outcome="stopping"}} 5
workers_outage_seconds{{stage="poll"}} 0
{more}"""


WHY = "the provider is down or busy (HTTP 503)"
DOWN = f"""\
workers_outage_seconds{{stage="downstream"}} 360
workers_outage_reason{{stage="downstream",reason="{WHY}"}} 1
workers_service_up{{service="provider"}} 0
workers_service_down_since_timestamp_seconds{{service="provider"}} {EPOCH_S - 360}
workers_service_last_success_timestamp_seconds{{service="provider"}} {EPOCH_S - 400}
workers_service_last_error_timestamp_seconds{{service="provider",reason="{WHY}"}} {EPOCH_S - 4}
"""
CHANNELS = f"""\
workers_service_up{{service="channel pager"}} 1
workers_service_last_success_timestamp_seconds{{service="channel pager"}} {EPOCH_S - 60}
workers_service_up{{service="channel tickets"}} NaN
"""


def case(case_id: str, severity: str = "warning", hours: float = 3, *reasons: str) -> Case:
    opened_at = ago(hours=hours)
    return Case(
        case_id=case_id,
        state=CaseState.OPEN,
        severity=Severity(severity),
        reasons=tuple(Reason(reason) for reason in reasons or ("INVALID_PRICE",)),
        opened_at=opened_at,
        updated_at=opened_at,
    )


@dataclass
class World:
    """The sources. Tests change what they say; an exception is raised, and `never` does not return."""

    pages: dict[str, Any] = field(default_factory=dict)  # What the workers' endpoints answer, by URL.
    depths: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # Of queues, by name.
    orders: dict[str, list[str]] = field(default_factory=dict)  # Times, by key of the index.
    cases: Any = field(default_factory=list)
    metrics: dict[tuple[str, str], list[tuple[datetime, float]]] = field(default_factory=dict)
    services: Any = None
    commands: dict[str, list[str]] = field(default_factory=dict)  # Of services that are not our workers'.
    more_services: bool = False
    lines: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # By log group; others do not exist.
    lines_a_page: int = 1000
    tags: dict[str, dict[str, str]] = field(default_factory=dict)  # Of queues, by name.
    hanging: set[str] = field(default_factory=set)  # Operations that never answer.
    now: datetime = NOW
    environ: dict[str, str] = field(default_factory=dict)
    sleep: Callable[[float], Awaitable[None]] | None = None  # By default, time passes.
    clients: dict[str, FakeClient] = field(init=False)

    def __post_init__(self) -> None:
        def client(**operations: Callable[..., Any]) -> FakeClient:
            return FakeClient(**{name: self._bounded(name, answer) for name, answer in operations.items()})

        self.clients = {
            "sqs": client(
                get_queue_url=lambda **asked: {"QueueUrl": asked["QueueName"]},
                get_queue_attributes=self._queue,
                list_queue_tags=lambda **asked: {"Tags": self.tags.get(asked["QueueUrl"], {})},
            ),
            "dynamodb": client(
                query=self._query,
                describe_table=lambda **_: {},
                get_item=lambda **_: {},
                batch_get_item=lambda **_: {"Responses": {}},
            ),
            "cloudwatch": client(get_metric_data=self._metric_data),
            "ecs": client(
                list_services=self._list_services,
                describe_services=self._describe_services,
                describe_task_definition=self._task_definition,
            ),
            "logs": client(filter_log_events=self._log_lines),
            "sts": client(get_caller_identity=lambda: {"Arn": "arn:aws:sts::000000000000:assumed-role/ops/ada"}),
        }

    def _bounded(self, name: str, answer: Callable[..., Any]) -> Callable[..., Any]:
        async def answered(**asked: Any) -> Any:
            await asyncio.sleep(0.001)  # As a request does; the limits are in virtual time.
            if name in self.hanging:
                await asyncio.Event().wait()
            return answer(**asked)

        return answered

    def workers_run(self, *, down: bool = False, settled: int = 0) -> None:
        """Let both workers answer at their endpoints, with a pager and tickets as channels."""
        provider = DOWN if down else 'workers_service_up{service="provider"} 1\n'
        for endpoint, more in ((FULFILLMENT, provider), (ESCALATION, CHANNELS)):
            text = metrics(endpoint.worker, settled=settled, failed=3, release="r1", more=more)
            self.answer(endpoint, text)
        if down:
            self.pages[f"{FULFILLMENT.url}/readyz"] = (503, "downstream has failed for 360 s\n")

    def answer(self, endpoint: Endpoint, text: str) -> None:
        self.pages[f"{endpoint.url}/healthz"] = self.pages[f"{endpoint.url}/readyz"] = (200, "ok\n")
        self.pages[f"{endpoint.url}/metrics"] = (200, text)

    def reader(self, *endpoints: Endpoint) -> StatusReader:
        return StatusReader(
            self.stack(), endpoints, fetch=self.fetch, read_cases=self.read_cases, sleep=self.sleep or self._pass_time
        )

    async def _pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def stack(self) -> Stack:
        return Stack(self.environ, now=lambda: self.now, session=FakeSession(self.clients))

    async def fetch(self, url: str) -> tuple[int, str]:
        answer = self.pages.get(url, ConnectionRefusedError())
        if isinstance(answer, Exception):
            raise answer
        found: tuple[int, str] = answer
        return found

    async def read_cases(self, _stack: Stack, _selection: Selection) -> OpenCases:
        if isinstance(self.cases, Exception):
            raise self.cases
        return OpenCases(self.cases, len(self.cases), [])

    def _queue(self, *, QueueUrl: str, **_: Any) -> Any:  # noqa: N803 - the SDK's name.
        counts = self.depths.get(QueueUrl, (0, 0, 0))
        attributes = {
            f"ApproximateNumberOfMessages{state}": str(count)
            for state, count in zip(("", "NotVisible", "Delayed"), counts, strict=True)
        }
        target = QueueUrl.replace("Queue", "DLQ")
        return {
            "Attributes": attributes
            | {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:r:0:{target}"})}
        }

    def _query(self, **asked: Any) -> Any:
        if ":before" in asked["ExpressionAttributeValues"]:  # A list, not a count: no order can be read here.
            return {"Items": []}
        (key,) = (each["S"] for each in asked["ExpressionAttributeValues"].values())
        times = self.orders.get(key, [])
        if asked.get("Select") == "COUNT":
            return {"Count": len(times)}
        assert asked["Limit"] == 1
        return {"Items": [{"UpdatedAt": {"S": at}} for at in times[:1]]}

    def _metric_data(self, *, MetricDataQueries: Any, **_: Any) -> Any:  # noqa: N803
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            values = [dimension["Value"] for dimension in metric["Dimensions"]]
            points = self.metrics.get((metric["MetricName"], "/".join(values)), [])
            timestamps, numbers = [at for at, _ in points], [number for _, number in points]
            results.append({"Id": query["Id"], "Timestamps": timestamps, "Values": numbers})
        return {"MetricDataResults": results}

    def _list_services(self, *, cluster: str, **_: Any) -> Any:
        if self.services is None:
            raise refused("ClusterNotFoundException", "ListServices")
        arns = [f"arn:aws:ecs:r:0:service/{cluster}/{name}" for name in self.services]
        return {"serviceArns": arns} | ({"nextToken": "more"} if self.more_services else {})

    def _describe_services(self, *, services: list[str], **_: Any) -> Any:
        if self.services is None:
            raise refused("ClusterNotFoundException", "DescribeServices")
        assert len(services) <= 10  # As AWS.
        return {
            "services": [
                {
                    "serviceName": name,
                    "status": "ACTIVE",
                    "runningCount": running,
                    "desiredCount": desired,
                    "pendingCount": pending,
                    "taskDefinition": f"{name}:7",
                }
                for name, (running, desired, pending) in self.services.items()
                if name in services
            ]
        }

    def _task_definition(self, *, taskDefinition: str) -> Any:  # noqa: N803
        command = self.commands.get(taskDefinition.partition(":")[0], ["fulfillment"])
        variables = [{"name": "LOG_LEVEL", "value": "INFO"}, {"name": "WORKER_RELEASE", "value": "r7"}]
        return {"taskDefinition": {"containerDefinitions": [{"environment": variables, "command": command}, {}]}}

    def _log_lines(self, *, logGroupName: str, nextToken: str = "0", **_: Any) -> Any:  # noqa: N803
        if logGroupName not in self.lines:
            raise refused("ResourceNotFoundException", "FilterLogEvents")
        lines, begin = self.lines[logGroupName], int(nextToken)
        end = begin + self.lines_a_page
        page = [{"logStreamName": line.get("task", "t1"), "message": json.dumps(line)} for line in lines[begin:end]]
        return {"events": page} | ({"nextToken": str(end)} if end < len(lines) or not self.lines_a_page else {})


def busy() -> World:
    """Return a system in the middle of a bad day."""
    world = World()
    world.workers_run(down=True)
    world.depths = {
        "OrderFulfillmentQueue": (1200, 150, 0),
        "EscalationQueue": (0, 2, 5),
        "OrderFulfillmentDLQ": (8, 0, 0),
    }
    world.orders = {
        "RECEIVED#0": [ago(minutes=40), ago(minutes=1)],
        "RECEIVED#a": [ago(minutes=2)],
        "ESCALATED#3": [ago(hours=3)],
        "FULFILLED#2026-11-22#0": [ago(hours=1)] * 241,
    }
    world.cases = [
        case("1", "critical", 3, "FULFILLMENT_EXHAUSTED"),
        case("2", "critical", 1, "ORDER_NOT_FOUND"),
        case("3", "warning", 5, "INVALID_PRICE", "INVALID_CARD_NUMBER"),
    ]
    return world
