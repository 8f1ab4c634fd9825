"""Orders, cases, queues and people in memory, whose steps a scheduler interleaves; any step may be a process's last."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.workers.fakes import NO_WAIT, message
from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers import clock
from workers.aws.case_writes import CaseWrites
from workers.aws.items import from_item, to_item
from workers.aws.status_index import status_key
from workers.contracts import OrderFinished, OutgoingEscalation, Reminder
from workers.domain.cases import Case, CaseState, HandledReminder, SentNotification
from workers.domain.escalations import EscalationPlan, execution_case_id
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import Request, ResolutionError, ResolutionPlan
from workers.domain.routing import Rule, Rules
from workers.errors import ConflictError, WorkerError
from workers.escalation.handler import EscalationHandler
from workers.escalation.notifications import ChannelError, Notification
from workers.escalation.resolver import Resolver
from workers.escalation.router import Router
from workers.fulfillment.handler import FulfillmentHandler
from workers.fulfillment.providers import RejectedError
from workers.operations.cancel import cancel_order
from workers.operations.erase import erase, find_to_erase
from workers.operations.errors import OperationError

BEGIN = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
WRITES = CaseWrites("EscalationTable", "OrderTable")
PREFIX = "arn:aws:states:us-east-1:123456789012:execution:Orders"
ID, NAME = "001", "Ada"


def written(writes: list[Any]) -> tuple[str, str]:
    """Return the index key and the `UpdatedAt` that a transaction writes to its order."""
    ((expression, values),) = (
        (write["Update"]["UpdateExpression"], from_item(write["Update"]["ExpressionAttributeValues"]))
        for write in writes
        if "Update" in write
    )
    assert "UpdatedAt = :at, OpenKey = :key" in expression
    return values[":key"], values[":at"]


class KilledError(BaseException):
    """A process was killed: none of its code runs any more."""


@dataclass(eq=False)
class Process:
    """What is killed together. *runs* is what it does."""

    world: "World"
    killed: bool = False

    async def step(self) -> None:
        """Wait for this process's turn."""
        if self.killed:
            raise KilledError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.world.waiting.append((self, turn))
        await turn
        if self.killed:
            raise KilledError


@dataclass
class Letter:
    body: str
    id: str
    receive_count: int = 0
    done: bool = False


@dataclass
class World:
    """The state that outlives processes, and what has happened."""

    random: Random
    orders: dict[str, Order] = field(default_factory=dict)
    keys_of_orders: dict[str, str | None] = field(default_factory=dict)  # Of the index by status, as they were written.
    since: dict[str, str] = field(default_factory=dict)  # When each order got its status.
    started: dict[str, int] = field(default_factory=dict)  # When each execution started.
    read: dict[str, str] = field(default_factory=dict)  # When the order of each execution was first read to ship it.
    opened: dict[tuple[str, int], str] = field(default_factory=dict)  # When each episode of a case was written first.
    cases: dict[str, Case] = field(default_factory=dict)
    queues: dict[str, list[Letter]] = field(default_factory=lambda: {"fulfillment": [], "escalation": []})
    waiting: list[tuple[Process, "asyncio.Future[None]"]] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    calm: bool = False
    keys: set[tuple[str | None, str]] = field(default_factory=set)  # The provider's calls: execution and key.
    shipped: set[str] = field(default_factory=set)
    accepts: bool = True  # Whether the provider accepts the next new key.
    answers: dict[str, bool] = field(default_factory=dict)
    notified: Counter[str] = field(default_factory=Counter)
    erased: bool = False
    kills: int = 0
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    log: list[str] = field(default_factory=list)  # Shows the story of a seed that fails.
    failure: BaseException | None = None

    def now(self) -> str:
        """Return a time that is never the same again. After a minute comes midnight."""
        return clock.written(BEGIN + timedelta(seconds=next(self.numbers)))

    def change(self, order: Order, key: str | None, at: str) -> None:
        """Replace the stored order. *key* and *at* are what was written as its index key and its `UpdatedAt`."""
        self.orders[order.order_id], self.keys_of_orders[order.order_id] = order, key
        self.since[order.order_id] = at
        self.log.append(f"order {order.status} {order.execution_arn} {order.shipment_id}")

    def send(self, queue: str, body: str) -> None:
        self.queues[queue].append(Letter(body, f"m{next(self.numbers)}"))
        self.log.append(f"send {queue} {body}")

    def spawn(self, name: str, run: Callable[[Process], Awaitable[None]]) -> None:
        process = Process(self)

        async def running() -> None:
            try:
                await run(process)
                self.log.append(f"{name}: done")
            except KilledError:
                self.log.append(f"{name}: killed")
            except (OperationError, ResolutionError, ConflictError) as error:
                self.log.append(f"{name}: {type(error).__name__} {error}")

        self.log.append(f"{name}: starts")
        task = asyncio.get_running_loop().create_task(running())
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.log.append(f"error {error!r}")
            self.failure = error

    def letters(self) -> list[tuple[str, Letter]]:
        """Return the messages that are not settled, with their queues."""
        return [(queue, letter) for queue, letters in self.queues.items() for letter in letters if not letter.done]

    async def settle(self) -> None:
        """Let every process run until it waits for its turn."""
        quiet = 0
        while quiet < 12:
            before = len(self.waiting), len(self.tasks)
            await asyncio.sleep(0)
            quiet = quiet + 1 if before == (len(self.waiting), len(self.tasks)) else 0

    def turn(self, kill: bool) -> None:
        process, turn = self.waiting.pop(self.random.randrange(len(self.waiting)))
        if kill:
            self.kills += 1
            process.killed = True
        turn.set_result(None)

    # What processes do.

    def workflow(self, name: str, *, good: bool, malformed: bool = False) -> None:
        """Start an execution. It may be aborted at any step; then EventBridge's notice follows, perhaps twice."""
        arn = f"{PREFIX}:{name}"
        if arn in self.started:
            return
        self.started[arn] = started = next(self.numbers)

        async def run(process: Process) -> None:
            try:
                await process.step()
                resubmitted = False
                if not malformed:
                    old = self.orders.get(ID)
                    if old is not None and not (
                        old.status is OrderStatus.ESCALATED and self.started.get(old.execution_arn or "", -1) < started
                    ):
                        return
                    resubmitted = old is not None and self.random.random() < 0.8  # Version 1 does not say so.
                    at = self.now()
                    self.change(Order(ID, OrderStatus.RECEIVED, arn, name=NAME), status_key("RECEIVED", ID, at), at)
                    await process.step()
                if good and not malformed:
                    more = ', "Resubmitted": true' if resubmitted else ""
                    self.send("fulfillment", f'{{"OrderId": "{ID}", "ExecutionArn": "{arn}"{more}}}')
                    await process.step()
                else:
                    reason = Reason.MALFORMED_ORDER if malformed else Reason.INVALID_PRICE
                    self.escalate(arn, reason, Source.WORKFLOW, ID)
                    await process.step()
            except KilledError:
                for _ in range(self.random.choice((1, 2))):
                    self.escalate(arn, Reason.WORKFLOW_FAILED, Source.EVENTBRIDGE, None)

        self.spawn(f"workflow {name}", run)

    def escalate(self, arn: str, reason: Reason, source: Source, order_id: str | None) -> None:
        sent = OutgoingEscalation(order_id=order_id, reasons=(reason,), source=source, detail="why", execution_arn=arn)
        self.send("escalation", sent.body())

    def deliver(self, queue: str, letter: Letter) -> None:
        letter.receive_count += 1

        async def run(process: Process) -> None:
            handler = self._fulfillment(process) if queue == "fulfillment" else self._escalation(process)
            try:
                await handler.handle(message(letter.body, letter.id, letter.receive_count))
            except WorkerError as error:
                self.log.append(f"{letter.id}: released, {error!r}")
                return
            await process.step()
            letter.done = True

        self.spawn(f"{queue} {letter.id} #{letter.receive_count} {letter.body}", run)

    def _fulfillment(self, process: Process) -> FulfillmentHandler:
        orders: Any = OrderPort(self, process)
        queue: Any = QueuePort(self, process)
        return FulfillmentHandler(
            queue_name="OrderFulfillmentQueue",
            orders=orders,
            orders_to_ship=orders,
            escalations=queue,
            dead_letters=queue,
            provider=orders,
            max_attempts=5,
            max_ship_s=600,
            now=self.now,
        )

    def _escalation(self, process: Process) -> EscalationHandler:
        cases: Any = CasePort(self, process)
        queue: Any = QueuePort(self, process)
        return EscalationHandler(
            queue_name="EscalationQueue",
            cases=cases,
            dead_letters=queue,
            reminders=queue,
            trials=queue,
            rules=Rules((Rule(severity=Severity.WARNING, channels=("hook",)),)),
            router=Router([ChannelPort(self, process)], cases, now=self.now, retry_backoff=NO_WAIT),
            now=self.now,
            conflict_backoff=NO_WAIT,
        )

    def resolve(self, case_id: str, request: Request, price: str | None = None) -> None:
        async def run(process: Process) -> None:
            resolver = self._resolver(process)
            if price is None:
                await resolver.resolve(case_id, request)
            else:
                order = {"OrderId": ID, "Name": NAME, "ItemName": "B", "Price": price, "CC": "4" * 16}
                await resolver.resubmit(case_id, order, request)

        self.spawn(f"resolve {case_id} {request.action}", run)

    def cancel(self, request: Request) -> None:
        async def run(process: Process) -> None:
            await cancel_order(self._stack(process), ID, request)

        self.spawn("cancel", run)

    def erase(self) -> None:
        async def run(process: Process) -> None:
            stack = self._stack(process)
            found = await find_to_erase(stack, ID)
            await erase(stack, found, "grace")

        self.spawn("erase", run)

    def _resolver(self, process: Process) -> Resolver:
        ports: Any = OrderPort(self, process), CasePort(self, process), ExecutionPort(self, process)
        orders, cases, executions = ports
        return Resolver(orders=orders, cases=cases, executions=executions, now=self.now, conflict_backoff=NO_WAIT)

    async def resolve_case(self, stack: Any, case_id: str, request: Request, _order: object) -> None:
        """Stands in for the function of this name, whose clients are real."""
        try:
            await self._resolver(stack.process).resolve(case_id, request)
        except (ResolutionError, ConflictError) as error:
            raise OperationError(str(error)) from None

    def _stack(self, process: Process) -> Any:
        async def get_item(*, TableName: str, Key: Any, **_: Any) -> Any:  # noqa: N803
            await process.step()
            (key,) = from_item(Key).values()
            item = self.order_item(key) if TableName == "OrderTable" else self.case_item(key)
            return {} if item is None else {"Item": to_item(item)}

        async def update_item(*, ExpressionAttributeValues: Any, UpdateExpression: str, **_: Any) -> Any:  # noqa: N803
            await process.step()
            values, order = from_item(ExpressionAttributeValues), self.orders.get(ID)
            if order is None or (order.status, order.execution_arn) != (values[":before"], values.get(":execution")):
                raise refused("ConditionalCheckFailedException", "UpdateItem")
            at = values[":at"] if "CancelledAt" in UpdateExpression else None
            assert "OpenKey = :key" in UpdateExpression
            cancelled = replace(order, status=OrderStatus.CANCELLED, cancelled_at=at)
            self.change(cancelled, values[":key"], values[":at"])
            await process.step()
            return {}

        async def transact_write_items(*, TransactItems: Any) -> Any:  # noqa: N803
            await process.step()
            self._transact(TransactItems)
            await process.step()
            return {}

        def scan(**_: Any) -> Any:
            return [{"Items": [to_item(item)]} for item in map(self.case_item, list(self.cases)) if item is not None]

        client = FakeClient(
            get_item=get_item,
            update_item=update_item,
            transact_write_items=transact_write_items,
            scan=scan,
            describe_table=lambda **_: {"Table": {"TableArn": "arn"}},
            list_tags_of_resource=lambda **_: {"Tags": []},
        )
        stack: Any = fake_stack(dynamodb=client)
        stack.process, stack.world = process, self
        return stack

    def _transact(self, writes: list[Any]) -> None:
        """Apply the transaction of an erasure: its deletes, and the put of the marker."""
        marked, item = None, dict[str, Any]()
        for write in writes:
            if "Delete" in write:
                case = self.cases.get(write["Delete"]["Key"]["CaseId"]["S"])
                values = from_item(write["Delete"].get("ExpressionAttributeValues", {}))
                if (None if case is None else case.version) != values.get(":version"):
                    raise self._cancelled()
            else:
                values, order = from_item(write["Put"]["ExpressionAttributeValues"]), self.orders[ID]
                if (order.status, order.execution_arn) != (values[":status"], values.get(":execution")):
                    raise self._cancelled()
                item = from_item(write["Put"]["Item"])
                marked = Order(ID, order.status, order.execution_arn, cancelled_at=item.get("CancelledAt"))
        for write in writes:
            if "Delete" in write:
                self.cases.pop(write["Delete"]["Key"]["CaseId"]["S"], None)
        if marked is not None:
            self.change(marked, item.get("OpenKey"), item["UpdatedAt"])
            self.erased = True

    def _cancelled(self) -> Exception:
        error = refused("TransactionCanceledException", "TransactWriteItems")
        response: Any = error.response
        response["CancellationReasons"] = [{"Code": "ConditionalCheckFailed"}]
        return error

    def order_item(self, key: str) -> dict[str, Any] | None:
        order = self.orders.get(key)
        if order is None:
            return None
        return {
            "OrderId": key,
            "Status": order.status,
            "ExecutionArn": order.execution_arn,
            **({} if order.name is None else {"Name": order.name}),
            **({} if order.cancelled_at is None else {"CancelledAt": order.cancelled_at}),
        }

    def case_item(self, key: str) -> dict[str, Any] | None:
        case = self.cases.get(key)
        if case is None:
            return None
        return {
            "CaseId": key,
            "State": case.state,
            "Reasons": list(case.reasons),
            "Version": case.version,
            "ExecutionArns": list(case.execution_arns),
            "Routed": [],
            "Resolutions": [{"ExecutionArn": each.execution_arn} for each in case.resolutions],
            **({} if case.order_id is None else {"OrderId": case.order_id}),
            **({} if case.merged_into is None else {"MergedInto": case.merged_into}),
        }


@dataclass
class Port:
    """A port of one process. Before and after each effect, the process may be killed."""

    world: World
    process: Process


class OrderPort(Port):
    async def get(self, order_id: str) -> Order | None:
        await self.process.step()
        return self.world.orders.get(order_id)

    async def get_to_ship(self, order_id: str, execution_arn: str | None) -> Order | None:  # noqa: ARG002
        order = await self.get(order_id)
        case = self.world.cases.get(order_id)
        if order is not None:
            self.world.read.setdefault(order.execution_arn or "", self.world.now())
        if order is None or case is None:
            return order
        rejections = len({*case.rejected_executions} - {order.execution_arn})
        return replace(order, rejections=rejections, has_open_case=case.state is CaseState.OPEN)

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        await self.process.step()
        order = self.world.orders.get(order_id)
        if order is not None and order.status is OrderStatus.RECEIVED and order.belongs_to(execution_arn):
            order = replace(order, status=OrderStatus.FULFILLED, shipment_id=shipment_id, fulfilled_at=at)
            self.world.change(order, status_key("FULFILLED", order_id, at), at)
        await self.process.step()
        return order

    async def count_attempt(self, *_: object) -> int | None:
        await self.process.step()
        return None

    async def ship(self, order: Order) -> str:
        await self.process.step()
        self.world.keys.add((order.execution_arn, order.idempotency_key))
        self.world.log.append(f"ship {order.idempotency_key} for {order.execution_arn}")
        await self.process.step()
        if self.world.answers.setdefault(order.idempotency_key, self.world.accepts):  # The same for the same key.
            self.world.shipped.add(f"S-{order.idempotency_key}")
        else:
            raise RejectedError("no")
        return f"S-{order.idempotency_key}"


class CasePort(Port):
    async def get(self, case_id: str) -> Case | None:
        await self.process.step()
        return self.world.cases.get(case_id)

    async def read(
        self, case_id: str, order_id: str | None, execution_case_id: str | None = None
    ) -> tuple[Case | None, Order | None, Case | None]:
        await self.process.step()
        other = None if execution_case_id in {None, case_id} else self.world.cases.get(execution_case_id or "")
        return self.world.cases.get(case_id), self.world.orders.get(order_id or ""), other

    async def find_by_execution(self, execution_arn: str) -> str | None:
        await self.process.step()
        found = [case.case_id for case in self.world.cases.values() if case.execution_arns[-1:] == (execution_arn,)]
        found.sort(key=lambda case_id: case_id == execution_case_id(execution_arn))
        is_late = not self.world.calm and self.world.random.random() < 0.2
        return found[0] if found and not is_late else None

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        stored = None if order is None else (lambda: self.world.orders.get(order.order_id))
        await self.process.step()
        if order is not None and stored is not None:
            now = stored()
            if plan.escalates_order:
                self._check(now is not None and (now.status, now.execution_arn) == ("RECEIVED", order.execution_arn))
            elif plan.counts_rejection or (plan.routes and order.name is not None):
                self._check(now is not None and now.execution_arn == order.execution_arn and now.name == order.name)
        self._write(*(case for case in (plan.case, plan.merged) if case is not None))
        if plan.escalates_order and order is not None and plan.case is not None:
            key, at = written(WRITES.of_escalation(plan, plan.case, order))
            self.world.change(replace(order, status=OrderStatus.ESCALATED), key, at)
        await self.process.step()

    async def put(self, case: Case) -> None:
        await self.process.step()
        self._write(case)
        await self.process.step()

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        await self.process.step()
        if plan.case is None:
            return
        if plan.order_status is not None and order is not None:
            now = self.world.orders.get(order.order_id)
            self._check(now is not None and (now.status, now.execution_arn) == ("ESCALATED", order.execution_arn))
        self._write(plan.case)
        if plan.order_status is not None and order is not None:
            shipment = plan.case.resolutions[-1].shipment_id
            key, at = written(WRITES.of_resolution(plan, plan.case, order))
            self.world.change(replace(order, status=plan.order_status, shipment_id=shipment), key, at)
        await self.process.step()

    async def claim_reminder(self, case_id: str, handled: HandledReminder, forgotten_at: str) -> Case | None:
        await self.process.step()
        case = self.world.cases.get(case_id)
        if case is None or case.state is not CaseState.OPEN or case.episode != handled.episode:
            return None
        last = case.reminder
        if last is not None and last.at >= forgotten_at and last.episode >= handled.episode:
            same = (last.tries, last.message_id) == (handled.tries, handled.message_id)
            if last.tries >= handled.tries and not same:
                return None
        claimed = replace(case, reminder=handled, version=case.version + 1)
        self.world.cases[case_id] = claimed
        await self.process.step()
        return claimed

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        await self.process.step()
        stored = self.world.cases.get(case.case_id)
        if stored is not None and stored.episode == case.episode:
            self.world.cases[case.case_id] = replace(stored, routed=(*stored.routed, sent), version=stored.version + 1)
        await self.process.step()

    def _write(self, *cases: Case) -> None:
        for case in cases:
            stored = self.world.cases.get(case.case_id)
            self._check(case.version == (0 if stored is None else stored.version))
        before = {case.case_id: self.world.cases[case.case_id].episode if case.version else 0 for case in cases}
        for case in cases:
            self.world.cases[case.case_id] = replace(case, version=case.version + 1)
            if before[case.case_id] != case.episode:
                self.world.opened[case.case_id, case.episode] = self.world.now()
            self.world.log.append(
                f"case {case.case_id} {case.state} episode {case.episode} {[*map(str, case.reasons)]}"
                f" {[(each.action, each.actor) for each in case.resolutions]} merged {case.merged_into}"
            )

    def _check(self, holds: bool) -> None:
        if not holds:
            raise ConflictError("changed")


class QueuePort(Port):
    """Sends to the escalation queue. Delays do not matter: messages are delivered in any order."""

    async def send(self, message: OutgoingEscalation | OrderFinished | Reminder, *, delay_s: int = 0) -> None:  # noqa: ARG002
        await self.process.step()
        self.world.send("escalation", message.body())
        await self.process.step()


class ExecutionPort(Port):
    def arn(self, name: str) -> str:
        return f"{PREFIX}:{name}"

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        await self.process.step()
        self.world.workflow(name, good=order["Price"] == "1")
        await self.process.step()
        return self.arn(name)


class ChannelPort(Port):
    name = "hook"

    async def send(self, notification: Notification) -> None:
        await self.process.step()
        self.world.notified[notification.id] += 1
        await self.process.step()
        if not self.world.calm and self.world.random.random() < 0.2:
            raise ChannelError("refused", passing=False)
