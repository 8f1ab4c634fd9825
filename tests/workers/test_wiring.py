"""A worker is assembled from what AWS says about its resources."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from tests.workers.domain.examples import THEN, case
from workers.aws.senders import SqsDeadLetters
from workers.aws.sqs import SqsQueue
from workers.backoff import Backoff
from workers.connections import Clients, Routes
from workers.consumer.consumer import Consumer, Limits
from workers.consumer.in_flight import InFlight
from workers.domain.cases import CaseState
from workers.domain.routing import Rules
from workers.errors import FatalError
from workers.escalation.handler import EscalationHandler
from workers.fulfillment.handler import FulfillmentHandler
from workers.kinds import OwnWorker, Worker
from workers.metrics import Metrics
from workers.own.loading import load
from workers.queue_address import QueueAddress
from workers.settings import Settings
from workers.tracing.off import Tracing
from workers.wiring import assemble, make_handler, own_handler

if TYPE_CHECKING:
    from workers.fulfillment.tokens import Token
    from workers.proxies import Proxy

AT_ONCE = Backoff(base_s=0.0, cap_s=0.0)
ENDPOINT = "http://127.0.0.1:1/"


def refused(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "prose"}}, operation)


class FakeAws:
    """The calls of SQS and DynamoDB that a start makes. The first calls raise `errors`, one after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked: list[str] = []
        self.max_receive_count = 100
        self.visibility_timeout_s = 60

    async def get_queue_url(
        self,
        *,
        QueueName: str,  # noqa: N803 - the SDK's name.
        QueueOwnerAWSAccountId: str = "",  # noqa: N803
    ) -> dict[str, str]:
        self._fail_or_note(QueueOwnerAWSAccountId + QueueName)
        return {"QueueUrl": f"https://sqs/{QueueName}"}

    async def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        redrive = f'{{"deadLetterTargetArn": "arn:aws:sqs:x:1:DLQ", "maxReceiveCount": {self.max_receive_count}}}'
        return {"Attributes": {"VisibilityTimeout": str(self.visibility_timeout_s), "RedrivePolicy": redrive}}

    async def describe_table(self, *, TableName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
        self._fail_or_note(TableName)
        return {}

    def _fail_or_note(self, name: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.asked.append(name)


def clients(aws: Any) -> Clients:
    return Clients(receiving=aws, visibility=aws, sqs=aws, dynamodb=aws, routes=Routes(Rules(())))


async def assembled(aws: FakeAws, worker: Worker = Worker.FULFILLMENT, **settings: str) -> Consumer:
    return await assemble(worker, Settings.read(settings), clients(aws), Metrics(), backoff=AT_ONCE)


@pytest.mark.parametrize(
    ("worker", "queue"), [(Worker.FULFILLMENT, "OrderFulfillmentQueue"), (Worker.ESCALATION, "EscalationQueue")]
)
async def test_every_resource_is_looked_up_at_the_start(worker: Worker, queue: str) -> None:
    aws = FakeAws()
    await assembled(aws, worker)
    assert aws.asked == [queue, "OrderTable", "EscalationTable", "DLQ", "EscalationQueue"]


@pytest.mark.parametrize("worker", Worker)
async def test_queues_in_another_account_are_looked_up_there_and_known_by_their_names(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, account, names = FakeAws(), "111122223333", list[str]()
    monkeypatch.setattr(
        "workers.wiring.Consumer", lambda queue, handler, *_, **__: names.extend([queue.name, handler.queue_name])
    )
    await assembled(
        aws,
        worker,
        ORDER_FULFILLMENT_QUEUE=f"http://localhost:4566/{account}/Q",
        ESCALATION_QUEUE=f"http://localhost:4566/{account}/Q",
    )
    assert aws.asked == [f"{account}Q", "OrderTable", "EscalationTable", f"{account}DLQ", f"{account}Q"]
    assert names == ["Q", "Q"]


async def test_an_outage_at_the_start_is_logged_and_tried_again() -> None:
    aws = FakeAws(EndpointConnectionError(endpoint_url=ENDPOINT), refused("ThrottlingException", "DescribeTable"))
    with structlog.testing.capture_logs() as logs:
        await assembled(aws)
    assert logs == [
        {"event": "aws.unavailable", "log_level": "warning", "reason": reason, "attempt": attempt, "delay_ms": 0}
        for attempt, reason in enumerate(
            [f"endpoint connection error at {ENDPOINT}", "DescribeTable: ThrottlingException"], start=1
        )
    ]
    assert aws.asked[-1] == "EscalationQueue"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (NoCredentialsError(), "no AWS credentials: Unable to locate credentials"),
        (refused("InvalidClientTokenId", "GetQueueUrl"), "GetQueueUrl: AWS refuses the credentials "),
        (refused("SignatureDoesNotMatch", "GetQueueUrl"), "GetQueueUrl: AWS refuses the credentials "),
        (refused("RequestTimeTooSkewed", "GetQueueUrl"), "GetQueueUrl: AWS refuses the credentials "),
        (refused("UnknownOperationException", "GetQueueUrl"), "GetQueueUrl: the endpoint does not know this call "),
        (refused("QueueDoesNotExist", "GetQueueUrl"), "there is no queue OrderFulfillmentQueue: "),
    ],
)
async def test_what_waiting_cannot_fix_ends_the_start_at_once(error: Exception, line: str) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(FatalError) as raised:
        await assembled(FakeAws(error))
    assert str(raised.value).startswith(line)
    assert logs == []


async def test_a_missing_table_ends_the_start() -> None:
    aws = FakeAws()

    async def describe_table(*, TableName: str) -> Any:  # noqa: N803 - the SDK's name.
        raise refused("ResourceNotFoundException", TableName)

    aws.describe_table = describe_table  # type: ignore[method-assign]
    with pytest.raises(FatalError, match=r"^there is no table OrderTable: "):
        await assembled(aws)


async def test_sqs_must_allow_five_deliveries_more_than_the_worker() -> None:
    aws = FakeAws()
    aws.max_receive_count = 20
    await assembled(aws, WORKER_MAX_DELIVERIES="15")
    with pytest.raises(FatalError) as raised:
        await assembled(aws, WORKER_MAX_DELIVERIES="16")
    assert str(raised.value) == (
        "WORKER_MAX_DELIVERIES is 16, must be at most 15: OrderFulfillmentQueue's maxReceiveCount less 5; "
        "or raise maxReceiveCount to 21"
    )


@pytest.mark.parametrize(("of_the_queue_s", "asked_for_s"), [(0, 30), (29, 30), (60, 60)])
async def test_messages_stay_invisible_for_30_seconds_at_least(
    of_the_queue_s: int, asked_for_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, queues = FakeAws(), list[SqsQueue]()
    aws.visibility_timeout_s = of_the_queue_s
    monkeypatch.setattr("workers.wiring.Consumer", lambda queue, *_, **__: queues.append(queue))
    await assembled(aws)
    assert [queue.visibility_timeout_s for queue in queues] == [asked_for_s]


@pytest.mark.parametrize(
    ("worker", "expected"), [(Worker.FULFILLMENT, FulfillmentHandler), (Worker.ESCALATION, EscalationHandler)]
)
async def test_each_worker_has_its_handler(worker: Worker, expected: type) -> None:
    aws: Any = FakeAws()
    dead_letters = SqsDeadLetters(aws, "https://sqs/DLQ", source="queue")
    handler = await make_handler(worker, Settings.read({}), clients(aws), dead_letters, Metrics())
    assert type(handler) is expected


async def test_a_call_to_the_provider_ends_before_its_handler_is_cancelled() -> None:
    aws: Any = FakeAws()
    dead_letters = SqsDeadLetters(aws, "https://sqs/DLQ", source="queue")
    settings = Settings.read({"WORKER_MAX_HANDLE_S": "100"})
    handler = await make_handler(Worker.FULFILLMENT, settings, clients(aws), dead_letters, Metrics())
    assert isinstance(handler, FulfillmentHandler)
    assert handler.max_ship_s == 90


@pytest.mark.parametrize(
    ("provider", "shown"), [("", []), ("tests.workers.fulfillment.test_stops:SlowProvider", ["provider"])]
)
async def test_the_metrics_show_whether_a_provider_works_if_there_is_one(provider: str, shown: list[str]) -> None:
    aws: Any = FakeAws()
    dead_letters = SqsDeadLetters(aws, "https://sqs/DLQ", source="queue")
    settings, metrics = Settings.read({"FULFILLMENT_PROVIDER": provider} if provider else {}), Metrics()
    await make_handler(Worker.FULFILLMENT, settings, clients(aws), dead_letters, metrics)
    up = next(family for family in metrics.registry.collect() if family.name == "workers_service_up")
    assert [sample.labels["service"] for sample in up.samples] == shown


@pytest.mark.parametrize("worker", Worker)
async def test_every_part_of_a_worker_passes_through_tracing(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    passed, queues = list[str](), list[SqsQueue]()

    class Noted(Tracing):
        is_on = True

        def in_flight(self, queue: str) -> type[InFlight]:
            passed.append(f"in_flight {queue}")
            return InFlight

        def table(self, port: Any, table: str, operations: Mapping[str, str]) -> Any:
            assert all(hasattr(port, method) for method in operations)
            passed.append(f"{type(port).__name__} {table}")
            return port

        def port(self, port: Any, name: str, *_methods: str) -> Any:
            passed.append(name)
            return port

        def sender(self, client: Any) -> Any:
            passed.append("sender")
            return client

    monkeypatch.setattr("workers.wiring.Consumer", lambda queue, *_, **__: queues.append(queue))
    settings = Settings.read({"FULFILLMENT_PROVIDER": "tests.integration.providers:ScriptedProvider"})
    await assemble(worker, settings, replace(clients(FakeAws()), tracing=Noted()), Metrics())
    assert [queue.traced for queue in queues] == [True]
    assert (
        sorted(passed)
        == {
            Worker.FULFILLMENT: [
                "DynamoOrders OrderTable",
                "DynamoOrdersToShip OrderTable",
                "in_flight OrderFulfillmentQueue",
                "sender",
                "sender",
                "ship order",
            ],
            Worker.ESCALATION: [
                "DynamoCases EscalationTable",
                "DynamoTrials EscalationTable",
                "in_flight EscalationQueue",
                "sender",
                "sender",
            ],
        }[worker]
    )


async def test_a_handler_can_be_injected() -> None:
    aws, made = FakeAws(), list[tuple[Any, ...]]()

    async def make(*parts: Any) -> Any:
        made.append(parts)

    await assemble(Worker.FULFILLMENT, Settings.read({}), clients(aws), Metrics(), make_handler=make)
    ((worker, _, _, dead_letters, _, _),) = made
    assert (worker, dead_letters.url, dead_letters.source) == (
        *(Worker.FULFILLMENT, "https://sqs/DLQ"),
        "OrderFulfillmentQueue",
    )


async def test_a_worker_of_your_own_needs_only_its_queue_with_a_dead_letter_queue() -> None:
    aws = FakeAws()
    worker = OwnWorker("shop", QueueAddress.parse("Returns"))
    given = replace(clients(aws), dynamodb=None)
    loaded = load("tests.workers.own.handlers:of_model")
    await assemble(worker, Settings.read_shared({}), given, Metrics(), make_handler=own_handler(loaded))
    assert aws.asked == ["Returns", "DLQ"]
    aws.errors = [refused("QueueDoesNotExist", "GetQueueUrl")]
    with pytest.raises(FatalError, match=r"^there is no queue Returns: create it, or correct --queue$"):
        await assemble(worker, Settings.read_shared({}), given, Metrics(), make_handler=own_handler(loaded))


@pytest.mark.parametrize(("excepted", "address"), [("", "proxy.example:3128"), ("example.com", None)])
async def test_the_provider_is_called_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, excepted: str, address: str | None
) -> None:
    proxies: list[Proxy | None] = []
    monkeypatch.setenv("https_proxy", "http://ops:s3cret@proxy.example:3128")
    monkeypatch.setenv("no_proxy", excepted)
    monkeypatch.setattr("workers.wiring.HttpProvider", lambda *_, proxy, **__: proxies.append(proxy))
    settings = Settings.read({"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": "https://ship.example.com/orders"})
    given = replace(clients(FakeAws()), http=cast("Any", object()))
    await assemble(Worker.FULFILLMENT, settings, given, Metrics(), backoff=AT_ONCE)
    assert [proxy and proxy.address for proxy in proxies] == [address]


class Secrets:
    """AWS Secrets Manager with one secret, or with none."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret

    async def get_secret_value(self, **_: Any) -> dict[str, str]:
        if self.secret is None:
            raise refused("ResourceNotFoundException", "GetSecretValue")
        return {"SecretString": self.secret}


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ({}, None),
        ({"FULFILLMENT_TOKEN": "t0ken"}, "t0ken"),
        ({"FULFILLMENT_TOKEN_SECRET": "token"}, "from-the-secret"),
    ],
)
async def test_the_provider_has_the_token_of_the_settings_or_of_the_secret(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], token: str | None
) -> None:
    tokens: list[Token | None] = []
    monkeypatch.setattr("workers.wiring.HttpProvider", lambda *_, token, **__: tokens.append(token))
    http = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": "https://ship.example.com/orders"} | settings
    secrets = Secrets("from-the-secret")
    given = replace(clients(FakeAws()), http=cast("Any", object()), secretsmanager=secrets)
    await assemble(Worker.FULFILLMENT, Settings.read(http), given, Metrics(), backoff=AT_ONCE)
    secrets.secret = None  # It was read at the start.
    assert [each and await each.current() for each in tokens] == [token]
    if "FULFILLMENT_TOKEN_SECRET" in settings:
        with pytest.raises(FatalError, match=r"the secret does not exist$"):
            await assemble(Worker.FULFILLMENT, Settings.read(http), given, Metrics(), backoff=AT_ONCE)


class Writes(FakeAws):
    """Accepts the writes of both workers, and keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []

    async def batch_execute_statement(self, *, Statements: list[Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        self.written += Statements
        return {"Responses": [{} for _ in Statements]}

    async def transact_write_items(self, *, TransactItems: list[Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        self.written += TransactItems
        return {}


@pytest.mark.parametrize(("settings", "expires"), [({"ORDER_RETENTION_DAYS": "90"}, True), ({}, False)])
async def test_both_workers_know_how_long_orders_and_cases_are_kept(settings: dict[str, str], expires: bool) -> None:
    aws, dead_letters = Writes(), cast("Any", None)
    for worker in Worker:
        handler = await make_handler(worker, Settings.read(settings), clients(aws), dead_letters, Metrics())
        match handler:
            case FulfillmentHandler():
                await handler.orders.fulfill("001", None, "S-1", THEN)
            case EscalationHandler():
                await cast("Any", handler.cases).put(case(state=CaseState.RESOLVED))
    assert ["ExpiresAt" in str(write) for write in aws.written] == [expires, expires]


@pytest.mark.parametrize(("worker", "limit"), [(Worker.FULFILLMENT, 2.5), (Worker.ESCALATION, math.inf)])
async def test_the_rate_is_that_of_the_fulfillment_worker_only(worker: Worker, limit: float) -> None:
    metrics = Metrics()
    await assemble(worker, Settings.read({"FULFILLMENT_RATE": "2.5"}), clients(FakeAws()), metrics)
    assert metrics.registry.get_sample_value("workers_rate_limit") == limit


@pytest.mark.parametrize(("wait_s", "stuck_s"), [("20", 43), ("1", 24)])
async def test_a_receive_is_stuck_when_it_could_have_been_tried_twice(
    wait_s: str, stuck_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[float] = []

    class Limited(Consumer):
        def __init__(self, queue: Any, handler: Any, limits: Limits, *others: Any, **more: Any) -> None:
            found.append(limits.stuck_poll_s)
            super().__init__(queue, handler, limits, *others, **more)

    monkeypatch.setattr("workers.wiring.Consumer", Limited)
    await assembled(FakeAws(), WORKER_WAIT_S=wait_s)
    assert found == [stuck_s]
