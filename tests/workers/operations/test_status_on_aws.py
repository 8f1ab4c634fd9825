"""What the status says on AWS, from ECS, CloudWatch and the log lines of the workers."""

from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, refused
from tests.workers.operations.status_world import World, ago
from workers.operations.status import ServiceState, Status, WorkerState

GROUP = "/ecs/order-fulfillment/"


def minutes(*values: float, newest: int = 2) -> list[tuple[Any, float]]:
    """Return data points of a minute each, the newest first; SQS's are some minutes late."""
    return [(NOW - timedelta(minutes=newest + number), value) for number, value in enumerate(values)]


def line(event: str, minutes_ago: float, **fields: Any) -> dict[str, Any]:
    return {"event": event, "timestamp": ago(minutes=minutes_ago), **fields}


@pytest.fixture
def world() -> World:
    """A system on ECS that works on a backlog."""
    return World(
        depths={"OrderFulfillmentQueue": (5000, 400, 0)},
        services={"fulfillment": (3, 3, 0), "escalation": (1, 1, 0)},
        lines={f"{GROUP}fulfillment": [], f"{GROUP}escalation": []},
        metrics={
            ("NumberOfMessagesDeleted", "OrderFulfillmentQueue"): minutes(600, 600, 600, 600, 600, 9000),
            ("NumberOfMessagesSent", "OrderFulfillmentQueue"): minutes(60, 60, 60, 60, 60, 60),
            ("NumberOfMessagesReceived", "OrderFulfillmentQueue"): minutes(600, 600),
            ("NumberOfEmptyReceives", "EscalationQueue"): minutes(0, 3, 3),
            ("ApproximateAgeOfOldestMessage", "OrderFulfillmentQueue"): minutes(1000, 900),
            ("OrdersFulfilled", ""): minutes(600, 600, newest=1),
            ("MessagesReleased", "fulfillment/transient"): minutes(2, 0, 1),
            ("MessagesAbandoned", "fulfillment"): minutes(1),
            ("WorkersFailed", "escalation"): minutes(1),
        },
    )


async def read(world: World) -> Status:
    return await world.reader().read()


def reasons(status: Status) -> dict[str, str]:
    return {what: unknown.reason for unknown in status.unknown for what in unknown.what}


async def test_workers_are_those_of_ecs_with_the_figures_of_cloudwatch(world: World) -> None:
    fulfillment, escalation = (await read(world)).workers
    assert (fulfillment.state, fulfillment.running, fulfillment.desired, fulfillment.release) == ("running", 3, 3, "r7")
    assert (fulfillment.problem, escalation.problem) == (None, None)
    assert (fulfillment.messages_per_second, fulfillment.failures) == (10, 4)
    assert fulfillment.failures_since_at == ago(hours=1)
    assert (fulfillment.last_poll_at, escalation.last_poll_at) == (ago(minutes=1), ago(minutes=2))
    assert (fulfillment.held, escalation.held, escalation.failures) == (False, False, 1)


async def test_a_queue_drains_by_what_was_acknowledged_and_not_sent_again(world: World) -> None:
    status = await read(world)
    queue = status.queues[0]
    assert (queue.drained_per_second, queue.empty_in_s, queue.oldest_s) == (9, 600, 1000)
    assert "the oldest message of OrderFulfillmentQueue is 16m old" in [need.text for need in status.needs]


async def test_everything_about_queues_and_workers_is_one_request_kept_for_half_a_minute(world: World) -> None:
    reader = world.reader()
    await reader.read()
    world.now += timedelta(seconds=20)
    await reader.read()
    assert len(world.clients["cloudwatch"].requests) == 1
    world.now += timedelta(seconds=10)
    await reader.read()
    assert len(world.clients["cloudwatch"].requests) == 2
    definitions = [asked for name, asked in world.clients["ecs"].requests if name == "describe_task_definition"]
    assert len(definitions) == 2  # One of each service, which never changes.
    (_, asked), *_ = world.clients["cloudwatch"].requests
    assert len({query["Id"] for query in asked["MetricDataQueries"]}) == len(asked["MetricDataQueries"]) <= 500


@pytest.mark.parametrize(
    ("tasks", "state", "problem"),
    [
        ((2, 3, 1), WorkerState.RUNNING, "2 of 3 tasks run"),
        ((0, 1, 1), WorkerState.STARTING, "its first task is starting"),
        ((0, 1, 0), WorkerState.NOT_RUNNING, "0 of 1 tasks run"),
        ((0, 0, 0), WorkerState.NOT_RUNNING, "0 of 0 tasks run"),
    ],
)
async def test_a_service_without_tasks_does_not_run(
    world: World, tasks: tuple[int, int, int], state: WorkerState, problem: str
) -> None:
    world.services["escalation"] = tasks
    status = await read(world)
    assert (status.workers[1].state, status.workers[1].problem) == (state, problem)
    command = "aws ecs describe-services --cluster order-fulfillment --services escalation"
    assert (command in [need.command for need in status.needs]) == (state is WorkerState.NOT_RUNNING)


async def test_a_missing_service_does_not_run_and_a_missing_cluster_is_unknown(world: World) -> None:
    del world.services["escalation"]
    missing = (await read(world)).workers[1]
    assert (missing.problem, missing.running, missing.desired) == ("ECS has no service escalation", 0, None)
    world.services = None
    status = await read(world)
    assert [worker.state for worker in status.workers] == [WorkerState.UNKNOWN] * 2
    assert reasons(status)["the workers"] == (
        "there is no cluster order-fulfillment on ECS, and WORKER_HEALTH_URLS does not say where workers run"
    )
    assert "workers of your own" not in reasons(status), "without a cluster there are none"


async def test_services_that_may_not_be_listed_are_said(world: World) -> None:
    def denied(**_: Any) -> Any:
        raise refused("AccessDenied", "ListServices", 403)

    world.clients["ecs"].operations["list_services"] = denied
    assert reasons(await read(world))["workers of your own"] == (
        "these credentials do not allow ListServices (AccessDenied)"
    )


@pytest.mark.parametrize(
    ("service", "operation", "what"),
    [
        ("ecs", "describe_services", "the workers"),
        ("logs", "filter_log_events", "outages of the fulfillment worker"),
    ],
)
async def test_what_may_not_be_read_is_not_called_missing(
    world: World, service: str, operation: str, what: str
) -> None:
    def denied(**_: Any) -> Any:
        raise refused("AccessDenied", operation, 403)

    world.clients[service].operations[operation] = denied
    assert reasons(await read(world))[what] == f"these credentials do not allow {operation} (AccessDenied)"


@pytest.mark.parametrize(("values", "release"), [([], None), ([""], None), (["r8", "r9"], "r8"), (["", "r9"], None)])
async def test_a_release_is_the_first_one_that_a_task_definition_names(
    world: World, values: list[str], release: str | None
) -> None:
    environment = [{"name": "WORKER_RELEASE", "value": value} for value in values]
    containers = [{"environment": environment, "command": ["fulfillment"]}]
    world.clients["ecs"].operations["describe_task_definition"] = lambda **_: {
        "taskDefinition": {"containerDefinitions": containers}
    }
    assert (await read(world)).workers[0].release == release


async def test_a_failure_counts_for_six_minutes(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [line("poll.failed", 6, reason="Throttled", failures=1)]
    assert (await read(world)).workers[0].held is True
    (_, asked), *_ = world.clients["logs"].requests
    assert asked["startTime"] == round((NOW - timedelta(minutes=15)).timestamp()) * 1000
    world.lines[f"{GROUP}fulfillment"] = [line("poll.failed", 6.001, reason="Throttled", failures=1)]
    assert (await read(world)).workers[0].held is False


async def test_an_outage_is_known_from_the_lines_about_it(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [
        line("downstream.failed", 9, reason="the provider is down or busy (HTTP 503)", failures=1),
        line("downstream.failed", 5, reason="the provider cannot be reached", failures=40),
        line("outage.prolonged", 2, stage="downstream", reason="the provider cannot be reached", duration_ms=480_000),
    ]
    world.lines[f"{GROUP}escalation"] = [
        line("channel.failed", 8, channel="pager", reason="no answer within 5 s", failures=1),
        line(
            "outage.prolonged", 3, stage="channel", channel="pager", reason="no answer within 5 s", duration_ms=300_000
        ),
        line("channel.failed", 7, channel="tickets", reason="HTTP 500", failures=1),
        line("channel.recovered", 6, channel="tickets", failures=2, duration_ms=60_000),
    ]
    status = await read(world)
    worker = status.workers[0]
    assert (worker.held, worker.held_by, worker.held_since_at) == (True, "downstream", ago(minutes=10))
    assert worker.held_reason == "the provider cannot be reached"
    assert [(each.service, each.state, each.down_since_at, each.last_error) for each in status.services] == [
        ("provider", ServiceState.DOWN, ago(minutes=10), "the provider cannot be reached"),
        ("channel pager", ServiceState.DOWN, ago(minutes=8), "no answer within 5 s"),
        ("channel tickets", ServiceState.UP, None, None),
    ]
    assert status.workers[1].held is False
    assert [need.command for need in status.needs][:2] == [
        "aws logs tail /ecs/order-fulfillment/fulfillment --since 15m",
        "orders status --watch",
    ]


async def test_an_outage_that_is_over_holds_nothing(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [
        line("downstream.failed", 4, reason="the provider is down", failures=1),
        line("downstream.recovered", 3, failures=3, duration_ms=60_000),
        line("poll.failed", 8, reason="ReceiveMessage: Throttled", failures=1, task="t2"),  # Its task has ended.
    ]
    status = await read(world)
    assert status.workers[0].held is False
    assert status.services[0].state is ServiceState.UP


async def test_a_service_is_not_down_because_a_task_that_has_ended_said_so(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [line("downstream.failed", 8, reason="the provider is down", failures=1)]
    world.lines[f"{GROUP}escalation"] = [line("channel.failed", 8, channel="pager", reason="HTTP 500", failures=1)]
    services = {each.service: each.state for each in (await read(world)).services}
    assert services == {"provider": ServiceState.UP, "channels": ServiceState.UNKNOWN}


async def test_the_newest_lines_count_however_many_there_are(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [
        *(line("poll.failed", 14 - number, reason="Throttled", failures=1) for number in range(14)),
        line("poll.recovered", 0.5, failures=14, duration_ms=800_000),
    ]
    world.lines_a_page = 1
    assert (await read(world)).workers[0].held is False


async def test_lines_that_have_no_end_leave_outages_unknown(world: World) -> None:
    world.lines_a_page = 0
    status = await read(world)
    assert [worker.held for worker in status.workers] == [None, None]
    assert reasons(status)["outages of the fulfillment worker"] == "no answer within 4 s"


async def test_an_outage_of_one_task_counts_although_another_one_works(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [
        line("poll.failed", 2, reason="ReceiveMessage: Throttled", failures=1, task="t1"),
        line("poll.failed", 2, reason="ReceiveMessage: Throttled", failures=1, task="t2"),
        line("poll.recovered", 1, failures=1, duration_ms=1000, task="t2"),
    ]
    assert (await read(world)).workers[0].held_by == "poll"


async def test_lines_of_others_and_edited_ones_are_left_out(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [{"event": "outage.prolonged"}, {"event": 7, "timestamp": "x"}]
    assert (await read(world)).workers[0].held is False


async def test_without_a_shipment_and_a_failure_the_provider_is_unknown(world: World) -> None:
    world.metrics[("OrdersFulfilled", "")] = minutes(600, newest=20)
    status = await read(world)
    assert [(each.service, each.state) for each in status.services] == [
        ("provider", "unknown"),
        ("channels", "unknown"),
    ]
    assert reasons(status)["provider"] == "no order was fulfilled in the last 15 minutes, and no failure logged"
    assert "channels" in reasons(status)


async def test_a_missing_log_group_leaves_outages_and_failures_unknown(world: World) -> None:
    world.lines = {}
    status = await read(world)
    assert [(worker.held, worker.failures) for worker in status.workers] == [(None, None)] * 2
    assert reasons(status)["outages of the escalation worker"] == f"there is no log group {GROUP}escalation"
    assert [each.state for each in status.services] == [ServiceState.UNKNOWN] * 2, "though orders were fulfilled"
    assert reasons(status)["provider"] == "the log lines of the fulfillment worker are unknown"
    assert reasons(status)["channels"] == "the log lines of the escalation worker are unknown"


async def test_without_metrics_it_is_not_said_that_nothing_was_fulfilled(world: World) -> None:
    world.hanging = {"get_metric_data"}
    assert reasons(await read(world))["provider"] == "no failure is logged, and CloudWatch's metrics are unknown"


async def test_names_with_a_prefix_lead_to_the_stack_with_this_prefix(world: World) -> None:
    world.environ = {
        "ORDER_FULFILLMENT_QUEUE": "test-OrderFulfillmentQueue",
        "ESCALATION_QUEUE": "test-EscalationQueue",
    }
    await read(world)
    assert world.clients["ecs"].requests[0][1]["cluster"] == "test-order-fulfillment"
    groups = {asked["logGroupName"] for _, asked in world.clients["logs"].requests}
    assert groups == {"/ecs/test-order-fulfillment/fulfillment", "/ecs/test-order-fulfillment/escalation"}
    ((_, asked),) = world.clients["cloudwatch"].requests
    namespaces = {query["MetricStat"]["Metric"]["Namespace"] for query in asked["MetricDataQueries"]}
    assert namespaces == {"AWS/SQS", "test-OrderFulfillment"}


async def test_a_queue_that_is_not_named_as_in_a_stack_has_unknown_workers(world: World) -> None:
    world.environ = {"ORDER_FULFILLMENT_QUEUE": "orders"}
    status = await read(world)
    assert [worker.state for worker in status.workers] == [WorkerState.UNKNOWN] * 2
    assert reasons(status)["the workers"].startswith("the fulfillment queue is not named as in a stack")
    assert world.clients["logs"].requests == []


async def test_queues_of_another_account_have_no_metrics(world: World) -> None:
    world.environ = {"ORDER_FULFILLMENT_QUEUE": "arn:aws:sqs:us-east-1:111122223333:OrderFulfillmentQueue"}
    status = await read(world)
    assert (status.queues[0].oldest_s, status.queues[0].drained_per_second) == (None, None)
    assert reasons(status)["ages of messages"].startswith("CloudWatch has metrics only of queues in the account")


async def test_an_outage_lasts_since_the_first_line_about_it(world: World) -> None:
    world.lines[f"{GROUP}fulfillment"] = [
        line("poll.failed", 4, reason="ReceiveMessage: Throttled", failures=1),
        line("poll.failed", 3, reason="ReceiveMessage: Down", failures=9),
    ]
    worker = (await read(world)).workers[0]
    assert (worker.held_since_at, worker.held_reason) == (ago(minutes=4), "ReceiveMessage: Down")


async def test_a_channel_that_fails_on_ecs_holds_no_messages(world: World) -> None:
    world.lines[f"{GROUP}escalation"] = [line("channel.failed", 1, channel="pager", reason="HTTP 500", failures=1)]
    status = await read(world)
    assert (status.workers[1].held, status.services[1].state) == (False, ServiceState.DOWN)


async def test_services_that_run_workers_of_your_own_are_shown_with_what_ecs_knows(world: World) -> None:
    world.services |= {f"web-{number}": (1, 1, 0) for number in range(12)} | {"returns": (1, 2, 0)}
    world.commands = {"returns": ["run", "returns:handle", "--queue", "arn:aws:sqs:r:0:Returns"], "web-1": ["run"]}
    status = await read(world)
    own = status.workers[-1]
    assert [worker.worker for worker in status.workers] == ["fulfillment", "escalation", "returns"]
    assert (own.state, own.running, own.desired, own.release) == (WorkerState.RUNNING, 1, 2, "r7")
    assert (own.held, own.failures, own.messages_per_second, own.last_poll_at) == (None, None, None, None)
    assert reasons(status)["all but the tasks of the returns worker"] == "WORKER_HEALTH_URLS does not name it"


async def test_services_that_cannot_be_listed_hide_nothing_else(world: World) -> None:
    world.services["returns"] = (1, 1, 0)
    world.more_services = True
    status = await read(world)
    assert [worker.state for worker in status.workers] == [WorkerState.RUNNING] * 2
    assert reasons(status)["workers of your own"] == "the cluster order-fulfillment has more than 100 services"
