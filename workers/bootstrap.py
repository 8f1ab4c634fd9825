"""Wires a worker together and runs it: the one place that knows every part."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import aioboto3
import structlog
from aiobotocore.config import AioConfig
from aiohttp import ClientSession
from botocore.exceptions import BotoCoreError
from structlog.contextvars import bind_contextvars
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from workers.aws.cases import DynamoCases
from workers.aws.channels import SnsChannel, SqsChannel
from workers.aws.clients import (
    CONNECT_TIMEOUT_S,
    MAX_POLLS,
    READ_TIMEOUT_S,
    calling_config,
    channel_config,
    open_session,
    prepare,
    receiving_config,
)
from workers.aws.direct import direct_calls
from workers.aws.errors import CredentialsError, MissingResourceError
from workers.aws.metering import meter
from workers.aws.orders import DynamoOrders, check_table
from workers.aws.parsing import plain_session
from workers.aws.secrets import SecretToken
from workers.aws.sqs import SqsDeadLetters, SqsEscalations, SqsQueue, SqsReminders, describe_queue, queue_url
from workers.consumer.consumer import Consumer, Limits
from workers.consumer.ports import Handler
from workers.domain.routing import Rules
from workers.errors import AccessDeniedError, FatalError, OutageError
from workers.escalation_rules import ChannelTable, EscalationRules, SnsTopic, SqsTarget, Webhook
from workers.handlers.escalation import EscalationHandler
from workers.handlers.fulfillment import FulfillmentHandler
from workers.handlers.http_provider import HttpProvider, http_session
from workers.handlers.notifications import Channel
from workers.handlers.ports import DeadLetters
from workers.handlers.providers import Provider, load_provider
from workers.handlers.routing import TRY_S, Router
from workers.handlers.tokens import FixedToken, Token
from workers.handlers.webhook import WebhookChannel, webhook_session
from workers.metrics import Metrics
from workers.monitoring import monitoring
from workers.settings import Settings

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_sqs import SQSClient

log = structlog.get_logger(__name__)

T = TypeVar("T")

RETRY_BASE_S, RETRY_CAP_S = 0.5, 10.0  # While AWS cannot be reached at the start.
GC_THRESHOLD = 10_000  # New containers per collection, instead of 700: those in hand at once are not garbage.
SHIP_SHARE = 0.9  # Of WORKER_MAX_HANDLE_S: then a provider that hangs is a failed attempt, not a cancelled handler.
STUBBORN_S = 10.0  # What a stop may take beyond drain time and last poll: the flush, and closing connections.
QUEUE_MARGIN = 5  # Deliveries SQS must grant beyond ours: its own limit is the net below, never met before.


class Worker(StrEnum):
    FULFILLMENT = "fulfillment"
    ESCALATION = "escalation"


@dataclass(frozen=True, slots=True)
class Clients:
    """
    The SDK's clients, and what else has connections.

    Receives have a client of their own, so that long polls keep nothing else waiting.
    """

    receiving: "SQSClient"
    sqs: "SQSClient"
    dynamodb: "DynamoDBClient"
    secretsmanager: Any = None  # Its type stubs are a package of their own, for one call.
    http: ClientSession | None = None
    routing: "Routing | None" = None


@dataclass(frozen=True, slots=True)
class Routing:
    """What the escalation worker routes by, and to."""

    rules: Rules
    channels: tuple[Channel, ...] = ()


async def run(worker: Worker, settings: Settings) -> None:
    """
    Run *worker* until SIGTERM or SIGINT.

    Raises:
        FatalError: The worker cannot start, or cannot go on; the text is for the operator.
    """
    bind_contextvars(worker=worker.value, queue=_queue_name(worker, settings))
    stop = asyncio.Event()
    last_poll_s = settings.wait_s + CONNECT_TIMEOUT_S + READ_TIMEOUT_S  # One under way is let finish.
    _stop_on_signals(stop, max(settings.drain_s, last_poll_s) + STUBBORN_S)
    log.info("worker.starting", **settings.model_dump(exclude_none=True))
    rules = EscalationRules.read(settings.escalation_rules, os.environ) if worker is Worker.ESCALATION else None
    metrics = Metrics()
    state = _State()
    async with (
        monitoring(settings.health_port, health=state.health, readiness=state.readiness, registry=metrics.registry),
        _clients(worker, settings, rules, metrics) as clients,
    ):
        state.consumer = await _unless(stop, _assembled(worker, settings, clients, metrics))
        if state.consumer is not None:
            _spare_the_collector()
            log.info("worker.started")
            await _consume(state.consumer, stop)
    log.info("worker.stopped")


@dataclass(slots=True)
class _State:
    """What the monitoring endpoint tells, also while there is no consumer yet."""

    consumer: Consumer | None = None

    def health(self) -> str | None:
        return None if self.consumer is None else self.consumer.health_problem()

    def readiness(self) -> str | None:
        return "waiting for AWS" if self.consumer is None else self.consumer.readiness_problem()


async def _consume(consumer: Consumer, stop: asyncio.Event) -> None:
    try:
        await consumer.run(stop)
    except ExceptionGroup as group:
        if fatal := group.subgroup(FatalError):
            raise _first(fatal) from group
        raise


async def _assembled(worker: Worker, settings: Settings, clients: Clients, metrics: Metrics) -> Consumer:
    """Look up what the worker needs on AWS and put it together; wait for AWS as long as nothing answers there."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(OutageError),
        wait=wait_random_exponential(multiplier=RETRY_BASE_S, max=RETRY_CAP_S),
        before_sleep=_log_waiting,
    )
    return await retrying(_assemble, worker, settings, clients, metrics)


def _log_waiting(retry: RetryCallState) -> None:
    error = retry.outcome.exception() if retry.outcome else None
    delay_s = retry.next_action.sleep if retry.next_action else 0.0
    log.warning("aws.awaited", reason=str(error), attempt=retry.attempt_number, delay_ms=round(delay_s * 1000))


async def _assemble(worker: Worker, settings: Settings, clients: Clients, metrics: Metrics) -> Consumer:
    try:
        return await _build(worker, settings, clients, metrics)
    except (CredentialsError, MissingResourceError, AccessDeniedError) as error:
        raise FatalError(str(error)) from error


async def _build(worker: Worker, settings: Settings, clients: Clients, metrics: Metrics) -> Consumer:
    name = _queue_name(worker, settings)
    attributes = await describe_queue(clients.sqs, name)
    if settings.max_deliveries > attributes.max_receive_count - QUEUE_MARGIN:
        raise FatalError(
            f"WORKER_MAX_DELIVERIES is {settings.max_deliveries}, must be at most "
            f"{attributes.max_receive_count - QUEUE_MARGIN}: {name}'s maxReceiveCount less {QUEUE_MARGIN}"
        )
    for table in (settings.order_table, settings.escalation_table):
        await check_table(clients.dynamodb, table)
    queue = SqsQueue(
        name=name,
        url=attributes.url,
        visibility_timeout_s=attributes.visibility_timeout_s,
        wait_s=settings.wait_s,
        receiving=clients.receiving,
        sqs=clients.sqs,
    )
    dead_letters = SqsDeadLetters(clients.sqs, await queue_url(clients.sqs, attributes.dead_letter_queue), source=name)
    limits = Limits(
        concurrency=settings.concurrency,
        max_deliveries=settings.max_deliveries,
        max_handle_s=settings.max_handle_s,
        drain_s=settings.drain_s,
        max_polls=MAX_POLLS,
        stuck_poll_s=max(2 * settings.wait_s, settings.wait_s + CONNECT_TIMEOUT_S + 2 * READ_TIMEOUT_S),
    )
    return Consumer(queue, await _handler(worker, settings, clients, dead_letters, metrics), limits, metrics)


async def _handler(
    worker: Worker, settings: Settings, clients: Clients, dead_letters: DeadLetters, metrics: Metrics
) -> Handler:
    orders = DynamoOrders(clients.dynamodb, settings.order_table)
    cases = DynamoCases(clients.dynamodb, settings.escalation_table, settings.order_table)
    match worker:
        case Worker.FULFILLMENT:
            return FulfillmentHandler(
                queue_name=settings.order_fulfillment_queue,
                orders=orders,
                escalations=SqsEscalations(clients.sqs, await queue_url(clients.sqs, settings.escalation_queue)),
                dead_letters=dead_letters,
                provider=await _provider(settings, clients),
                max_attempts=settings.max_attempts,
                max_ship_s=SHIP_SHARE * settings.max_handle_s,
                rejections=cases,
            )
        case Worker.ESCALATION:
            assert clients.routing is not None, "no rules"  # noqa: S101 - a bug, not a condition.
            return EscalationHandler(
                queue_name=settings.escalation_queue,
                orders=orders,
                cases=cases,
                dead_letters=dead_letters,
                reminders=SqsReminders(clients.sqs, await queue_url(clients.sqs, settings.escalation_queue)),
                rules=clients.routing.rules,
                router=Router(clients.routing.channels, cases, metrics.notifications),
            )


async def _provider(settings: Settings, clients: Clients) -> Provider | None:
    if clients.http is None or settings.fulfillment_url is None:
        return load_provider(settings.fulfillment_provider)
    token: Token | None = None
    if settings.fulfillment_token is not None:
        token = FixedToken(settings.fulfillment_token.get_secret_value())
    elif settings.fulfillment_token_secret is not None:
        token = SecretToken(clients.secretsmanager, settings.fulfillment_token_secret)
        await token.current()  # Now rather than with the first order: a wrong name is told at the start.
    return HttpProvider(clients.http, settings.fulfillment_url, timeout_s=settings.fulfillment_timeout_s, token=token)


@asynccontextmanager
async def _clients(
    worker: Worker, settings: Settings, rules: EscalationRules | None, metrics: Metrics
) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        try:
            sdk, others = plain_session(), calling_config()
            session = open_session(sdk)
            receiving = session.client("sqs", config=receiving_config(settings.wait_s))
            clients = Clients(
                receiving=await stack.enter_async_context(receiving),
                sqs=await stack.enter_async_context(session.client("sqs", config=others)),
                dynamodb=await stack.enter_async_context(session.client("dynamodb", config=others)),
            )
            if worker is Worker.FULFILLMENT and settings.fulfillment_provider == "http":
                clients = replace(clients, http=await stack.enter_async_context(http_session(settings.concurrency)))
                if settings.fulfillment_token_secret is not None:
                    secretsmanager = await stack.enter_async_context(session.client("secretsmanager", config=others))
                    meter(secretsmanager, metrics.requests)
                    clients = replace(clients, secretsmanager=secretsmanager)
            if rules is not None:
                channels = await _channels(rules.channels, session, channel_config(TRY_S), stack)
                clients = replace(clients, routing=Routing(rules.rules, channels))
        except (BotoCoreError, ValueError) as error:
            raise FatalError(f"AWS access is not configured: {error}") from error
        for client in (clients.receiving, clients.sqs, clients.dynamodb):
            prepare(client, metrics.requests)
            await stack.enter_async_context(direct_calls(client, sdk))
        yield clients


async def _channels(
    tables: Mapping[str, ChannelTable], session: aioboto3.Session, config: AioConfig, stack: AsyncExitStack
) -> tuple[Channel, ...]:
    """Connect the channels of the rules, with connections of their own: one that hangs keeps nobody else waiting."""
    webhooks = await stack.enter_async_context(webhook_session())
    channels: list[Channel] = []
    for name, table in tables.items():
        match table:
            case SnsTopic():
                sns = await stack.enter_async_context(session.client("sns", region_name=table.region, config=config))
                channels.append(SnsChannel(name, sns, table.topic_arn))
            case SqsTarget():
                sqs = await stack.enter_async_context(session.client("sqs", config=config))
                channels.append(SqsChannel(name, sqs, table.queue))
            case Webhook():
                url, authorization = table.address(os.environ), table.authorization(os.environ)
                channels.append(WebhookChannel(name, webhooks, url, authorization))
    return tuple(channels)


def _spare_the_collector() -> None:
    """
    Have the garbage collector look only at what comes from now on.

    What is there by now, the SDK's models above all, is hundreds of thousands of objects that live as long as the
    process does: a full collection walks them all, 40 to 60 ms in which nothing else happens. With this and the
    threshold, orders spend under 1 % of their CPU time on collections instead of 5.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """Await *work*, but only until *stop* is set; None where it was."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return None
    return working.result()


def _queue_name(worker: Worker, settings: Settings) -> str:
    return settings.order_fulfillment_queue if worker is Worker.FULFILLMENT else settings.escalation_queue


def _first(group: ExceptionGroup[FatalError]) -> FatalError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


def _stop_on_signals(stop: asyncio.Event, at_most_s: float) -> None:
    """
    Set *stop* at the first SIGTERM or SIGINT; the second one ends the process at once.

    So does a handler that keeps it alive in spite of being cancelled, after *at_most_s* seconds.
    """
    loop = asyncio.get_running_loop()

    def end() -> None:
        log.critical("worker.failed", reason="a handler does not end although it was cancelled")
        os._exit(1)  # What it has in hand becomes visible again by itself.

    def stop_then_default(received: signal.Signals) -> None:
        log.info("signal.received", signal=received.name)
        stop.set()
        loop.call_later(at_most_s, end)
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop_then_default, each)
