"""What disturbs the system, since when, and what waits because of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.workers.operations.status_world import ago
from workers.operations.disturbances import Disturbance, Kind, disturbances
from workers.operations.status import (
    CaseCount,
    QueueStatus,
    ServiceState,
    ServiceStatus,
    Status,
    WorkerState,
    WorkerStatus,
)
from workers.operations.sweep import Sweep

SINCE = ago(minutes=6)
WHY = "HTTP 503"
QUEUES = (
    QueueStatus(queue="OrderFulfillmentQueue", depth=1200, in_flight=3, delayed=1),
    QueueStatus(queue="EscalationQueue", depth=1, in_flight=0, delayed=0),
)
RUNNING = (
    WorkerStatus(worker="fulfillment", state=WorkerState.RUNNING, held=False),
    WorkerStatus(worker="escalation", state=WorkerState.RUNNING, held=False),
)
SWEEP = Sweep(execution_arn="arn:x", status="SUCCEEDED", started_at=SINCE, ended_at=SINCE, escalated=[])


def found(sweep: Sweep | None = None, **parts: Any) -> Sequence[Disturbance]:
    return disturbances(Status(at=ago(), **{"workers": RUNNING, "queues": QUEUES} | parts), sweep)


def test_a_system_that_works_is_not_disturbed() -> None:
    services = [
        ServiceStatus(service="provider", state=ServiceState.UP),
        ServiceStatus(service="channel pager", state=ServiceState.NOT_CALLED),
        ServiceStatus(service="channel tickets", state=ServiceState.UNKNOWN),
    ]
    assert found(services=services, sweep=SWEEP) == []


def test_a_provider_that_is_down_holds_the_orders() -> None:
    down = ServiceStatus(service="provider", state=ServiceState.DOWN, down_since_at=SINCE, last_error=WHY)
    held = replace(RUNNING[0], held=True, held_by="downstream", held_since_at=SINCE, held_reason=WHY)
    others = [ServiceStatus(service="channel pager", state=ServiceState.UP), down]
    assert found(services=others, workers=[held, RUNNING[1]]) == [  # The worker's outage is the same.
        Disturbance(
            kind=Kind.SERVICE,
            text="The provider is down",
            since_at=SINCE,
            reason=WHY,
            held="1,204 messages wait in OrderFulfillmentQueue",
        )
    ]


def test_a_channel_that_is_down_holds_its_notifications() -> None:
    down = ServiceStatus(service="channel pager", state=ServiceState.DOWN, down_since_at=SINCE)
    (one,) = found(services=[down])
    assert (one.text, one.held) == ("The channel pager is down", "notifications through channel pager wait")


@pytest.mark.parametrize("state", [WorkerState.NOT_RUNNING, WorkerState.UNHEALTHY])
def test_a_worker_that_does_not_work_holds_its_queue(state: WorkerState) -> None:
    worker = WorkerStatus(worker="escalation-2", state=state, problem="nothing listens")
    assert found(workers=[RUNNING[0], worker]) == [
        Disturbance(
            kind=Kind.WORKER,
            text=f"The escalation-2 worker is {state}",
            reason="nothing listens",
            held="1 message waits in EscalationQueue",
        )
    ]


@pytest.mark.parametrize(
    "state", [each for each in WorkerState if each not in (WorkerState.NOT_RUNNING, WorkerState.UNHEALTHY)]
)
def test_a_worker_that_starts_or_is_unknown_does_not_disturb(state: WorkerState) -> None:
    assert found(workers=[WorkerStatus(worker="Returns", state=state)]) == []


def test_a_worker_that_is_held_says_by_what() -> None:
    held = replace(RUNNING[1], held=True, held_by="poll", held_since_at=SINCE, held_reason="no route to host")
    (one,) = found(workers=[held])
    assert (one.text, one.since_at, one.reason) == (
        "The escalation worker is held by an outage (poll)",
        SINCE,
        "no route to host",
    )


def test_an_own_worker_has_no_queue_that_is_known() -> None:
    (one,) = found(workers=[WorkerStatus(worker="Returns", state=WorkerState.NOT_RUNNING)])
    assert one.held is None


def test_a_paused_queue_says_who_and_why() -> None:
    paused = replace(QUEUES[0], paused=True, paused_since_at=SINCE, paused_by="ada", paused_note="maintenance")
    assert found(queues=[paused, QUEUES[1]]) == [
        Disturbance(
            kind=Kind.PAUSE,
            text="OrderFulfillmentQueue is paused by ada",
            since_at=SINCE,
            reason="maintenance",
            held="1,204 messages wait in OrderFulfillmentQueue",
        )
    ]


@pytest.mark.parametrize("numbers", [{"depth": 0}, {"depth": None}])
def test_nothing_is_said_to_wait_in_a_queue_that_is_empty_or_unknown(numbers: dict[str, Any]) -> None:
    queue = QueueStatus(queue="EscalationQueue", in_flight=0, delayed=0, paused=True, **numbers)
    (one,) = found(queues=[queue])
    assert (one.text, one.held) == ("EscalationQueue is paused by an unknown person", None)


@pytest.mark.parametrize(
    ("cases", "text"),
    [(1, "1 order was stuck and has an open case"), (12, "12 orders were stuck and have an open case")],
)
def test_stuck_orders_are_told_while_their_cases_are_open(cases: int, text: str) -> None:
    counts = [
        CaseCount(severity="warning", reason="ORDER_STUCK", cases=cases, oldest_at=SINCE),
        CaseCount(severity="warning", reason="INVALID_PRICE", cases=5, oldest_at=ago(hours=9)),
    ]
    (one,) = found(cases=counts, sweep=SWEEP)
    assert (one.kind, one.text, one.since_at, one.reason) == (Kind.SWEEP, text, SINCE, "ORDER_STUCK")


def test_a_sweep_that_failed_or_may_not_escalate_is_told() -> None:
    failed = replace(SWEEP, status="FAILED", error="States.Timeout")
    (one,) = found(sweep=failed)
    assert (one.text, one.reason) == ("The last sweep of stuck orders has ended as FAILED", "States.Timeout")
    (one,) = found(sweep=replace(SWEEP, deferred="PENDING"))
    assert one.text == "The sweep of stuck orders does not escalate yet"


@pytest.mark.parametrize("deferred", ["OUTAGE", "AGE_UNKNOWN", "NEW_REASON"])
def test_a_sweep_that_waits_for_something_else_is_not_told(deferred: str) -> None:
    assert found(sweep=replace(SWEEP, deferred=deferred)) == []


def test_a_sweep_that_runs_is_not_told() -> None:
    assert found(sweep=replace(SWEEP, status="RUNNING", ended_at=None)) == []
