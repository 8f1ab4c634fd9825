"""One message for each operation of the workers: what makes a worker call it, and how the message ends."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tests.answers.double import CASE, EXECUTION, Double
from workers.aws.cases import DynamoCases
from workers.aws.channels import SnsChannel
from workers.aws.orders import DynamoOrders
from workers.aws.orders_to_ship import DynamoOrdersToShip
from workers.aws.secrets import SecretToken
from workers.aws.senders import SqsEscalations, SqsReminders
from workers.aws.trials import DynamoTrials
from workers.backoff import Backoff
from workers.connections import Clients, Routes
from workers.consumer.consumer import Consumer
from workers.consumer.ports import Lines
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.domain.orders import Order
from workers.domain.reasons import Severity
from workers.domain.routing import Rule, Rules
from workers.errors import OutageError, TransientError
from workers.escalation.handler import EscalationHandler
from workers.escalation.notifications import Channel, Notification
from workers.escalation.router import Router
from workers.fulfillment.handler import FulfillmentHandler
from workers.fulfillment.providers import RejectedError
from workers.kinds import AnyWorker, Worker
from workers.metrics import Metrics
from workers.ports import DeadLetters
from workers.settings import Settings
from workers.wiring import assemble

ORDER_ID = "answer-1"
FULFILL = json.dumps({"OrderId": ORDER_ID, "ExecutionArn": EXECUTION})
ESCALATE = json.dumps(
    {"OrderId": ORDER_ID, "Reasons": ["INVALID_PRICE"], "Source": "workflow", "ExecutionArn": EXECUTION}
)
NOTICE = json.dumps(
    {"OrderId": None, "Reasons": ["WORKFLOW_FAILED"], "Source": "eventbridge", "ExecutionArn": EXECUTION}
)
WAITED = json.dumps(json.loads(NOTICE) | {"WaitingMessageId": "m0"})
RESUBMITTED = json.dumps(json.loads(FULFILL) | {"Resubmitted": True})
UNDECODABLE = "?"
NO_WAIT = Backoff(0, 0)
# Retries come at once.
QUICK = replace(
    DEFAULT_TIMINGS,
    poll_retry=Backoff(0.001, 0.002),
    probe=Backoff(0.001, 0.002),
    acknowledge_retry=Backoff(0.001, 0.002),
    extension_retry=Backoff(0.05, 0.1),
    max_batch_wait_s=0.001,
    suspected_receive_interval_s=0.01,
)


class FakeProvider:
    """Ships, after it has done what the scenario wants."""

    def __init__(self, behave: Callable[["FakeProvider", Order], Any]) -> None:
        self.behave = behave
        self.calls = 0
        self.token: SecretToken | None = None
        self.double: Double | None = None

    async def ship(self, order: Order) -> str:
        self.calls += 1
        await self.behave(self, order)
        return f"shipment-{order.order_id}"


async def ships(_provider: FakeProvider, _order: Order) -> None: ...


async def fails_once(provider: FakeProvider, _order: Order) -> None:
    if provider.calls == 1:
        raise TransientError("failed")


async def fails_until_that_is_counted(provider: FakeProvider, order: Order) -> None:
    assert provider.double is not None
    if "Attempts" not in provider.double.order(order.order_id):
        raise TransientError("failed")


async def refuses(_provider: FakeProvider, _order: Order) -> None:
    raise RejectedError("no")


async def reads_its_token(provider: FakeProvider, _order: Order) -> None:
    assert provider.token is not None
    await provider.token.current()


async def takes_until_extended(provider: FakeProvider, _order: Order) -> None:
    assert provider.double is not None
    await provider.double.until(lambda double: bool(double.extended))


class DownChannel:
    name = "pager"

    async def send(self, notification: Notification) -> None:
        raise OutageError(f"down for {notification.id}")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """
    A message that makes *worker* call *operation*, and the *outcome* of its last line.

    `attempts`: how many failed attempts the scenario itself counts on the order.
    """

    operation: str
    worker: Worker = Worker.FULFILLMENT
    body: str = FULFILL
    behave: Callable[[FakeProvider, Order], Any] | None = None
    channel: str | None = None
    outcome: str = "fulfilled"
    attempts: int = 0
    visibility_timeout_s: int = 60

    def done(self, double: Double) -> bool:
        """Return whether nothing was lost: the message is deleted, and what it stands for is written or sent."""
        if "m1" not in double.deleted:
            return False
        if self.outcome == "fulfilled":
            return bool(double.order(ORDER_ID)["Status"] == "FULFILLED")
        if self.outcome == "undecodable":
            return UNDECODABLE in double.sent.get("DLQ", [])
        if self.worker is Worker.FULFILLMENT or self.outcome == "postponed":
            return len(double.sent.get("EscalationQueue", [])) >= 1
        return any(table == CASE for table, _ in double.items)


SCENARIOS = {
    "receive": Scenario(operation="ReceiveMessage"),
    "delete": Scenario(operation="DeleteMessageBatch"),
    "extend": Scenario(operation="ChangeMessageVisibilityBatch", behave=takes_until_extended, visibility_timeout_s=4),
    "release": Scenario(operation="ChangeMessageVisibilityBatch", behave=fails_once, attempts=1),
    "look for a pause": Scenario(operation="ListQueueTags"),
    "batch write": Scenario(operation="BatchExecuteStatement"),
    "read an order": Scenario(operation="BatchGetItem", behave=ships),
    "count an attempt": Scenario(operation="UpdateItem", behave=fails_until_that_is_counted, attempts=1),
    "send an escalation": Scenario(operation="SendMessage", behave=refuses, outcome="escalated"),
    "send a dead letter": Scenario(operation="SendMessage", body=UNDECODABLE, outcome="undecodable"),
    "read the secret": Scenario(operation="GetSecretValue", behave=reads_its_token),
    "read a case": Scenario(operation="BatchGetItem", worker=Worker.ESCALATION, body=ESCALATE, outcome="routed"),
    "find a case": Scenario(operation="Query", worker=Worker.ESCALATION, body=WAITED, outcome="routed"),
    "postpone a notice": Scenario(operation="SendMessage", worker=Worker.ESCALATION, body=NOTICE, outcome="postponed"),
    "report an end": Scenario(operation="SendMessage", body=RESUBMITTED, outcome="already_fulfilled"),
    "transaction": Scenario(operation="TransactWriteItems", worker=Worker.ESCALATION, body=ESCALATE, outcome="routed"),
    "record a notification": Scenario(
        operation="UpdateItem", worker=Worker.ESCALATION, body=ESCALATE, channel="sns", outcome="routed"
    ),
    "send a reminder": Scenario(
        operation="SendMessage", worker=Worker.ESCALATION, body=ESCALATE, channel="down", outcome="deferred"
    ),
    "dead letter of an escalation": Scenario(
        operation="SendMessage", worker=Worker.ESCALATION, body=UNDECODABLE, outcome="undecodable"
    ),
    "notify": Scenario(operation="Publish", worker=Worker.ESCALATION, body=ESCALATE, channel="sns", outcome="deferred"),
}


async def consumer_of(scenario: Scenario, double: Double, metrics: Metrics, timings: Timings) -> Consumer:
    """Return the scenario's worker on *double*, started."""
    sdk: Any = double

    async def handler(
        worker: AnyWorker,
        settings: Settings,
        _clients: Clients,
        dead_letters: DeadLetters,
        metrics: Metrics,
        _lines: Lines | None,
    ) -> Any:
        if worker is Worker.FULFILLMENT:
            provider = None if scenario.behave is None else FakeProvider(scenario.behave)
            if provider is not None:
                provider.double, provider.token = double, SecretToken(double, "token")
            return FulfillmentHandler(
                queue_name="OrderFulfillmentQueue",
                orders=DynamoOrders(sdk, settings.order_table),
                orders_to_ship=DynamoOrdersToShip(sdk, settings.order_table, settings.escalation_table),
                escalations=SqsEscalations(sdk, "https://sqs/EscalationQueue"),
                dead_letters=dead_letters,
                provider=provider,
                max_attempts=settings.max_attempts,
                max_ship_s=settings.max_handle_s,
            )
        cases = DynamoCases(sdk, settings.escalation_table, settings.order_table)
        channels: dict[str, Channel] = {
            "down": DownChannel(),
            "sns": SnsChannel("pager", sdk, "arn:aws:sns:us-east-1:1:pager"),
        }
        used = [] if scenario.channel is None else [channels[scenario.channel]]
        rule = Rule(severity=Severity.WARNING, channels=tuple(channel.name for channel in used))
        return EscalationHandler(
            queue_name="EscalationQueue",
            cases=cases,
            dead_letters=dead_letters,
            reminders=SqsReminders(sdk, "https://sqs/EscalationQueue"),
            rules=Rules((rule,)),
            router=Router(used, cases, retry_backoff=NO_WAIT, outages=metrics.outages),
            conflict_backoff=NO_WAIT,
            trials=DynamoTrials(sdk, "EscalationTable"),
        )

    settings = Settings.read(
        {
            "WORKER_MAX_ATTEMPTS": "1000",
            "WORKER_MAX_DELIVERIES": "995",
            "WORKER_CONCURRENCY": "3",
            "WORKER_DRAIN_S": "1",
        }
    )
    clients = Clients(
        receiving=sdk, visibility=sdk, sqs=sdk, dynamodb=sdk, secretsmanager=sdk, routes=Routes(Rules(()))
    )
    return await assemble(
        scenario.worker, settings, clients, metrics, make_handler=handler, backoff=NO_WAIT, timings=timings
    )
