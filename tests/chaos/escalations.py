"""A backlog of escalations, and what must be true once it is processed."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.chaos.checks import (
    FINAL,
    NOTHING,
    Allowed,
    Line,
    check_dead_letters,
    check_empty,
    check_endings,
    check_logs,
    held_by_killed,
    shown,
)
from tests.chaos.scenario import Item, Scenario, execution_arn, order_item
from workers.domain.orders import OrderStatus

REASON = "INVALID_PRICE"
ROUTED = "escalation.routed"


class Target(StrEnum):
    """What an escalation is about, and what must happen."""

    NEW = "new"  # An order of its own -> ESCALATED, and a case
    SAME = "same"  # The one order that several escalations are about -> ESCALATED once, one case with all of them
    OTHER = "other"  # An order that has another execution by now -> a case; the order is unchanged
    MISSING = "missing"  # No order -> a case
    FINAL = "final"  # A fulfilled order -> no case; the order is unchanged


ESCALATED = {Target.NEW, Target.SAME}
_SHARE = 0.05  # Of each of the last three targets.


@dataclass(frozen=True, slots=True)
class Escalation:
    """One sent escalation. `item` is its order as the test wrote it, None if it wrote none."""

    message_id: str
    target: Target
    order_id: str
    body: str
    item: Item | None


def send_escalations(
    scenario: Scenario, new: int = 60, same: int = 6, *, again: Iterable[Escalation] = ()
) -> list[Escalation]:
    """
    Write orders, then send escalations, shuffled: *new* and *same* of these targets, and a few of the others.

    Before them, send further messages with the bodies of *again*.
    """
    others = [target for target in Target if target not in ESCALATED for _ in range(max(1, round(_SHARE * new)))]
    one = scenario.next_id(Target.SAME)
    targets = [(target, scenario.next_id(target)) for target in [Target.NEW] * new + others]
    targets += [(Target.SAME, one)] * same
    scenario.rng.shuffle(targets)
    drafts = {order_id: _draft(scenario, target, order_id) for target, order_id in targets}
    scenario.write_orders([draft.item for draft in drafts.values() if draft.item is not None])
    unsent = [*again, *(drafts[order_id] for _, order_id in targets)]
    ids = scenario.send_bodies(scenario.stack.escalation_queue_url, [escalation.body for escalation in unsent])
    return [replace(escalation, message_id=message_id) for escalation, message_id in zip(unsent, ids, strict=True)]


def _draft(scenario: Scenario, target: Target, order_id: str) -> Escalation:
    arn = execution_arn(scenario.rng)
    body = {"OrderId": order_id, "Reasons": [REASON], "Source": "workflow", "Detail": "Injected.", "ExecutionArn": arn}
    return Escalation("", target, order_id, json.dumps(body), _item(scenario, target, order_id, arn))


def _item(scenario: Scenario, target: Target, order_id: str, arn: str) -> Item | None:
    match target:
        case Target.NEW | Target.SAME:
            return order_item(order_id, arn, OrderStatus.RECEIVED)
        case Target.OTHER:
            return order_item(order_id, execution_arn(scenario.rng), OrderStatus.RECEIVED)
        case Target.MISSING:
            return None
        case Target.FINAL:
            return order_item(order_id, arn, OrderStatus.FULFILLED)


def check_escalations(
    scenario: Scenario, sent: Collection[Escalation], allowed: Allowed = NOTHING, *, cancelled: Collection[str] = ()
) -> None:
    """
    Stop the running workers, then check everything.

    With `allowed.cut_short` a worker may repeat a notification. An operator has cancelled the orders in *cancelled*.
    """
    scenario.stop_all()
    check_logs(scenario, allowed)
    check_empty(scenario)
    check_dead_letters(scenario)
    check_endings(scenario, allowed)
    _check_settled(scenario, sent)
    _check_orders(scenario, sent, cancelled)
    _check_cases(scenario, sent, cancelled)
    _check_lines(scenario, allowed)


def _check_settled(scenario: Scenario, sent: Iterable[Escalation]) -> None:
    """Every message is settled in some log, unless a killed worker had it: its last line may be missing."""
    settled = {line["message_id"] for line in _lines(scenario) if line["event"] in FINAL}
    lost = [escalation for escalation in sent if escalation.message_id not in settled | held_by_killed(scenario)]
    assert not lost, scenario.explain(f"{len(lost)} escalations were never settled: {shown(lost)}")


def _check_orders(scenario: Scenario, sent: Iterable[Escalation], cancelled: Collection[str]) -> None:
    """Every order was escalated once, in the transaction that opened its case, or is as it was."""
    orders, cases = scenario.orders(), scenario.cases()
    targets = {escalation.order_id: escalation for escalation in sent if escalation.item is not None}
    assert orders.keys() == targets.keys(), scenario.explain(
        f"orders that appeared or disappeared: {shown(orders.keys() ^ targets.keys())}"
    )

    def wrong(order_id: str) -> bool:
        order, case = orders[order_id], cases.get(order_id)
        if targets[order_id].target not in ESCALATED:
            unchanged: bool = order == targets[order_id].item
            return not unchanged
        return not (
            order["Status"] == (OrderStatus.CANCELLED if order_id in cancelled else OrderStatus.ESCALATED)
            and list(order["Reasons"]) == [REASON]
            and case is not None
            and order["EscalatedAt"] == case["OpenedAt"]
        )

    offenders = [orders[order_id] for order_id in orders if wrong(order_id)]
    assert not offenders, scenario.explain(f"{len(offenders)} orders with a wrong result: {shown(offenders)}")
    unstable = {order_id: times for order_id, times in scenario.escalated_at.items() if len(times) > 1}
    assert not unstable, scenario.explain(f"orders escalated more than once: {shown(unstable.items())}")


def _check_cases(scenario: Scenario, sent: Iterable[Escalation], cancelled: Collection[str]) -> None:
    """Every case has one episode, which has each of its messages once and was routed to all of its channels."""
    expected: dict[str, set[str]] = defaultdict(set)
    for escalation in sent:
        if escalation.target is not Target.FINAL:
            expected[escalation.order_id].add(escalation.message_id)
    cases = scenario.cases()
    assert cases.keys() == expected.keys(), scenario.explain(
        f"missing or unexpected cases: {shown(cases.keys() ^ expected.keys())}"
    )

    def wrong(case: Item) -> bool:
        messages = expected[case["CaseId"]]
        evidence = sorted(found["MessageId"] for found in case["Evidence"])
        return not (
            case["State"] == ("RESOLVED" if case["CaseId"] in cancelled else "OPEN")
            and case["Episode"] == 1
            and list(case["Reasons"]) == [REASON]
            and sorted(case["MessageIds"]) == evidence == sorted(messages)
            and case["OpenedBy"] in messages
            and {routed["Channel"] for routed in case["Routed"]} == set(case["Channels"])
        )

    offenders = [case for case in cases.values() if wrong(case)]
    assert not offenders, scenario.explain(f"{len(offenders)} wrong cases: {shown(offenders)}")


def _check_lines(scenario: Scenario, allowed: Allowed) -> None:
    lines = {
        sender: Counter(line["case_id"] for line in worker.lines() if line["event"] == ROUTED)
        for sender, worker in scenario.senders.items()
    }
    _check_once_for_each_receiver(scenario, f"lines of {ROUTED}", lines, allowed)
    notified: dict[str, Counter[str]] = defaultdict(Counter)
    for notification in scenario.proxy.notifications:
        notified[notification.sender][notification.case_id] += 1
    if notified:
        _check_once_for_each_receiver(scenario, "notifications", notified, allowed)


def _check_once_for_each_receiver(
    scenario: Scenario, what: str, counts: Mapping[str, Counter[str]], allowed: Allowed
) -> None:
    """
    Every case is there at least once, and once at most for each worker that received the message that opened it.

    So a case whose message was delivered to one worker is there exactly once.
    """
    receivers: dict[str, set[str]] = defaultdict(set)
    for delivery in scenario.proxy.deliveries:
        receivers[delivery.message_id].add(delivery.sender)
    wrong = dict[str, dict[str, int]]()
    for case_id, case in scenario.cases().items():
        found = {sender: count[case_id] for sender, count in counts.items() if count[case_id]}
        strangers = found.keys() - receivers[case["OpenedBy"]]
        if not found or strangers or (max(found.values()) > 1 and not allowed.cut_short):
            wrong[case_id] = found
    assert not wrong, scenario.explain(f"{what} by case and worker: {shown(wrong.items())}")


def _lines(scenario: Scenario) -> list[Line]:
    return [line for worker in scenario.workers for line in worker.lines()]
