"""
Checks what must be true after every scenario, in tables, queues and logs.

A failure message names the orders or messages concerned, and the seed that repeats the run.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from tests.chaos.proxy import RECEIVE, Fault
from tests.chaos.scenario import FULFILLED_KINDS, UNTOUCHED_KINDS, Item, Kind, Scenario
from workers import clock
from workers.aws.status_index import status_key
from workers.domain.orders import OrderStatus, shipment_id

ACKNOWLEDGED, DEAD_LETTERED = "message.acknowledged", "message.dead_lettered"
RELEASED, ABANDONED = "message.released", "message.abandoned"
ENDINGS = {ACKNOWLEDGED, DEAD_LETTERED, RELEASED, ABANDONED}
RECORD_SENT = "UpdateItem"  # The escalation worker makes this call only to record sent notifications.
FINAL = {ACKNOWLEDGED, DEAD_LETTERED}
STARTUP_REQUESTS = 30  # Of one worker: look-ups of queues and tables, and the last, unfilled batches.
LAST_POLLS = 40  # Of one worker: polls that find the queue empty at the end of a backlog.
POLLS_PER_S = 3.0  # Of one worker, if the queue is empty and a poll waits for a second.
SHOWN = 8  # How many offenders a failure message names.

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Allowed:
    """
    Exceptions from the checks that a scenario needs.

    - `cut_short`: connections ended while their messages were in flight, or a killed worker received messages that did
      not reach it. So log lines may be missing, but not doubled.
    - `exhausted`: orders that must be escalated as `FULFILLMENT_EXHAUSTED`.
    - `attempts`: failed attempts may be counted.
    - `exceptions`: events that may have a traceback.
    """

    cut_short: bool = False
    exhausted: Collection[str] = ()
    attempts: bool = False
    exceptions: Collection[str] = ()


NOTHING = Allowed()


def shown(values: Iterable[object]) -> str:
    listed = [str(value) for value in values]
    more = f" ... and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return "\n  ".join(["", *listed[:SHOWN]]) + more


def check(scenario: Scenario, allowed: Allowed = NOTHING) -> None:
    """Stop the running workers, then check everything."""
    scenario.stop_all()
    lines = [line for worker in scenario.workers for line in worker.lines()]
    check_logs(scenario, allowed)
    check_orders(scenario, allowed)
    check_fulfilled_lines(scenario, lines, allowed)
    check_accounts(scenario, lines, allowed)
    check_endings(scenario, allowed)
    check_dead_letters(scenario)
    check_cases(scenario, lines, allowed)


def held_by_killed(scenario: Scenario) -> set[str]:
    """Return the ids of the messages that a killed worker had received: its lines about them may be missing."""
    killed = {sender for sender, worker in scenario.senders.items() if worker.pid in scenario.killed}
    return {delivery.message_id for delivery in scenario.proxy.deliveries if delivery.sender in killed}


def check_logs(scenario: Scenario, allowed: Allowed) -> None:
    """Logs have only JSON lines, no failed worker and no unexpected exception."""
    for worker in scenario.workers:
        strange = [text for text in worker.output().splitlines() if not text.startswith("{")]
        assert not strange, scenario.explain(f"{worker.log_path.name} has lines that are not JSON:\n{shown(strange)}")
        wrong = [
            line
            for line in worker.lines()
            if line["event"] in {"worker.failed", "library.logged"}
            or ("exception" in line and line["event"] not in allowed.exceptions)
        ]
        assert not wrong, scenario.explain(f"{worker.log_path.name}: {shown(wrong)}")


def check_orders(scenario: Scenario, allowed: Allowed) -> None:
    """Every order has its expected final status, and got it once."""
    orders = scenario.orders()
    exhausted = set(allowed.exhausted)
    written = {sent.order_id: sent.item for sent in scenario.sent if sent.item is not None}
    kinds = {sent.order_id: sent.kind for sent in scenario.sent}

    assert set(orders) == set(written), scenario.explain(
        f"orders that appeared or disappeared: {shown(set(orders) ^ set(written))}"
    )

    def wrong(order_id: str) -> bool:
        order = orders[order_id]
        if order_id in exhausted:
            return str(order["Status"]) != OrderStatus.ESCALATED
        if kinds[order_id] in FULFILLED_KINDS:
            return not (
                order["Status"] == OrderStatus.FULFILLED
                and order["ShipmentId"] == shipment_id(order_id)
                and order["ExecutionArn"] == (written[order_id] or {})["ExecutionArn"]
                and order["OpenKey"] == status_key(OrderStatus.FULFILLED, order_id, order["UpdatedAt"])
                and (allowed.attempts or "Attempts" not in order)
            )
        untouched: bool = order == written[order_id]
        return kinds[order_id] in UNTOUCHED_KINDS and not untouched

    offenders = [orders[order_id] for order_id in orders if wrong(order_id)]
    assert not offenders, scenario.explain(f"{len(offenders)} orders with a wrong result: {shown(offenders)}")
    unstable = {order_id: times for order_id, times in scenario.fulfilled_at.items() if len(times) > 1}
    assert not unstable, scenario.explain(f"orders fulfilled more than once: {shown(unstable.items())}")


def check_fulfilled_lines(scenario: Scenario, lines: Iterable[Line], allowed: Allowed) -> None:
    """Every fulfilled order has one `order.fulfilled` in all logs; none only if the scenario was cut short."""
    logged = Counter(line["order_id"] for line in lines if line["event"] == "order.fulfilled")
    twice = [order_id for order_id, count in logged.items() if count > 1]
    assert not twice, scenario.explain(f"order.fulfilled was logged more than once for {shown(twice)}")
    fulfilled = {sent.order_id for sent in scenario.sent if sent.kind in FULFILLED_KINDS} - set(allowed.exhausted)
    strangers = set(logged) - fulfilled
    assert not strangers, scenario.explain(f"order.fulfilled was logged for {shown(strangers)}")
    excused = held_by_killed(scenario)
    silent = fulfilled - set(logged) - {sent.order_id for sent in scenario.sent if sent.message_id in excused}
    assert allowed.cut_short or not silent, scenario.explain(f"order.fulfilled was never logged for {shown(silent)}")


def check_accounts(scenario: Scenario, lines: Iterable[Line], allowed: Allowed) -> None:
    """Every sent message is settled, and both queues are empty."""
    check_empty(scenario)
    settled = {line["message_id"] for line in lines if line["event"] in FINAL}
    excused = held_by_killed(scenario)
    lost = [sent for sent in scenario.sent if sent.message_id not in settled | excused]
    if allowed.cut_short:  # A killed process may have deleted a message without a line; the order is checked above.
        delivered = {delivery.message_id for delivery in scenario.proxy.deliveries}
        lost = [sent for sent in lost if sent.message_id not in delivered]
    assert not lost, scenario.explain(f"{len(lost)} messages were never settled: {shown(lost)}")


def check_empty(scenario: Scenario) -> None:
    for url in (scenario.stack.order_fulfillment_queue_url, scenario.stack.escalation_queue_url):
        depth = scenario.depth(url)
        assert depth == 0, scenario.explain(f"{depth} messages are left in {url}")


def check_requests(scenario: Scenario, *, per_delivery: float, began_s: float) -> None:
    """
    There are at most *per_delivery* requests for each delivered message, and few empty receives, since *began_s*.

    Each receive that brings something counts against its messages. The others waited for a second each, one at a time
    when the queue is empty, more at the end of a backlog.
    """
    ended_s = time.time()
    requests = Counter(request.action == RECEIVE for request in scenario.proxy.requests if request.at_s >= began_s)
    deliveries = len(scenario.proxy.deliveries)
    workers = len(scenario.senders)
    limit = STARTUP_REQUESTS * workers + per_delivery * deliveries
    assert requests[False] <= limit, scenario.explain(f"{requests[False]} requests for {deliveries} deliveries")
    limit = deliveries + workers * (LAST_POLLS + POLLS_PER_S * (ended_s - began_s))
    assert requests[True] <= limit, scenario.explain(f"{requests[True]} receives for {deliveries} deliveries")


def check_endings(scenario: Scenario, allowed: Allowed) -> None:
    """In each log, every delivery has at most one ending, and every message has one after its last delivery."""
    for sender, worker in scenario.senders.items():
        endings: dict[str, list[Line]] = defaultdict(list)
        for line in worker.lines():
            if line["event"] in ENDINGS:
                endings[line["message_id"]].append(line)
        received = [delivery for delivery in scenario.proxy.deliveries if delivery.sender == sender]
        deliveries = Counter((delivery.message_id, delivery.receive_count) for delivery in received)
        ended = Counter((line["message_id"], line["receive_count"]) for found in endings.values() for line in found)
        surplus = [key for key, count in ended.items() if count > deliveries[key]]
        assert not surplus, scenario.explain(f"{sender}: more ending lines than deliveries: {shown(surplus)}")
        if allowed.cut_short or worker.pid in scenario.killed:
            continue
        last = {delivery.message_id: delivery.at_s for delivery in received}
        # Another delivery of a message in flight is merged into the first: there may be fewer endings than deliveries.
        endless = [
            message_id
            for message_id, at_s in last.items()
            if not any(_time_s(line) >= at_s for line in endings[message_id])
        ]
        assert not endless, scenario.explain(f"{sender}: received, but without an ending: {shown(endless)}")


def check_dead_letters(scenario: Scenario) -> None:
    """The dead-letter queues hold exactly the undecodable messages, with their reasons."""
    undecodable = {sent.message_id: sent.body for sent in scenario.sent if sent.kind is Kind.UNDECODABLE}
    found = scenario.take_all(scenario.stack.order_fulfillment_dlq_url)
    unexplained = [letter for letter in found if "OriginMessageId" not in letter.get("MessageAttributes", {})]
    assert not unexplained, scenario.explain(f"dead-lettered by SQS itself: {shown(unexplained)}")
    origins = {letter["MessageAttributes"]["OriginMessageId"]["StringValue"]: letter["Body"] for letter in found}
    assert origins == undecodable, scenario.explain(
        f"missing or unexpected dead letters: {shown(origins.items() ^ undecodable.items())}"
    )
    escalations = scenario.take_all(scenario.stack.escalation_dlq_url)
    assert not escalations, scenario.explain(f"escalations in their dead-letter queue: {shown(escalations)}")


def check_cases(scenario: Scenario, lines: Iterable[Line], allowed: Allowed) -> None:
    """Missing and exhausted orders and undecodable messages have one case each, and every case was routed."""
    expected: dict[str | None, list[str]] = {
        sent.order_id: ["ORDER_NOT_FOUND"] for sent in scenario.sent if sent.kind is Kind.MISSING
    }
    expected |= {
        f"message-{sent.message_id}": ["UNDECODABLE_MESSAGE"] for sent in scenario.sent if sent.kind is Kind.UNDECODABLE
    }
    expected |= {order_id: ["FULFILLMENT_EXHAUSTED"] for order_id in allowed.exhausted}
    cases = scenario.cases()
    check_closed_cases(scenario, cases, allowed)
    found = {case_id: list(case["Reasons"]) for case_id, case in cases.items()}
    wrong = {case_id for case_id in found.keys() | expected.keys() if found.get(str(case_id)) != expected.get(case_id)}
    assert not wrong, scenario.explain(f"missing or unexpected cases, or wrong reasons: {shown(wrong)}")
    again = [case_id for case_id, case in cases.items() if case["Episode"] != 1]
    assert not again, scenario.explain(f"cases opened more than once: {shown(again)}")
    routed = Counter(line["case_id"] for line in lines if line["event"] == "escalation.routed")
    unrouted = [case_id for case_id, case in cases.items() if not routed[case_id] or not case["Routed"]]
    assert not unrouted, scenario.explain(f"cases that were never routed: {shown(unrouted)}")
    # Routing is at least once. A second time needs a fault between the notification and its record.
    disturbed = (
        allowed.cut_short
        or any(worker.pid in scenario.killed for worker in scenario.workers)
        or any(
            request.action == RECORD_SENT and request.fault not in {None, Fault.LATENCY}
            for request in scenario.proxy.requests
        )
    )
    again = [case_id for case_id, count in routed.items() if count > 1]
    assert disturbed or not again, scenario.explain(f"cases routed more than once: {shown(again)}")


def check_closed_cases(scenario: Scenario, cases: dict[str, Item], allowed: Allowed) -> None:
    """Take the cases of resubmitted orders out of *cases*: they must be closed, each once, by the workflow."""
    resubmitted = {str(sent.order_id) for sent in scenario.sent if sent.kind is Kind.RESUBMITTED}
    wrong = dict[str, Any]()
    for order_id in resubmitted - set(allowed.exhausted):
        case = cases.pop(order_id, {})
        actions = [resolution["Action"] for resolution in case.get("Resolutions", [])]
        if (case.get("State"), case.get("Episode"), actions) != ("RESOLVED", 1, ["resubmitted"]):
            wrong[order_id] = case
    assert not wrong, scenario.explain(f"cases of resubmitted orders that are not closed once: {shown(wrong.items())}")


def check_shipped_once(scenario: Scenario, *, what: str = "shipped") -> None:
    """Every fulfilled order went to the provider once, and no other order did."""
    counts = Counter(scenario.shipments(what))
    expected = {sent.order_id for sent in scenario.sent if sent.kind in FULFILLED_KINDS}
    wrong = {order_id: count for order_id, count in counts.items() if count != 1 or order_id not in expected}
    wrong |= {str(order_id): 0 for order_id in expected - set(counts)}
    # The two messages of a TWICE order may be handled at the same time: the provider is idempotent by OrderId.
    twins = {sent.order_id for sent in scenario.sent if sent.kind is Kind.TWICE}
    wrong = {order_id: count for order_id, count in wrong.items() if not (order_id in twins and count == 2)}
    assert not wrong, scenario.explain(f"not exactly one call of the provider for: {shown(wrong.items())}")


def check_delivered_once(scenario: Scenario, *, where: Callable[[Any], bool] = lambda _: True) -> None:
    """No message was delivered twice: visibility was extended while it was in flight."""
    counts = Counter(delivery.message_id for delivery in scenario.proxy.deliveries if where(delivery))
    again = [message_id for message_id, count in counts.items() if count > 1]
    assert not again, scenario.explain(f"delivered more than once: {shown(again)}")


def check_delivered_again_only_if_released(scenario: Scenario) -> None:
    """Messages were delivered again only after a release, never because their visibility ran out."""
    delivered = Counter(delivery.message_id for delivery in scenario.proxy.deliveries)
    released = Counter(
        line["message_id"] for worker in scenario.workers for line in worker.lines() if line["event"] == RELEASED
    )
    wrong = [message_id for message_id, count in delivered.items() if count > 1 + released[message_id]]
    assert not wrong, scenario.explain(f"delivered again without having been released: {shown(wrong)}")


def outcomes(scenario: Scenario, event: str) -> Counter[str]:
    """Count the outcomes of one ending in all logs."""
    return Counter(line["outcome"] for worker in scenario.workers for line in worker.lines() if line["event"] == event)


def _time_s(line: Line) -> float:
    return clock.parse(line["timestamp"]).timestamp()
