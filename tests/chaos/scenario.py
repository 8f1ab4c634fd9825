"""A chaos scenario: a separate stack behind a fault proxy, its orders, and workers that start and stop."""

import itertools
import json
import os
import random
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.chaos.moments import Moment
from tests.chaos.providers import DOWN, SHIPMENTS
from tests.chaos.proxy import FaultProxy
from tests.chaos.traps import Exchange, Fate, Trap
from tests.support import SHORT_VISIBILITY, DeployedStack, StartWorker, Worker
from workers import clock
from workers.aws.case_items import case_item
from workers.aws.status_index import status_key
from workers.domain.cases import Case, CaseState
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason, Severity

MAX_SEND, MAX_WRITE = 10, 25  # SQS: messages per SendMessageBatch; DynamoDB: items per BatchWriteItem.
POLL_S = 0.2
WATCH_EVERY_S = 2.0
FLUSH_S = 3.0  # How long a worker may take beyond its drain time, for its last deletes.
EXIT_MARGIN_S = 3.0  # For the interpreter to exit on a busy machine.
WORKER_DEFAULTS = SHORT_VISIBILITY | {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "5", "WORKER_CONCURRENCY": "20"}

WEBHOOK_RULES = """
[[rules]]
severity = "warning"
channels = ["webhook"]

[channels.webhook]
type = "webhook"
url_env = "CHAOS_WEBHOOK_URL"
"""

T = TypeVar("T")
Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a scenario: seconds in `make test`, minutes in `make chaos`."""

    orders: int
    outage_s: float
    provider_down_s: float
    kills: int
    crashes: int  # Kills of a worker at a certain moment, each with a backlog of its own.
    backlog: int
    patience_s: float

    @classmethod
    def short(cls) -> "Size":
        return cls(orders=40, outage_s=3, provider_down_s=3, kills=3, crashes=1, backlog=60, patience_s=60)

    @classmethod
    def long(cls) -> "Size":
        orders = int(os.environ.get("CHAOS_ORDERS", "1000"))
        return cls(
            orders=orders,
            outage_s=30,
            provider_down_s=60,
            kills=12,
            crashes=2,
            backlog=90,
            patience_s=60 + orders * 0.2,
        )


class Kind(StrEnum):
    """The kinds of messages, and what must happen to each."""

    VALID = "valid"  # -> FULFILLED
    BARE = "bare"  # The body is the OrderId alone -> FULFILLED
    RESUBMITTED = "resubmitted"  # An earlier execution's case is open -> FULFILLED, and the case is closed
    TWICE = "twice"  # Two messages with the same body -> FULFILLED, once
    STALE = "stale"  # The message names an earlier execution -> the order is unchanged
    ESCALATED = "escalated"  # The order was escalated meanwhile -> the order is unchanged
    MISSING = "missing"  # The order does not exist -> a case, ORDER_NOT_FOUND
    UNDECODABLE = "undecodable"  # -> the dead-letter queue, and a case


FULFILLED_KINDS = frozenset({Kind.VALID, Kind.BARE, Kind.RESUBMITTED, Kind.TWICE})
UNTOUCHED_KINDS = frozenset({Kind.STALE, Kind.ESCALATED})
# Shares of the other kinds; at least one message of each.
_SHARES = {
    Kind.BARE: 0.10,
    Kind.RESUBMITTED: 0.05,
    Kind.TWICE: 0.08,
    Kind.STALE: 0.04,
    Kind.ESCALATED: 0.03,
    Kind.MISSING: 0.03,
    Kind.UNDECODABLE: 0.02,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One sent message. `item` is its order as the test wrote it, None if it wrote none."""

    message_id: str
    kind: Kind
    order_id: str | None
    body: str
    item: Item | None


@dataclass(slots=True, kw_only=True)
class Scenario:
    """One run. The test takes all its random choices from `rng`."""

    name: str
    seed: int
    size: Size
    stack: DeployedStack
    proxy: FaultProxy
    directory: Path
    start_worker: StartWorker
    sent: list[Sent] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    killed: set[int] = field(default_factory=set)
    senders: dict[str, Worker] = field(default_factory=dict)  # By the access key id of their requests.
    fulfilled_at: dict[str, set[str]] = field(default_factory=dict)
    escalated_at: dict[str, set[str]] = field(default_factory=dict)
    rng: random.Random = field(init=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _watched_s: float = 0.0
    _clients: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def client(self, service: str) -> Any:
        """Return a cached client for the AWS behind the proxy: building one takes a while."""
        if service not in self._clients:
            self._clients[service] = self.stack.client(service)
        return self._clients[service]

    @property
    def queue_url(self) -> str:
        return self.stack.order_fulfillment_queue_url

    # Before the workers start.

    def set_visibility_timeout(self, seconds: int) -> None:
        """
        Set the visibility timeout of both queues, short enough for a test to see messages again.

        It must be longer than a poll waits (1 s), as it always is outside of tests: a worker's own clock counts it from
        the start of the poll, so messages that arrive at the end of a poll would be lost at once.
        """
        for url in (self.stack.order_fulfillment_queue_url, self.stack.escalation_queue_url):
            self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})

    def send_mix(self, count: int | None = None) -> None:
        """Write orders and send their messages, shuffled, with a fixed share of every kind."""
        count = count or self.size.orders
        kinds = [kind for kind, share in _SHARES.items() for _ in range(max(1, round(share * count)))]
        kinds += [Kind.VALID] * (count - len(kinds))
        self.rng.shuffle(kinds)
        self.send(kinds)

    def send(self, kinds: Iterable[Kind], *, prefix: str = "order") -> list[Sent]:
        """Write an order for each of these kinds, then send the messages."""
        drafts = [draft for kind in kinds for draft in self._draft(kind, self.next_id(prefix))]
        resubmitted = [draft.order_id for draft in drafts if draft.kind is Kind.RESUBMITTED and draft.order_id]
        self.write_cases([open_case(order_id, execution_arn(self.rng)) for order_id in resubmitted])
        self.write_orders([draft.item for draft in drafts if draft.item is not None])
        ids = self.send_bodies(self.queue_url, [draft.body for draft in drafts])
        sent = [replace(draft, message_id=message_id) for draft, message_id in zip(drafts, ids, strict=True)]
        self.sent += sent
        return sent

    def next_id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._numbers):05d}"

    def _draft(self, kind: Kind, order_id: str) -> list[Sent]:
        arn = execution_arn(self.rng)
        body = json.dumps({"OrderId": order_id, "ExecutionArn": arn})
        item: Item | None = order_item(order_id, arn, OrderStatus.RECEIVED)
        match kind:
            case Kind.BARE:
                body = order_id
            case Kind.RESUBMITTED:
                body = json.dumps(json.loads(body) | {"Resubmitted": True})
            case Kind.STALE:
                item = order_item(order_id, execution_arn(self.rng), OrderStatus.RECEIVED)
            case Kind.ESCALATED:
                item = order_item(order_id, arn, OrderStatus.ESCALATED)
            case Kind.MISSING:
                item = None
            case Kind.UNDECODABLE:
                garbage = self.rng.choice(['{"OrderId":', "no order at all", '{"OrderId": 7}', "[]"])
                return [Sent("", kind, None, garbage, None)]
            case Kind.VALID | Kind.TWICE:
                pass
        first = Sent("", kind, order_id, body, item)
        return [first, replace(first, item=None)] if kind is Kind.TWICE else [first]

    def write_orders(self, items: list[Item]) -> None:
        serialize = TypeSerializer().serialize
        self._write(
            self.stack.order_table, [{name: serialize(value) for name, value in item.items()} for item in items]
        )

    def write_cases(self, cases: list[Case]) -> None:
        self._write(self.stack.escalation_table, [case_item(case) for case in cases])

    def _write(self, table: str, items: list[Item]) -> None:
        dynamodb = self.client("dynamodb")
        for batch in _batches([{"PutRequest": {"Item": item}} for item in items], MAX_WRITE):
            answer = dynamodb.batch_write_item(RequestItems={table: batch})
            assert not answer.get("UnprocessedItems")

    def send_bodies(self, url: str, bodies: list[str]) -> list[str]:
        """Send a message with each of these bodies, and return their ids."""
        sqs, ids = self.client("sqs"), list[str]()
        for batch in _batches(bodies, MAX_SEND):
            entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(batch)]
            answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
            found = {int(entry["Id"]): entry["MessageId"] for entry in answer["Successful"]}
            ids += [found[i] for i in range(len(batch))]
        return ids

    # Workers.

    def start(self, name: str = "fulfillment", *, awaited: bool = True, **env: str) -> Worker:
        """Start a worker behind the proxy. If *awaited*, return once it consumes."""
        sender = f"{name}-{len(self.senders) + 1}"
        environment = WORKER_DEFAULTS | {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_ACCESS_KEY_ID": sender,
            "CHAOS_DIRECTORY": str(self.directory),
            "CHAOS_WEBHOOK_URL": self.proxy.webhook_url(sender),
            **env,
        }
        worker = self.start_worker(name, stack=self.stack, env=environment)
        self.workers.append(worker)
        self.senders[sender] = worker
        if awaited:
            worker.wait_for("worker.started", timeout_s=60)
        return worker

    def kill(self, worker: Worker) -> None:
        """`kill -9`."""
        self.killed.add(worker.pid)
        worker.kill()

    def kill_at(self, moment: Moment, *, skip: int = 0) -> Trap:
        """`kill -9` the worker whose request reaches this moment next, after *skip* others. See `bury`."""

        def kill(exchange: Exchange) -> Fate:
            victim = self.senders[exchange.sender]
            self.killed.add(victim.pid)
            victim.process.send_signal(signal.SIGKILL)
            return Fate.HELD if moment.late else Fate.CUT

        return self.proxy.set_trap(Trap(moment.step, moment.actions, kill, skip=skip))

    def bury(self, trap: Trap) -> Worker:
        """Wait until the worker of `kill_at` is killed, make its messages visible again, and return it."""
        sender = trap.wait(self.size.patience_s).sender
        victim = self.senders[sender]
        assert victim.wait() == -signal.SIGKILL
        self.proxy.end_visibility(sender)
        return victim

    def route_to_webhook(self) -> dict[str, str]:
        """Return the settings of an escalation worker that also notifies the proxy's webhook."""
        rules = self.directory / "rules.toml"
        rules.write_text(WEBHOOK_RULES)
        return {"ESCALATION_RULES": str(rules)}

    def stop(self, *workers: Worker, drain_s: float = 5.0) -> None:
        """Send SIGTERM. Each worker must end with exit code 0 within its drain time and the last flush."""
        for worker in workers:
            worker.wait_for("worker.starting")  # Before that line, its signal handlers are not set.
        began_s = time.monotonic()
        for worker in workers:
            worker.process.send_signal(signal.SIGTERM)
        limit_s = drain_s + FLUSH_S + EXIT_MARGIN_S
        for worker in workers:
            code = worker.wait()
            took_s = time.monotonic() - began_s
            assert code == 0, self.explain(f"exit code {code} after SIGTERM: {worker.output()[-2000:]}")
            assert took_s < limit_s, self.explain(f"SIGTERM took {took_s:.1f} s, more than {limit_s} s")

    def stop_all(self) -> None:
        self.stop(*(worker for worker in self.workers if worker.process.poll() is None))

    # While the workers run.

    @property
    def provider_down(self) -> Path:
        """While this file exists, the provider `SometimesDown` is down."""
        return self.directory / DOWN

    def shipments(self, what: str = "shipped") -> list[str]:
        """Return the ids of the orders whose shipment *what*: `began`, or was `shipped`."""
        path = self.directory / SHIPMENTS
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [line["order_id"] for line in lines if line["what"] == what]

    def until(self, condition: Callable[[], T], what: str, *, timeout_s: float | None = None) -> T:
        """Call *condition* until its result is true, and return it."""
        deadline = time.monotonic() + (timeout_s or self.size.patience_s)
        while True:
            if result := condition():
                return result
            assert time.monotonic() < deadline, self.explain(f"this took too long: {what}; {self._left()}")
            self.watch()
            time.sleep(POLL_S)

    def drained(self) -> bool:
        """Return whether both queues are empty, of messages in flight, too."""
        urls = (self.stack.order_fulfillment_queue_url, self.stack.escalation_queue_url)
        return all(self.depth(url) == 0 for url in urls)

    def until_drained(self, *, timeout_s: float | None = None) -> None:
        # Twice, because a message may be on its way from one queue to the other.
        for _ in range(2):
            self.until(self.drained, "empty queues", timeout_s=timeout_s)

    def depth(self, url: str) -> int:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        answer = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    def watch(self) -> None:
        """Record every `WATCH_EVERY_S` when and how orders were fulfilled or escalated: that must never change."""
        if time.monotonic() - self._watched_s > WATCH_EVERY_S:
            self.orders()
            self._watched_s = time.monotonic()

    def orders(self) -> dict[str, Item]:
        """Return the order table, by OrderId."""
        items = {item["OrderId"]: item for item in self._scan(self.stack.order_table)}
        for order_id, item in items.items():
            if "FulfilledAt" in item:
                self.fulfilled_at.setdefault(order_id, set()).add(f"{item['FulfilledAt']} {item['ShipmentId']}")
            if "EscalatedAt" in item:
                self.escalated_at.setdefault(order_id, set()).add(item["EscalatedAt"])
        return items

    def cases(self) -> dict[str, Item]:
        """Return the case table, by CaseId."""
        return {item["CaseId"]: item for item in self._scan(self.stack.escalation_table)}

    def _scan(self, table: str) -> list[Item]:
        deserialize = TypeDeserializer().deserialize
        pages = self.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [{name: deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"]]

    def take_all(self, url: str) -> list[dict[str, Any]]:
        """Receive all visible messages of a queue without deleting them."""
        sqs = self.client("sqs")
        taken: list[dict[str, Any]] = []
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
        ).get("Messages"):
            taken += messages
        return taken

    # Failure messages.

    def explain(self, text: str) -> str:
        """Return *text* with the seed that repeats this run."""
        return f"{text}\n[{self.name}, CHAOS_SEED={os.environ.get('CHAOS_SEED', 'see above')}, logs: {self.directory}]"

    def _left(self) -> str:
        names = {"fulfillment": self.stack.order_fulfillment_queue_url, "escalation": self.stack.escalation_queue_url}
        depths = ", ".join(f"{name} {self.depth(url)}" for name, url in names.items())
        alive = [worker.pid for worker in self.workers if worker.process.poll() is None]
        ends = "\n".join(worker.output()[-1500:] for worker in self.workers[-2:])
        return f"in the queues: {depths}; workers alive: {alive}\n{ends}"


def resident_mb(worker: Worker) -> float:
    """Return the resident memory of a worker, in MB."""
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def execution_arn(rng: random.Random) -> str:
    name = uuid.UUID(int=rng.getrandbits(128), version=4)
    return f"arn:aws:states:us-east-1:000000000000:execution:OrderFulfillmentStateMachine:{name}"


def open_case(order_id: str, execution_arn: str) -> Case:
    """Return the case that an earlier execution of an order has opened."""
    now = clock.now()
    return Case(
        case_id=order_id,
        order_id=order_id,
        state=CaseState.OPEN,
        severity=Severity.WARNING,
        opened_at=now,
        updated_at=now,
        reasons=(Reason.INVALID_PRICE,),
        execution_arns=(execution_arn,),
        message_ids=("earlier",),
        opened_by="earlier",
    )


def order_item(order_id: str, execution_arn: str, status: OrderStatus) -> Item:
    now = clock.now()
    escalated: Mapping[str, Any] = {"Reasons": ["INVALID_PRICE"], "EscalatedAt": now}
    return {
        "OrderId": order_id,
        "Name": "Jane",
        "ItemName": "Lamp",
        "Price": "80000",
        "CC": "************5678",
        "Status": status.value,
        "ExecutionArn": execution_arn,
        "OpenKey": status_key(status, order_id, now),
        "CreatedAt": now,
        "UpdatedAt": now,
        **(escalated if status is OrderStatus.ESCALATED else {}),
    }


def _batches(values: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
