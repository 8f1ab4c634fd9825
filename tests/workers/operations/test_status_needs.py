"""From when on something needs a person."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW
from tests.workers.operations.status_world import ago
from workers.operations.status import OrderCount, QueueStatus, ServiceState, ServiceStatus, WorkerState, WorkerStatus
from workers.operations.status_needs import needs


def texts(
    *,
    workers: Sequence[WorkerStatus] = (),
    services: Sequence[ServiceStatus] = (),
    oldest_s: int | None = None,
    orders: Sequence[OrderCount] = (),
) -> list[str]:
    queues = [QueueStatus(queue="OrderFulfillmentQueue", oldest_s=oldest_s), QueueStatus(queue="EscalationQueue")]
    found = needs(
        NOW,
        prefix=None,
        workers=workers,
        services=services,
        queues=queues,
        orders=orders,
        severities=(),
        open_cases=0,
    )
    return [need.text for need in found]


@pytest.mark.parametrize(("oldest_s", "needed"), [(None, False), (0, False), (899, False), (900, True)])
def test_a_message_is_too_old_after_fifteen_minutes(oldest_s: int | None, *, needed: bool) -> None:
    assert texts(oldest_s=oldest_s) == ["the oldest message of OrderFulfillmentQueue is 15m old"] * needed


@pytest.mark.parametrize(("seconds", "needed"), [(299, False), (300, True)])
def test_an_outage_is_prolonged_after_five_minutes(seconds: int, *, needed: bool) -> None:
    held = WorkerStatus(
        worker="fulfillment",
        state=WorkerState.RUNNING,
        held=True,
        held_by="poll",
        held_since_at=ago(seconds=seconds),
    )
    assert texts(workers=[held]) == ["the fulfillment worker is held by an outage for 5m (poll)"] * needed
    down = ServiceStatus(
        service="provider", state=ServiceState.DOWN, down_since_at=ago(seconds=seconds), last_error="HTTP 503"
    )
    assert texts(services=[down]) == ["the provider is down for 5m: HTTP 503"] * needed


def test_each_service_is_a_need_of_its_own_unless_its_worker_is_held_by_it() -> None:
    since: dict[str, Any] = {"state": ServiceState.DOWN, "down_since_at": ago(minutes=6)}
    services = [
        ServiceStatus(service="provider", last_error="HTTP 503", **since),
        ServiceStatus(service="channel pager", last_error="HTTP 500", **since),
    ]
    held = WorkerStatus(
        worker="fulfillment", state=WorkerState.RUNNING, held=True, held_by="downstream", held_reason="HTTP 503"
    )
    assert texts(workers=[held], services=services) == ["the channel pager is down for 6m: HTTP 500"]


@pytest.mark.parametrize(("seconds", "needed"), [(899, False), (900, True)])
def test_an_order_waits_for_too_long_after_fifteen_minutes_whatever_comes_before_it(
    seconds: int, *, needed: bool
) -> None:
    counts = [
        OrderCount(status="ESCALATED", orders=2),
        OrderCount(status="RECEIVED", orders=1, oldest_at=ago(seconds=seconds)),
    ]
    assert texts(orders=counts) == ["the oldest RECEIVED order waits for 15m"] * needed


@pytest.mark.parametrize(("oldest_s", "stuck"), [(None, True), (0, True), (1, False)])
def test_an_order_is_not_stuck_while_messages_as_old_are_in_front_of_it(oldest_s: int | None, *, stuck: bool) -> None:
    count = OrderCount(status="RECEIVED", orders=1, oldest_at=ago(hours=6))
    end = ", and may be stuck" * stuck
    assert texts(oldest_s=oldest_s, orders=[count]) == [f"the oldest RECEIVED order waits for 6h{end}"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, []),
        (1, ["1 dead letter is in DLQ"]),
        (2, ["2 dead letters are in DLQ"]),
        (1000, ["1,000 dead letters are in DLQ"]),
    ],
)
def test_dead_letters_need_a_person_from_the_first(count: int, text: list[str]) -> None:
    queue = QueueStatus(queue="Q", dead_letter_queue="DLQ", dead_letters=count)
    nothing: dict[str, Any] = {"prefix": None, "workers": (), "services": (), "orders": (), "severities": ()}
    found = needs(NOW, queues=[queue, QueueStatus(queue="EscalationQueue")], open_cases=0, **nothing)
    assert [need.text for need in found] == text
