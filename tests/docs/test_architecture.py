"""docs/architecture.md: the figures follow from the formulas, the transitions from the code; the handler works."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.docs.pages import blocks, page, rows, section
from tests.workers.consumer.fakes import FakeQueue, limits, message, running
from tests.workers.fakes import ANOTHER, EXECUTION, NOW, order
from workers.domain.escalations import Assessment, Escalation, EscalationOutcome, plan_escalation
from workers.domain.orders import FulfillmentDecision, Order, OrderStatus, decide_fulfillment
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import OutageError

PAGE = page("docs/architecture.md")
PRICES = page("deploy/README.md")
DECISION = section(PAGE, "Workers, not a Lambda on the queue")
TABLES = list(rows(DECISION))
COSTS = {cells[0].strip("*"): [float(each.strip("*")) for each in cells[1:]] for cells in TABLES if len(cells) == 4}
LOADS = (0.1, 10.0, 1000.0)
HOURS, MILLION_SECONDS = 730, 2.628
TASK_HOUR, SQS, INVOCATION, GB_SECOND = 0.009875, 0.40, 0.20, 13.3334  # Dollars; the last three for a million.
# Per second and order: 10 ms of a task, or of 0.5 GB of a function.
ORDERS_PER_TASK, GB_SECONDS = 100, 0.5 * 0.01
WORKER_POLLS, LAMBDA_POLLS = 4 / 60, 15 / 60  # A second, of an idle queue; a worker's look at the tags included.


async def test_the_handler_on_the_page_does_what_its_comments_say() -> None:
    (example,) = blocks(PAGE, "python")
    namespace: dict[str, Any] = {}
    exec(compile(example, "docs/architecture.md", "exec"), namespace)
    handler = namespace["Greeter"]()
    queue = FakeQueue([message("m0"), message("m1", body="too early"), message("m2", receive_count=11)])
    async with running(queue, handler, limits(max_deliveries=10)) as run:
        await run.until_settled(3)
    assert sorted(run.endings()) == [
        ("m0", "message.acknowledged", "greeted"),
        ("m1", "message.released", "transient"),
        ("m2", "message.acknowledged", "given_up"),
    ]
    with pytest.raises(OutageError):
        await handler.handle(message("m3", body="closed"))


def batch(load: float) -> int:
    return 10 if load == LOADS[-1] else 1


COMPUTED = {
    "worker: Fargate": [
        max(1, load / ORDERS_PER_TASK) * HOURS * TASK_HOUR / (load * MILLION_SECONDS) for load in LOADS
    ],
    "worker: SQS": [(2 / batch(load) + WORKER_POLLS / load) * SQS for load in LOADS],
    "Lambda: requests": [INVOCATION / batch(load) for load in LOADS],
    "Lambda: GB-seconds": [GB_SECONDS * GB_SECOND for _ in LOADS],
    "Lambda: SQS": [(2 / batch(load) + LAMBDA_POLLS / load) * SQS for load in LOADS],
}


@pytest.mark.parametrize("name", COMPUTED)
def test_a_cost_follows_from_its_formula(name: str) -> None:
    assert COSTS[name] == [round(each, 2) for each in COMPUTED[name]]


@pytest.mark.parametrize("consumer", ["worker", "Lambda"])
def test_costs_add_up(consumer: str) -> None:
    parts = [COMPUTED[name] for name in COMPUTED if name.startswith(consumer)]
    assert COSTS[f"{consumer}, together"] == [round(sum(each), 2) for each in zip(*parts, strict=True)]


def test_every_cost_is_computed() -> None:
    assert set(COSTS) == {*COMPUTED, "worker, together", "Lambda, together"}


@pytest.mark.parametrize("price", ["0.009875", "0.40", "0.20", "13.3334", "125.00", "133.93"])
def test_a_price_is_the_one_of_the_deployment_guide(price: str) -> None:
    assert re.search(rf"(?<![0-9]){re.escape(price)}(?![0-9])", PRICES)
    assert re.search(rf"\${re.escape(price)}(?![0-9])", PAGE)


def test_what_an_idle_month_and_a_slow_provider_cost_is_computed() -> None:
    month = {cells[0]: cells[1:] for cells in TABLES}["idle for a month"]
    polls = [each * HOURS * 3600 / 1e6 * SQS for each in (WORKER_POLLS, LAMBDA_POLLS)]
    assert month == [f"${HOURS * TASK_HOUR:.2f} for a task, ${polls[0]:.2f} for polls", f"${polls[1]:.2f} for polls"]
    assert f"0.5 GB x 0.2 s is ${0.5 * 0.2 * GB_SECOND:.2f} per million orders" in DECISION.replace("\n", " ")


DECIDED = {
    "fulfill it": FulfillmentDecision.FULFILL,
    "nothing: `already_fulfilled`": FulfillmentDecision.ALREADY_FULFILLED,
    "nothing: `superseded`. The provider is not called": FulfillmentDecision.SUPERSEDED,
    "escalate it: `ORDER_NOT_FOUND`": FulfillmentDecision.NOT_FOUND,
}


def stored(what: str) -> list[Order | None]:
    """Return the orders that a cell speaks of, for a message of `EXECUTION`."""
    found: list[Order | None] = [order(status) for status in OrderStatus if f"`{status}`" in what]
    if "another execution" in what:
        found += [order(status, execution_arn=ANOTHER) for status in OrderStatus]
    return [*found, None] if "not in the table" in what else found


TRANSITIONS = [cells for cells in rows(section(PAGE, "An order's life")) if len(cells) == 3]


@pytest.mark.parametrize("cells", TRANSITIONS, ids=lambda cells: f"{cells[0]}: {cells[1]}")
def test_a_message_does_what_the_table_says(cells: list[str]) -> None:
    queue, what, result = cells
    orders = stored(what)
    assert orders
    for each in orders:
        if queue == "fulfillment":
            assert decide_fulfillment(each, EXECUTION) is DECIDED[result]
            continue
        escalation = Escalation(
            message_id="m-1", order_id="001", reasons=(Reason.INVALID_PRICE,), execution_arn=EXECUTION
        )
        if queue == "escalation, by the sweep":
            escalation = replace(escalation, source=Source.SWEEP)
        plan = plan_escalation(escalation, each, None, NOW, Assessment(Severity.WARNING, ("log",)))
        if result == "nothing: `superseded`":
            assert (plan.outcome, plan.case, plan.routes) == (EscalationOutcome.SUPERSEDED, None, False)
            continue
        assert plan.escalates_order is (result == "`ESCALATED`, and a case")
        final = plan.outcome is EscalationOutcome.ORDER_ALREADY_FINAL
        assert final is (result == "a note on the case, if there is one")
        assert (plan.case is None) is final
