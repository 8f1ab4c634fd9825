"""What the status says if its sources answer, fail, hang, or disagree."""

import asyncio
import contextlib
import gc
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, refused
from tests.workers.operations.status_world import (
    EPOCH_S,
    ESCALATION,
    FULFILLMENT,
    World,
    ago,
    busy,
    metrics,
)
from workers import clock
from workers.aws.pauses import PAUSED_TAG
from workers.cli.status_view import screen
from workers.errors import FatalError
from workers.operations.status import Need, QueueStatus, ServiceState, Status, Unknown, WorkerState
from workers.operations.status_endpoints import Endpoint

FOREIGN = "its metrics are not those of a worker"


async def read(world: World) -> Status:
    return await world.reader(FULFILLMENT, ESCALATION).read()


def reasons(status: Status) -> dict[str, str]:
    return {what: unknown.reason for unknown in status.unknown for what in unknown.what}


def idle() -> World:
    world = World()
    world.workers_run()
    return world


async def test_a_system_without_work_needs_nobody_and_is_known() -> None:
    world = World()
    world.workers_run()
    status = await read(world)
    assert (status.needs, status.unknown, status.open_cases) == ([], [], 0)
    assert [(each.worker, each.state, each.running, each.held, each.release) for each in status.workers] == [
        ("fulfillment", "running", 1, False, "r1"),
        ("escalation", "running", 1, False, "r1"),
    ]
    assert [each.failures for each in status.workers] == [3, 3]
    assert [(service.service, service.state) for service in status.services] == [
        ("provider", "up"),
        ("channel pager", "up"),
        ("channel tickets", "not called"),
    ]
    assert [(queue.queue, queue.messages, queue.empty_in_s) for queue in status.queues] == [
        ("OrderFulfillmentQueue", 0, 0),
        ("EscalationQueue", 0, 0),
    ]
    assert [(count.status, count.orders) for count in status.orders] == [
        ("RECEIVED", 0),
        ("ESCALATED", 0),
        ("FULFILLED", 0),
        ("CANCELLED", 0),
    ]


async def test_what_needs_a_person_comes_with_the_command_to_run_next() -> None:
    status = await read(busy())
    assert [(need.text, need.command) for need in status.needs] == [
        (
            "the fulfillment worker is held by an outage for 6m (downstream: the provider is down or busy (HTTP 503))",
            "orders status --watch",
        ),
        ("2 critical cases are open, the oldest for 3h", "orders escalations list --severity critical"),
        ("1 warning case is open, for 5h", "orders escalations list --severity warning"),
        ("8 dead letters are in OrderFulfillmentDLQ", "orders dead-letters list fulfillment"),
        ("the oldest RECEIVED order waits for 40m", "orders list --status RECEIVED --older-than 15m"),
    ]


@pytest.mark.parametrize(("hours", "is_stuck"), [(5.9, False), (6.1, True)])
async def test_an_order_that_waits_for_longer_than_the_sweeps_limit_may_be_stuck(hours: float, is_stuck: bool) -> None:
    world = busy()
    world.orders = {"RECEIVED#7": [ago(hours=hours)]}
    need = (await read(world)).needs[-1]
    if is_stuck:
        assert need == Need(
            text="the oldest RECEIVED order waits for 6h, and may be stuck", command="orders list --stuck"
        )
    else:
        assert need.command == "orders list --status RECEIVED --older-than 15m"


async def test_a_held_worker_says_since_when_and_why() -> None:
    fulfillment, escalation = (await read(busy())).workers
    assert fulfillment.held
    assert fulfillment.held_since_at is not None
    assert fulfillment.held_since_at[:19] == ago(seconds=359)[:19]  # A second passes between the two samples.
    assert (fulfillment.held_by, fulfillment.held_reason) == ("downstream", "the provider is down or busy (HTTP 503)")
    assert (escalation.held, escalation.held_since_at) == (False, None)


async def test_a_provider_that_is_down_says_since_when_and_its_last_error() -> None:
    provider = (await read(busy())).services[0]
    assert (provider.service, provider.state) == ("provider", ServiceState.DOWN)
    assert (provider.down_since_at, provider.last_success_at) == (ago(seconds=360), ago(seconds=400))
    assert (provider.last_error, provider.last_error_at) == ("the provider is down or busy (HTTP 503)", ago(seconds=4))


async def test_each_service_has_times_of_its_own() -> None:
    names = ("pager", "tickets")
    more = "".join(
        f'workers_service_up{{service="channel {name}"}} 1\n'
        f'workers_service_last_success_timestamp_seconds{{service="channel {name}"}} {EPOCH_S - seconds}\n'
        for seconds, name in enumerate(names, 1)
    )
    world = idle()
    world.answer(ESCALATION, metrics("escalation", more=more))
    channels = (await read(world)).services[1:]
    assert [(each.service, each.last_success_at) for each in channels] == [
        ("channel pager", ago(seconds=1)),
        ("channel tickets", ago(seconds=2)),
    ]


async def test_a_missing_age_is_said_of_a_queue_with_messages_only() -> None:
    world = idle()
    world.depths = {"OrderFulfillmentQueue": (0, 1, 0)}
    ages = {what: why for what, why in reasons(await read(world)).items() if what.startswith("the oldest message")}
    assert ages == {"the oldest message of OrderFulfillmentQueue": "CloudWatch has no age of it, as on a local AWS"}
    world.hanging = {"get_metric_data"}
    assert "the oldest message of OrderFulfillmentQueue" not in reasons(await read(world))


async def test_orders_and_cases_are_counted_by_status_and_reason() -> None:
    status = await read(busy())
    assert [(each.status, each.orders, each.today, each.oldest_at) for each in status.orders] == [
        ("RECEIVED", 3, False, ago(minutes=40)),
        ("ESCALATED", 1, False, None),
        ("FULFILLED", 241, True, None),
        ("CANCELLED", 0, True, None),
    ]
    assert [(each.severity, each.reason, each.cases) for each in status.cases] == [
        ("critical", "FULFILLMENT_EXHAUSTED", 1),
        ("critical", "ORDER_NOT_FOUND", 1),
        ("warning", "INVALID_PRICE", 1),
        ("warning", "INVALID_CARD_NUMBER", 1),
    ]
    assert status.open_cases == 3


async def test_a_key_with_more_than_a_page_counts_as_at_least_so_many() -> None:
    world = World()
    world.workers_run()
    query = world.clients["dynamodb"].operations["query"]

    async def first_page(**asked: object) -> object:
        page = await query(**asked)
        return page | {"LastEvaluatedKey": {}} if page.get("Count") else page

    world.clients["dynamodb"].operations["query"] = first_page
    world.orders = {"RECEIVED#0": [ago(minutes=1)]}
    assert [(each.orders, each.at_least) for each in (await read(world)).orders[:2]] == [(1, True), (0, False)]


async def test_the_index_is_only_queried_and_each_key_read_once() -> None:
    world = busy()
    await read(world)
    requests = world.clients["dynamodb"].requests
    assert {operation for operation, _ in requests} == {"query"}
    assert len(requests) == 5 * 16 + 16  # And the oldest RECEIVED order of each key.


async def test_the_speed_of_a_worker_comes_from_two_samples() -> None:
    world = World()
    world.workers_run(settled=100)

    async def settle(seconds: float) -> None:
        world.now += timedelta(seconds=seconds)
        world.answer(FULFILLMENT, metrics("fulfillment", settled=112))

    world.sleep = settle
    reader = world.reader(FULFILLMENT, ESCALATION)
    assert [worker.messages_per_second for worker in (await reader.read()).workers] == [9, 0]  # 3 failed before.
    world.now += timedelta(seconds=3)
    world.answer(FULFILLMENT, metrics("fulfillment", settled=162))
    assert [worker.messages_per_second for worker in (await reader.read()).workers] == [16.667, 0]
    world.now += timedelta(seconds=10)
    world.answer(FULFILLMENT, metrics("fulfillment", settled=161))  # It was started again.
    assert [worker.messages_per_second for worker in (await reader.read()).workers] == [None, 0]


async def test_a_worker_that_was_not_asked_twice_or_did_not_run_before_has_no_speed() -> None:
    world = idle()
    world.pages[f"{ESCALATION.url}/metrics"] = TimeoutError()
    world.depths = {"EscalationQueue": (1, 0, 0)}
    reader = world.reader(FULFILLMENT, ESCALATION)
    reader.rates_at_once = False
    status = await reader.read()
    assert [worker.messages_per_second for worker in status.workers] == [None, None]
    assert reasons(status)["how fast EscalationQueue drains"] == "it was looked at only once"
    world.now += timedelta(seconds=10)
    world.workers_run()
    assert [worker.messages_per_second for worker in (await reader.read()).workers] == [0, None]


async def test_of_several_workers_that_use_a_service_the_one_that_says_it_is_down_counts() -> None:
    second = Endpoint("fulfillment-2", "http://127.0.0.1:8083")
    for down in (FULFILLMENT, second):
        world = idle()
        world.answer(second, metrics("fulfillment", more='workers_service_up{service="provider"} 1\n'))
        world.answer(down, metrics("fulfillment", more='workers_service_up{service="provider"} 0\n'))
        status = await world.reader(FULFILLMENT, second, ESCALATION).read()
        assert (status.services[0].service, status.services[0].state) == ("provider", ServiceState.DOWN)


async def test_a_worker_is_held_from_the_first_moment_of_an_outage_and_counts_what_it_gave_up() -> None:
    world = idle()
    more = 'workers_outage_seconds{stage="start"} 0.5\n' + "".join(
        f'workers_messages_settled_total{{ending="message.{ending}",outcome="permanent"}} 2\n'
        for ending in ("dead_lettered", "abandoned")
    )
    world.answer(FULFILLMENT, metrics("fulfillment", failed=3, more=more))
    worker = (await read(world)).workers[0]
    assert (worker.held, worker.held_by, worker.failures) == (True, "start", 7)


async def test_the_drain_rate_is_unknown_at_the_first_look_and_measured_after_it() -> None:
    world = World()
    world.workers_run()
    world.depths = {"OrderFulfillmentQueue": (1000, 100, 0)}
    reader = world.reader(FULFILLMENT, ESCALATION)
    first = await reader.read()
    assert (first.queues[0].drained_per_second, first.queues[0].empty_in_s) == (None, None)
    assert reasons(first)["how fast OrderFulfillmentQueue drains"] == "it was looked at only once: use --watch"
    world.now += timedelta(seconds=10)
    world.depths = {"OrderFulfillmentQueue": (700, 60, 40)}
    second = (await reader.read()).queues[0]
    assert (second.drained_per_second, second.empty_in_s) == (30, 27)
    world.now += timedelta(seconds=20)
    world.depths = {"OrderFulfillmentQueue": (1000, 100, 0)}
    third = (await reader.read()).queues[0]
    assert (third.drained_per_second, third.empty_in_s) == (0, None)
    world.depths = {"OrderFulfillmentQueue": (1100, 100, 0)}
    fourth = (await reader.read()).queues[0]
    assert (fourth.drained_per_second, fourth.empty_in_s) == (-3.333, None)


@pytest.mark.parametrize(
    ("problem", "state", "reason"),
    [
        (TimeoutError(), WorkerState.UNKNOWN, "http://127.0.0.1:8081 did not answer within 2 s"),
        (ConnectionRefusedError(), WorkerState.NOT_RUNNING, None),
        (
            OSError(113, "No route to host"),
            WorkerState.UNKNOWN,
            "http://127.0.0.1:8081 cannot be read: No route to host",
        ),
        ((404, "no"), WorkerState.UNKNOWN, "http://127.0.0.1:8081 is not a worker: /metrics answers with 404"),
        ((200, "<html>"), WorkerState.UNKNOWN, "http://127.0.0.1:8081 is not a worker: its metrics cannot be read"),
        (
            OSError(),
            WorkerState.UNKNOWN,
            "http://127.0.0.1:8081 cannot be read: OS error",
        ),
        *(
            ((200, text), WorkerState.UNKNOWN, f"http://127.0.0.1:8081 is not a worker: {FOREIGN}")
            for text in (
                "",
                "up 1",
                "workers_outage_seconds 1",
                "workers_messages_received_total 1\nworkers_outage_seconds 5",
                "workers_messages_received_total 1\nworkers_messages_settled_total 5",
                "workers_messages_received_total 1\nworkers_service_up 1",
            )
        ),
        ((200, metrics("escalation")), WorkerState.UNKNOWN, "http://127.0.0.1:8081 is the escalation worker"),
    ],
)
async def test_a_worker_that_says_nothing_is_not_shown_as_fine(
    problem: object, state: WorkerState, reason: str | None
) -> None:
    world = World()
    world.workers_run()
    world.pages[f"{FULFILLMENT.url}/metrics"] = problem
    status = await read(world)
    worker, provider = status.workers[0], status.services[0]
    assert (worker.state, worker.messages_per_second) == (state, None)
    assert worker.running == (0 if state is WorkerState.NOT_RUNNING else None)
    assert (worker.failures, worker.held, worker.last_poll_at) == (None, None, None)
    assert (provider.service, provider.state) == ("channel pager", ServiceState.UP)
    assert ("provider", ServiceState.UNKNOWN) in [(each.service, each.state) for each in status.services]
    assert reasons(status).get("the fulfillment worker") == reason
    assert len(status.unknown) == (1 if state is WorkerState.NOT_RUNNING else 2), "of the provider, and the worker"
    not_running = Need(
        text="the fulfillment worker is not running: nothing listens at http://127.0.0.1:8081",
        command="python -m workers fulfillment",
    )
    silent = Need(text=f"the fulfillment worker does not say how it is: {reason}", command="orders status --watch")
    assert list(status.needs) == [not_running if state is WorkerState.NOT_RUNNING else silent]


async def test_a_worker_that_does_not_answer_is_asked_once() -> None:
    world = World()
    world.workers_run()
    world.pages[f"{FULFILLMENT.url}/metrics"] = TimeoutError()
    asked: list[str] = []
    reader = world.reader(FULFILLMENT, ESCALATION)
    fetch = reader.fetch

    async def counted(url: str) -> tuple[int, str]:
        asked.append(url)
        return await fetch(url)

    reader.fetch = counted
    await reader.read()
    assert (asked.count(f"{FULFILLMENT.url}/metrics"), asked.count(f"{ESCALATION.url}/metrics")) == (1, 2)
    await reader.read()
    assert (asked.count(f"{FULFILLMENT.url}/metrics"), asked.count(f"{ESCALATION.url}/metrics")) == (2, 3)


@pytest.mark.parametrize("number", ["NaN", "+Inf", "-Inf", "1e300"])
async def test_impossible_numbers_of_a_worker_are_unknown_and_hide_nothing_else(number: str) -> None:
    world = World()
    world.workers_run()
    text = re.sub(
        r"^(\S+(?:timestamp_seconds|outage_seconds\S*)) .*", rf"\1 {number}", metrics("fulfillment"), flags=re.MULTILINE
    )
    world.answer(FULFILLMENT, text)
    status = await read(world)
    assert (status.workers[0].last_poll_at, status.workers[0].failures_since_at) == (None, None)
    assert status.workers[1].state is WorkerState.RUNNING


async def test_a_page_of_another_program_does_not_fill_the_screen() -> None:
    world = World()
    world.workers_run()
    world.pages[f"{ESCALATION.url}/healthz"] = (404, "<p>not found</p>" * 1000)
    assert len((await read(world)).workers[1].problem or "") == 300


@pytest.mark.parametrize(
    ("path", "text", "state"),
    [
        ("readyz", "waiting for AWS", WorkerState.STARTING),
        ("readyz", "stopping", WorkerState.STOPPING),
        ("readyz", "polls fail", WorkerState.RUNNING),
        ("healthz", "no poll has finished for too long", WorkerState.UNHEALTHY),
    ],
)
async def test_the_state_of_a_worker_comes_from_its_checks(path: str, text: str, state: WorkerState) -> None:
    world = World()
    world.workers_run()
    world.pages[f"{ESCALATION.url}/{path}"] = (503, f"{text}\n")
    status = await read(world)
    assert (status.workers[1].state, status.workers[1].problem) == (state, text)
    unhealthy = [need.text for need in status.needs]
    assert unhealthy == ([f"the escalation worker is unhealthy: {text}"] if state is WorkerState.UNHEALTHY else [])


async def test_a_worker_without_an_address_is_unknown() -> None:
    world = World()
    world.workers_run()
    status = await world.reader(FULFILLMENT, replace(FULFILLMENT, worker="fulfillment-2")).read()
    assert [(worker.worker, worker.state) for worker in status.workers] == [
        ("fulfillment", "running"),
        ("fulfillment-2", "running"),
        ("escalation", "unknown"),
    ]
    assert reasons(status)["the escalation worker"] == "WORKER_HEALTH_URLS does not name it"


async def test_workers_of_your_own_are_shown_by_what_they_call_themselves() -> None:
    world = World()
    world.workers_run()
    own = [Endpoint(name, f"http://127.0.0.1:{port}") for name, port in (("Returns-EU-2", 1), ("Returns", 2))]
    for endpoint, worker in zip(own, ("Returns-EU", "Refunds"), strict=True):
        world.answer(endpoint, metrics(worker, release="r9"))
    status = await world.reader(FULFILLMENT, ESCALATION, *own, Endpoint("Gone", "http://127.0.0.1:3")).read()
    assert [(worker.worker, worker.state, worker.release) for worker in status.workers[2:]] == [
        ("Returns-EU-2", "running", "r9"),
        ("Returns", "unknown", None),
        ("Gone", "not running", None),
    ]
    assert reasons(status) == {"the Returns worker": "http://127.0.0.1:2 is the Refunds worker"}
    text = "the Gone worker is not running: nothing listens at http://127.0.0.1:3"
    assert Need(text=text, command="python -m workers run HANDLER --queue QUEUE") in status.needs


async def test_a_worker_of_your_own_does_not_stand_for_one_of_ours() -> None:
    world = World()
    own = Endpoint("fulfillment-returns", "http://127.0.0.1:1")
    world.answer(own, metrics("fulfillment-returns"))
    status = await world.reader(own).read()
    assert [worker.worker for worker in status.workers] == ["fulfillment-returns", "fulfillment", "escalation"]
    assert reasons(status)["provider"] == "the fulfillment worker does not say"


async def test_sources_that_hang_are_unknown_after_some_seconds_and_hide_nothing_else() -> None:
    world = busy()
    world.hanging = {"get_metric_data", "query"}
    began_s = asyncio.get_running_loop().time()
    status = await read(world)
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(4, abs=0.1)
    assert [(count.orders, count.at_least, count.today) for count in status.orders] == [
        *[(None, False, False)] * 2,
        *[(None, False, True)] * 2,
    ]
    assert (status.queues[0].depth, status.queues[0].oldest_s) == (1200, None)
    hidden = ("CloudWatch's metrics", "the number of open cases", "the orders")
    assert Unknown(what=hidden, reason="no answer within 4 s") in status.unknown
    assert (status.open_cases, status.workers[0].held) == (3, True)


@pytest.mark.parametrize(("queues_s", "all_s"), [(2, 4), (3.5, 4.5)])
async def test_metrics_have_the_time_that_is_left_and_a_second_at_least(queues_s: float, all_s: float) -> None:
    world, loop = idle(), asyncio.get_running_loop()
    world.hanging = {"get_metric_data"}
    counted = world.clients["sqs"].operations["get_queue_attributes"]

    async def slow(**asked: Any) -> Any:
        if asked["QueueUrl"] == "EscalationQueue":
            await asyncio.sleep(queues_s)
        return await counted(**asked)

    world.clients["sqs"].operations["get_queue_attributes"] = slow
    await asyncio.sleep(1)
    began_s = loop.time()
    status = await read(world)
    assert loop.time() - began_s == pytest.approx(all_s, abs=0.1)
    assert reasons(status) == {"CloudWatch's metrics": "no answer within 4 s"}


async def test_whether_a_queue_is_paused_may_take_half_of_the_time() -> None:
    world, loop = idle(), asyncio.get_running_loop()
    world.hanging = {"list_queue_tags"}
    began_s = loop.time()
    status = await read(world)
    assert loop.time() - began_s == pytest.approx(2, abs=0.1)
    assert [queue.depth for queue in status.queues] == [0, 0]


@pytest.mark.parametrize("unknown", ["depth", "in_flight", "delayed"])
def test_all_messages_of_a_queue_are_known_or_none(unknown: str) -> None:
    queue = QueueStatus(queue="Q", depth=1, in_flight=2, delayed=3)
    nothing: dict[str, Any] = {unknown: None}
    assert (queue.messages, replace(queue, **nothing).messages) == (6, None)


async def test_a_reason_is_said_once_for_all_that_it_hides() -> None:
    world = busy()
    world.cases = FatalError("AWS cannot be reached")

    def fail(**_: object) -> object:
        raise FatalError("AWS cannot be reached")

    for service in ("sqs", "dynamodb", "cloudwatch"):
        world.clients[service].operations = dict.fromkeys(world.clients[service].operations, fail)
    status = await read(world)
    assert [unknown.reason for unknown in status.unknown].count("AWS cannot be reached") == 1
    assert set(reasons(status)) == {
        "the orders",
        "the open cases by reason",
        "the number of open cases",
        "queue OrderFulfillmentQueue",
        "queue EscalationQueue",
        "CloudWatch's metrics",
    }
    assert [queue.depth for queue in status.queues] == [None, None]
    assert (status.open_cases, status.cases) == (None, [])


async def test_a_missing_queue_does_not_hide_the_other_one() -> None:
    world = busy()

    def url(QueueName: str) -> object:  # noqa: N803 - the SDK's name.
        if QueueName == "EscalationQueue":
            raise refused("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl")
        return {"QueueUrl": QueueName}

    world.clients["sqs"].operations["get_queue_url"] = url
    status = await read(world)
    assert [queue.depth for queue in status.queues] == [1200, None]
    assert reasons(status)["queue EscalationQueue"].startswith("there is no queue EscalationQueue")


async def test_an_error_of_this_program_is_not_taken_for_an_unknown() -> None:
    world = busy()
    world.cases = KeyError("bug")
    with pytest.raises(KeyError, match="bug"):
        await read(world)


async def test_cases_that_cannot_be_read_are_said() -> None:
    world = busy()
    reader = world.reader(FULFILLMENT, ESCALATION)
    found = await reader.read_cases(reader.stack, None)  # type: ignore[arg-type]

    async def read_cases(*_: object) -> object:
        return replace(found, unreadable=["9"])

    reader.read_cases = read_cases  # type: ignore[assignment]
    assert reasons(await reader.read())["1 of the cases"] == "they were edited in the table and cannot be read"


async def test_a_young_order_and_a_short_outage_need_nobody() -> None:
    world = World()
    world.workers_run()
    world.orders = {"RECEIVED#0": [ago(minutes=14)]}
    text = metrics("escalation", more='workers_outage_seconds{stage="downstream"} 200\n')
    world.answer(ESCALATION, text)
    status = await read(world)
    assert (status.workers[1].held, status.needs) == (True, [])


async def test_a_channel_that_fails_holds_no_messages() -> None:
    world = World()
    world.workers_run()
    world.answer(ESCALATION, metrics("escalation", more='workers_outage_seconds{stage="channel"} 900\n'))
    assert (await read(world)).workers[1].held is False


async def test_cases_that_are_too_many_to_read_in_time_are_counted() -> None:
    world = busy()
    world.cases = TimeoutError()
    world.orders |= {"OPEN#0": [ago(hours=1)] * 9000, "OPEN#f": [ago(hours=2)]}
    status = await read(world)
    assert (status.open_cases, status.severities, status.cases) == (9001, [], [])
    assert Need(text="9,001 cases are open", command="orders escalations list") in status.needs
    assert reasons(status)["the open cases by reason"] == "no answer within 4 s"


async def test_a_worker_of_an_earlier_version_is_shown_without_what_it_does_not_report() -> None:
    world = World()
    world.workers_run()
    world.answer(ESCALATION, 'workers_messages_received_total 1\nworkers_outage_seconds{stage="poll"} 0\n')
    status = await read(world)
    worker = status.workers[1]
    assert (worker.state, worker.held, worker.failures, worker.last_poll_at) == ("running", False, 0, None)
    assert reasons(status)["last poll and release of the escalation worker"] == "its version does not report them"
    assert reasons(status)["channels"] == "the escalation worker does not say"


async def test_a_worker_that_does_not_report_outages_may_be_held() -> None:
    world = idle()
    world.answer(ESCALATION, "workers_messages_received_total 1\n")
    status = await read(world)
    assert (status.workers[1].state, status.workers[1].held) == ("running", None)
    assert reasons(status)["outages of the escalation worker"] == "its version does not report them"


async def test_the_drain_rate_counts_from_a_look_two_minutes_ago() -> None:
    world = idle()
    reader = world.reader(FULFILLMENT, ESCALATION)
    reader.rates_at_once = False
    for depth in (1300, 100):
        world.depths = {"OrderFulfillmentQueue": (depth, 0, 0)}
        queue = (await reader.read()).queues[0]
        world.now += timedelta(minutes=2)
    assert queue.drained_per_second == 10


async def test_the_drain_rate_is_that_of_the_last_two_minutes() -> None:
    world = World()
    world.workers_run()
    world.depths = {"OrderFulfillmentQueue": (100_000, 0, 0)}
    reader = world.reader(FULFILLMENT, ESCALATION)
    await reader.read()
    for depth in (1000, 900):  # Someone has purged most of it meanwhile.
        world.now += timedelta(seconds=100)
        world.depths = {"OrderFulfillmentQueue": (depth, 0, 0)}
        queue = (await reader.read()).queues[0]
    assert (queue.drained_per_second, queue.empty_in_s) == (1, 900)


@pytest.mark.parametrize(("minutes", "needed"), [(14, False), (15, True)])
async def test_a_paused_queue_says_since_when_and_by_whom_and_needs_somebody_after_a_while(
    minutes: int, *, needed: bool
) -> None:
    world, since = idle(), ago(minutes=minutes)
    world.tags["OrderFulfillmentQueue"] = {PAUSED_TAG: f"{since}/ada/new prices"}
    status = await read(world)
    fulfillment, escalation = status.queues
    assert (fulfillment.paused, fulfillment.paused_since_at) == (True, since)
    assert (fulfillment.paused_by, fulfillment.paused_note) == ("ada", "new prices")
    assert (escalation.paused, escalation.paused_by) == (False, None)
    assert [(need.text, need.command) for need in status.needs] == [
        ("OrderFulfillmentQueue is paused for 15m by ada: new prices", "orders workers resume fulfillment")
    ] * needed
    lines = ["".join(text for text, _ in line) for line in screen(status, 200)]
    (shown,) = (line for line in lines if line.startswith("OrderFulfillmentQueue"))
    assert shown.rstrip().endswith(f"since {clock.shown(since)} by ada: new prices")


async def test_old_messages_of_a_paused_queue_are_no_need_of_their_own() -> None:
    world = idle()
    world.metrics["ApproximateAgeOfOldestMessage", "OrderFulfillmentQueue"] = [(NOW, 3600.0)]
    assert [need.text for need in (await read(world)).needs] == [
        "the oldest message of OrderFulfillmentQueue is 60m old"
    ]
    world.tags["OrderFulfillmentQueue"] = {PAUSED_TAG: "by hand"}
    assert [need.text for need in (await read(world)).needs] == [
        "OrderFulfillmentQueue is paused by an unknown person: by hand"
    ]


async def test_tags_that_cannot_be_read_hide_nothing_else() -> None:
    world = idle()

    def denied(**_: Any) -> Any:
        raise refused("AccessDenied", "ListQueueTags", 403)

    world.clients["sqs"].operations["list_queue_tags"] = denied
    status = await read(world)
    assert [(queue.paused, queue.depth) for queue in status.queues] == [(None, 0), (None, 0)]
    (unknown,) = status.unknown
    assert unknown.what == ("whether EscalationQueue is paused", "whether OrderFulfillmentQueue is paused")
    assert unknown.reason == "these credentials do not allow ListQueueTags (AccessDenied)"


async def test_a_reading_may_be_cancelled_at_any_moment() -> None:
    for turns in range(30):
        reading = asyncio.create_task(busy().reader().read())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    gc.collect()  # A coroutine that was never awaited is an error.
