"""
The ledger of a run: what happened to each order, in a few bytes, and what went wrong.

Everything is checked as it happens. `Problems` keeps a count and the first examples, so that an hour of orders needs
little memory, whatever happens in it.
"""

import hashlib
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from tests.bench.stub_expressions import Item

MAX_EXAMPLES, MAX_CHARS = 8, 1_000
KEPT = 20_000  # Fulfilled orders that stay in the table for late messages: those of six minutes.
_ORDER = "order-"
_ATTEMPTS_USED_UP = "FULFILLMENT_EXHAUSTED"


class Promise(StrEnum):
    """What must be true after every run."""

    SETTLED = "every order is settled exactly once"
    SHIPPED = "a fulfilled order has one shipment, under one idempotency key; an improper order has none"
    CASES = "every escalated order and every useless body has exactly one open case"
    NOTIFIED = "every case, and so every execution, has exactly one notification"
    EMPTY = "nothing is left in the queues"
    GARBAGE = "useless bodies, and nothing else, are in the dead-letter queues, with their reason"
    ENDINGS = "every received message has exactly one last line, unless its worker was killed"
    WORKERS = "no worker ends by itself, logs an unexpected exception or anything but JSON; each one stops with 0"


@dataclass(slots=True)
class Problems:
    """What went wrong, by promise: how often, and the first examples."""

    counts: Counter[Promise] = field(default_factory=Counter)
    examples: defaultdict[Promise, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, promise: Promise, example: str) -> None:
        self.counts[promise] += 1
        if len(self.examples[promise]) < MAX_EXAMPLES:
            self.examples[promise].append(example[:MAX_CHARS])


class Fate(IntEnum):
    """How an order ended."""

    OPEN = 0
    FULFILLED = 1
    ESCALATED = 2


_FATES = {"FULFILLED": Fate.FULFILLED, "ESCALATED": Fate.ESCALATED}


class Ledger:
    """Hears of everything that happens to orders, and knows what must not."""

    def __init__(self, orders: int, problems: Problems) -> None:
        self.problems = problems
        self.sent = 0
        self.settled: Counter[Fate] = Counter()
        self.repeated_requests = 0  # To the provider, with the same key: allowed.
        self.repeated_notifications = 0  # With the same id: allowed.
        self.garbage: dict[str, set[str]] = defaultdict(set)  # Message ids, by queue.
        self._fates = bytearray(orders)
        self._improper = bytearray(orders)
        self._messages = bytearray(orders)
        self._keys = array("Q", bytes(8 * orders))
        self._notifications: dict[str, dict[str, str]] = {}  # By case: execution by notification.

    @property
    def open(self) -> int:
        return self.sent - self.settled.total()

    def order_sent(self, order_id: str, *, messages: int, improper: bool) -> None:
        number = _number(order_id)
        self.sent += 1
        self._messages[number] = messages
        self._improper[number] = improper

    def message_deleted(self, order_id: str) -> None:
        self._messages[_number(order_id)] -= 1

    def has_messages(self, order_id: str) -> bool:
        return self._messages[_number(order_id)] > 0

    def status_changed(self, order_id: str, old: str | None, new: str) -> None:
        """Record a write of an order. It may be new, or go from RECEIVED to one of the other two."""
        if new == old or (old, new) == (None, "RECEIVED"):
            return
        number = _number(order_id)
        if old != "RECEIVED" or new not in _FATES or self._fates[number]:
            self.problems.add(Promise.SETTLED, f"{order_id} went from {old} to {new}")
            return
        if self._improper[number] and new != "ESCALATED":
            self.problems.add(Promise.SETTLED, f"{order_id}, which is improper, became {new}")
        self._fates[number] = _FATES[new]
        self.settled[_FATES[new]] += 1

    def shipment(self, order_id: str, key: str) -> str:
        """Record a request to ship an order; return the shipment of this key."""
        number = _number(order_id)
        digest = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) or 1
        if self._improper[number]:
            self.problems.add(Promise.SHIPPED, f"{order_id}, which is improper, was shipped")
        if not self._keys[number]:
            self._keys[number] = digest
        elif self._keys[number] == digest:
            self.repeated_requests += 1
        else:
            self.problems.add(Promise.SHIPPED, f"{order_id} was shipped again, under the key {key}")
            return f"SHIPMENT-{order_id}-{digest}"
        return f"SHIPMENT-{order_id}"

    def notified(self, notification: Mapping[str, Any]) -> None:
        """Record a notification that the channel has accepted."""
        of_case = self._notifications.setdefault(notification["CaseId"], {})
        if notification["NotificationId"] in of_case:
            self.repeated_notifications += 1
        of_case[notification["NotificationId"]] = notification.get("ExecutionArn", notification["CaseId"])

    def check_fulfilled(self, order_id: str, item: Item) -> None:
        """Check the item of a fulfilled order."""
        if not self._keys[_number(order_id)]:
            self.problems.add(Promise.SHIPPED, f"{order_id} is fulfilled, but was not shipped")
        elif item.get("ShipmentId") != {"S": f"SHIPMENT-{order_id}"}:
            self.problems.add(Promise.SHIPPED, f"{order_id} is fulfilled by {item.get('ShipmentId')}")
        if item.get("OpenKey", {"S": ""})["S"].startswith(("RECEIVED", "ESCALATED")):
            self.problems.add(Promise.SETTLED, f"{order_id} is fulfilled, but listed as open")

    def check_orders(self, orders: Mapping[str, Item]) -> None:
        """Check that every order that was sent is settled, and the orders that are still in the table."""
        for number in range(self.sent):
            if not self._fates[number]:
                self.problems.add(Promise.SETTLED, f"{_id(number)} is not settled")
        for order_id, item in orders.items():
            if item["Status"]["S"] == "FULFILLED":
                self.check_fulfilled(order_id, item)

    def check_cases(self, cases: Mapping[str, Item]) -> None:
        """Check the cases, and the notifications about them."""
        escalated = {_id(number) for number in range(self.sent) if self._fates[number] == Fate.ESCALATED}
        garbage = {f"message-{message_id}" for of_queue in self.garbage.values() for message_id in of_queue}
        expected = escalated | garbage
        for case_id in expected - cases.keys():
            self.problems.add(Promise.CASES, f"{case_id} has no case")
        for case_id in cases.keys() - expected:
            self.problems.add(Promise.CASES, f"{case_id} has a case, but is not escalated: {cases[case_id]}")
        for case_id in cases.keys() & expected:
            self._check_case(case_id, cases[case_id])
        self._check_notifications(cases.keys())

    def _check_case(self, case_id: str, case: Item) -> None:
        state, episode = case["State"]["S"], case["Episode"]["N"]
        if (state, episode) != ("OPEN", "1"):
            self.problems.add(Promise.CASES, f"{case_id} is {state}, in episode {episode}")
        reasons = [reason["S"] for reason in case["Reasons"]["L"]]
        if case_id.startswith(_ORDER):
            allowed = "INVALID_PRICE" if self._improper[_number(case_id)] else _ATTEMPTS_USED_UP
        else:
            allowed = "UNDECODABLE_MESSAGE"
        if reasons != [allowed]:
            self.problems.add(Promise.CASES, f"{case_id} was escalated for {reasons}, not for {allowed}")

    def _check_notifications(self, cases: Collection[str]) -> None:
        executions: Counter[str] = Counter()
        for case_id, of_case in self._notifications.items():
            executions.update(of_case.values())
            if case_id not in cases:
                self.problems.add(Promise.NOTIFIED, f"{sorted(of_case)} were sent, but there is no such case")
        for case_id in cases:
            if case_id not in self._notifications:
                self.problems.add(Promise.NOTIFIED, f"{case_id} has no notification")
        for execution, count in executions.items():
            if count > 1:
                self.problems.add(Promise.NOTIFIED, f"{execution} has {count} notifications")

    def check_queue(self, queue: str, bodies: Iterable[str]) -> None:
        """Check that nothing is left in a queue."""
        for body in bodies:
            self.problems.add(Promise.EMPTY, f"{queue} still has {body}")

    def check_dead_letters(self, queue: str, letters: Iterable[Mapping[str, Any]]) -> None:
        """Check the attributes of the messages in the dead-letter queue of *queue*."""
        missing = set(self.garbage[queue])
        for letter in letters:
            values = {name: attribute.get("StringValue", "") for name, attribute in letter.items()}
            origin, reason = values.get("OriginMessageId", ""), values.get("Reason", "")
            if origin not in self.garbage[queue]:
                self.problems.add(Promise.GARBAGE, f"{origin or 'a message'} of {queue} is a dead letter: {reason}")
            elif not reason.startswith("UNDECODABLE_MESSAGE: "):
                self.problems.add(Promise.GARBAGE, f"{origin} is a dead letter because of {reason!r}")
            missing.discard(origin)
        for message_id in missing:
            self.problems.add(Promise.GARBAGE, f"{message_id} of {queue} is no dead letter")


class Orders(dict[str, Item]):
    """
    The items of the order table. It reports changes of status, and forgets orders that were fulfilled long ago.

    An order is forgotten once there is no message about it and `kept` others were fulfilled after it.
    """

    def __init__(self, ledger: Ledger, kept: int = KEPT) -> None:
        super().__init__()
        self._ledger = ledger
        self._kept = kept
        self._fulfilled: deque[str] = deque()

    def __setitem__(self, order_id: str, item: Item) -> None:
        old = self.get(order_id)
        super().__setitem__(order_id, item)
        before, after = None if old is None else old["Status"]["S"], item["Status"]["S"]
        self._ledger.status_changed(order_id, before, after)
        if after == "FULFILLED" != before:
            self._fulfilled.append(order_id)
            if len(self._fulfilled) > self._kept:
                self._forget(self._fulfilled.popleft())

    def _forget(self, order_id: str) -> None:
        if self._ledger.has_messages(order_id):
            self._fulfilled.append(order_id)
        elif order_id in self:
            self._ledger.check_fulfilled(order_id, self.pop(order_id))


def _number(order_id: str) -> int:
    return int(order_id.removeprefix(_ORDER))


def _id(number: int) -> str:
    return f"{_ORDER}{number:07}"
