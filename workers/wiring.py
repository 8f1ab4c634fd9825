"""
Builds a worker's consumer: looks up its resources on AWS and wires every part together.

This is the one composition root, and the only module that knows all parts. `connections` opens the clients that are
passed in here; `runner` runs the resulting consumer.
"""

from collections.abc import Awaitable, Callable

from workers.aws.cases import DynamoCases
from workers.aws.operations import CASES, ORDERS, ORDERS_TO_SHIP, TRIALS
from workers.aws.orders import DynamoOrders, check_table
from workers.aws.orders_to_ship import DynamoOrdersToShip
from workers.aws.pauses import SqsPauses
from workers.aws.sdk.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from workers.aws.secrets import SecretToken
from workers.aws.senders import SqsDeadLetters, SqsEscalations, SqsReminders
from workers.aws.sqs import SqsQueue, describe_queue, queue_url
from workers.aws.trials import DynamoTrials
from workers.backoff import Backoff
from workers.connections import Clients
from workers.consumer.consumer import Consumer, Limits
from workers.consumer.ports import Handler, Lines
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.domain.retention import Retention
from workers.errors import FatalError
from workers.escalation.handler import EscalationHandler
from workers.escalation.router import Router
from workers.fulfillment.handler import FulfillmentHandler
from workers.fulfillment.http_provider import HttpProvider
from workers.fulfillment.providers import Provider, load_provider
from workers.fulfillment.tokens import FixedToken, Token
from workers.kinds import AnyWorker, Worker
from workers.metrics import Metrics
from workers.own.decoding import decoder
from workers.own.handler import OwnHandler
from workers.own.loading import Handling, Opening
from workers.own.opening import opened_handler
from workers.ports import DeadLetters
from workers.proxies import proxy_for
from workers.service_calls import PROVIDER, ServiceCalls
from workers.settings import Settings
from workers.start import PATIENCE_S, START_BACKOFF, Start

# The share of WORKER_MAX_HANDLE_S that a call to the provider may take. If the provider hangs, that counts as a failed
# attempt before the handler is cancelled.
SHIP_SHARE = 0.9
# The shortest visibility timeout that receives ask for. When a long poll returns, its messages may have been invisible
# since it began, up to 20 s ago. The remaining 10 s are enough for several attempts to extend the timeout.
MIN_VISIBILITY_TIMEOUT_S = 30
QUEUE_MARGIN = 5  # Deliveries that SQS must allow beyond WORKER_MAX_DELIVERIES: its own redrive is only a backstop.

MakeHandler = Callable[[AnyWorker, Settings, Clients, DeadLetters, Metrics, Lines | None], Awaitable[Handler]]


async def make_handler(  # noqa: PLR0917 - all that a handler is made of.
    worker: AnyWorker,
    settings: Settings,
    clients: Clients,
    dead_letters: DeadLetters,
    metrics: Metrics,
    lines: Lines | None = None,
) -> Handler:
    """Return the handler of *worker*'s messages, which is one of ours."""
    assert isinstance(worker, Worker), worker  # noqa: S101 - your own workers have `own_handler`.
    assert clients.dynamodb is not None, "no client for DynamoDB"  # noqa: S101 - only a bug fails it.
    escalations = settings.queue_of(Worker.ESCALATION)
    retention = Retention(settings.order_retention_days)
    tracing, sender = clients.tracing, clients.tracing.sender(clients.sqs)
    match worker:
        case Worker.FULFILLMENT:
            provider = await _provider(settings, clients)
            return FulfillmentHandler(
                queue_name=settings.queue_of(worker).name,
                orders=tracing.table(
                    DynamoOrders(clients.dynamodb, settings.order_table, retention=retention),
                    settings.order_table,
                    ORDERS,
                ),
                orders_to_ship=tracing.table(
                    DynamoOrdersToShip(clients.dynamodb, settings.order_table, settings.escalation_table),
                    settings.order_table,
                    ORDERS_TO_SHIP,
                ),
                escalations=SqsEscalations(sender, await queue_url(clients.sqs, escalations)),
                dead_letters=dead_letters,
                provider=None if provider is None else tracing.port(provider, "ship order", "ship"),
                max_attempts=settings.max_attempts,
                max_ship_s=SHIP_SHARE * settings.max_handle_s,
                # Without a provider, no metric says whether it works.
                provider_calls=ServiceCalls(PROVIDER) if provider is None else metrics.services.service(PROVIDER),
            )
        case Worker.ESCALATION:
            assert clients.routes is not None, "no rules"  # noqa: S101 - only a bug fails it.
            cases = tracing.table(
                DynamoCases(clients.dynamodb, settings.escalation_table, settings.order_table, retention=retention),
                settings.escalation_table,
                CASES,
            )
            return EscalationHandler(
                queue_name=settings.queue_of(worker).name,
                cases=cases,
                dead_letters=dead_letters,
                reminders=SqsReminders(sender, await queue_url(clients.sqs, escalations)),
                trials=tracing.table(
                    DynamoTrials(clients.dynamodb, settings.escalation_table), settings.escalation_table, TRIALS
                ),
                rules=clients.routes.rules,
                router=Router(
                    clients.routes.channels,
                    cases,
                    metrics.notifications,
                    outages=metrics.outages,
                    services=metrics.services,
                    lines=lines,
                ),
            )


def own_handler(loaded: Handling | Opening) -> MakeHandler:
    """Return what makes the handler of a worker of your own."""

    async def make(
        _worker: AnyWorker,
        settings: Settings,
        clients: Clients,
        dead_letters: DeadLetters,
        _metrics: Metrics,
        _lines: Lines | None = None,
    ) -> Handler:
        handler = await opened_handler(loaded, clients.opened)
        return OwnHandler(
            call=handler.handle,
            decode=decoder(handler.model),
            dead_letters=dead_letters,
            max_attempts=settings.max_attempts,
            max_deliveries=settings.max_deliveries,
        )

    return make


async def assemble(
    worker: AnyWorker,
    settings: Settings,
    clients: Clients,
    metrics: Metrics,
    *,
    make_handler: MakeHandler = make_handler,
    backoff: Backoff = START_BACKOFF,
    patience_s: float = PATIENCE_S,
    timings: Timings = DEFAULT_TIMINGS,
    lines: Lines | None = None,
) -> Consumer:
    """
    Return *worker*'s consumer. Problems that may pass by themselves are logged, and the call is tried again (`Start`).

    Raises:
        FatalError: Waiting would not help, or has not helped: a resource is missing, AWS refuses the credentials or
            access, or the settings do not fit.
    """
    start = Start(metrics.outages, backoff, patience_s)
    return await start.until_done(
        lambda: _assemble(worker, settings, clients, metrics, make_handler=make_handler, timings=timings, lines=lines)
    )


async def _assemble(
    worker: AnyWorker,
    settings: Settings,
    clients: Clients,
    metrics: Metrics,
    *,
    make_handler: MakeHandler,
    timings: Timings,
    lines: Lines | None,
) -> Consumer:
    address = settings.queue_of(worker)
    hint = {} if isinstance(worker, Worker) else {"hint": "create it, or correct --queue"}
    attributes, name = await describe_queue(clients.sqs, address, **hint), address.name
    if settings.max_deliveries > attributes.max_receive_count - QUEUE_MARGIN:
        raise FatalError(
            f"WORKER_MAX_DELIVERIES is {settings.max_deliveries}, must be at most "
            f"{attributes.max_receive_count - QUEUE_MARGIN}: {name}'s maxReceiveCount less {QUEUE_MARGIN}; "
            f"or raise maxReceiveCount to {settings.max_deliveries + QUEUE_MARGIN}"
        )
    if clients.dynamodb is not None:
        for table in (settings.order_table, settings.escalation_table):
            await check_table(clients.dynamodb, table)
    queue = SqsQueue(
        name=name,
        url=attributes.url,
        visibility_timeout_s=max(MIN_VISIBILITY_TIMEOUT_S, attributes.visibility_timeout_s),
        wait_s=settings.wait_s,
        receiving=clients.receiving,
        visibility=clients.visibility,
        sqs=clients.sqs,
        traced=clients.tracing.is_on,
    )
    dead_letters = SqsDeadLetters(
        clients.tracing.sender(clients.sqs),
        await queue_url(clients.sqs, attributes.dead_letter_queue, f"the RedrivePolicy of {name} names it"),
        source=name,
    )
    limits = Limits(
        concurrency=settings.concurrency,
        max_deliveries=settings.max_deliveries,
        max_handle_s=settings.max_handle_s,
        drain_s=settings.drain_s,
        max_polls=settings.max_polls,
        per_second=settings.fulfillment_rate if worker is Worker.FULFILLMENT else None,
        stuck_poll_s=settings.wait_s + CONNECT_TIMEOUT_S + 2 * READ_TIMEOUT_S,
    )
    handler = await make_handler(worker, settings, clients, dead_letters, metrics, lines)
    pauses = SqsPauses(clients.sqs, attributes.url)
    in_flight = clients.tracing.in_flight(name)
    return Consumer(queue, handler, limits, metrics, timings, lines=lines, pauses=pauses, in_flight=in_flight)


async def _provider(settings: Settings, clients: Clients) -> Provider | None:
    if clients.http is None or settings.fulfillment_url is None:
        return load_provider(settings.fulfillment_provider, concurrency=settings.concurrency)
    token: Token | None = None
    if settings.fulfillment_token is not None:
        token = FixedToken(settings.fulfillment_token.get_secret_value())
    elif settings.fulfillment_token_secret is not None:
        token = SecretToken(clients.secretsmanager, settings.fulfillment_token_secret)
        await token.current()  # Read it now, so that a wrong name ends the start and not the first order.
    return HttpProvider(
        clients.http,
        settings.fulfillment_url,
        timeout_s=settings.fulfillment_timeout_s,
        token=token,
        proxy=proxy_for(settings.fulfillment_url),
    )
