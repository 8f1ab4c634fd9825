"""
Opens a worker's connections: the SDK's clients, HTTP sessions, and the channels of the escalation rules.

`open_clients` yields them for the length of a `with` block and closes them in reverse order. Opening them sends
nothing: `wiring` makes the first call on them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from aiohttp import ClientSession
from botocore.exceptions import BotoCoreError

from workers.aws.channels import SnsChannel, SqsChannel
from workers.aws.errors import CredentialsError, CredentialsSourceError, translated
from workers.aws.outgoing import is_refusal
from workers.aws.sdk.clients import calling_config, channel_config, open_session, receiving_config
from workers.aws.sdk.direct import direct
from workers.aws.sdk.metering import Meter
from workers.aws.sdk.parsing import plain_session
from workers.aws.sdk.request_log import log_requests
from workers.domain.routing import Rules
from workers.errors import FatalError, SuspectedOutageError
from workers.escalation.notifications import Channel
from workers.escalation.router import SEND_TIMEOUT_S
from workers.escalation.rules.reader import EscalationRules
from workers.escalation.rules.tables import ChannelTable, SnsTopic, SqsTarget, Webhook
from workers.escalation.webhook import WebhookChannel, webhook_session
from workers.fulfillment.http_provider import http_session
from workers.kinds import AnyWorker, Worker
from workers.metrics import Metrics
from workers.opened import Opened
from workers.proxies import proxy_for
from workers.settings import Settings
from workers.tracing.off import NO_TRACING, Tracing
from workers.tracing.opening import open_tracing

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_sqs import SQSClient


@dataclass(frozen=True, slots=True)
class Routes:
    """The escalation worker's rules, and the channels they send to."""

    rules: Rules
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Clients:
    """
    A worker's open connections. A connection that the worker does not need is None.

    Receives have a client of their own, so that long polls do not keep other calls waiting. Changes of visibility have
    one too, without retries: in a retry, the SDK might send a receipt that has run out meanwhile. The consumer retries
    these changes itself. What the handler opens for itself is closed before the connections.
    """

    receiving: "SQSClient"
    visibility: "SQSClient"
    sqs: "SQSClient"
    dynamodb: "DynamoDBClient | None" = None
    secretsmanager: Any = None  # Any: its type stubs would be one more package, for one call.
    http: ClientSession | None = None
    routes: Routes | None = None
    tracing: Tracing = NO_TRACING
    opened: Opened = field(default_factory=Opened)


async def fetch_credentials(sdk: "AioSession") -> None:
    """
    Fetch the SDK's credentials; the SDK keeps them.

    Otherwise the first client would fetch them, and fail at the first error.

    Raises:
        CredentialsError: A file that the credentials need cannot be read or run.
        CredentialsSourceError: Their source fails: the container's endpoint, a command, a plugin.
        OutageError: AWS fails while the SDK assumes a role.
    """
    try:
        with translated():
            open_session(sdk)  # Sets the region, which is needed to assume a role.
            await sdk.get_credentials()
    except CredentialsError as error:
        if isinstance(error.__cause__, OSError):
            raise
        return  # No credentials, or the SDK is not configured: opening the clients raises an error that says so.
    except SuspectedOutageError as error:
        if isinstance(error.__cause__, ValueError):
            return  # Not configured correctly either: for example, an address that the SDK does not allow.
        raise CredentialsSourceError(f"no AWS credentials: {error}") from error


@asynccontextmanager
async def open_clients(
    worker: AnyWorker,
    settings: Settings,
    rules: EscalationRules | None,
    metrics: Metrics,
    sdk: "AioSession | None" = None,
    *,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[Clients]:
    """
    Yield the connections that *worker* needs. *rules* are for the escalation worker. *sdk* has the credentials.

    *stop* is set if what the handler opens ends before the worker does.

    Raises:
        FatalError: The SDK is not configured: no region, an unknown profile, an invalid endpoint or CA bundle. Or
            tracing is asked for, and not installed or not configured. Or what the handler has opened has failed.
    """
    async with AsyncExitStack() as stack:
        tracing = await stack.enter_async_context(
            open_tracing(os.environ, f"order-fulfillment-{worker}", settings.release, is_refusal=is_refusal)
        )
        try:
            sdk, others = sdk or plain_session(), calling_config(settings.concurrency)
            session = open_session(sdk)

            async def opened(service: str, config: AioConfig) -> Any:
                client = await stack.enter_async_context(session.client(service, config=config))
                return await stack.enter_async_context(direct(client, sdk, metrics.requests))

            clients = Clients(
                receiving=await opened("sqs", receiving_config(settings.wait_s, settings.max_polls)),
                visibility=await opened("sqs", calling_config(settings.concurrency, attempts=1)),
                sqs=await opened("sqs", others),
                dynamodb=await opened("dynamodb", others) if isinstance(worker, Worker) else None,
                tracing=tracing,
                opened=Opened(stop),
            )
            if worker is Worker.FULFILLMENT and settings.fulfillment_provider == "http":
                http = await stack.enter_async_context(http_session(settings.concurrency, tracing.http()))
                clients = replace(clients, http=http)
                if settings.fulfillment_token_secret is not None:
                    secretsmanager = await stack.enter_async_context(session.client("secretsmanager", config=others))
                    Meter(secretsmanager, metrics.requests)
                    log_requests(secretsmanager)
                    clients = replace(clients, secretsmanager=secretsmanager)
            if rules is not None:
                config = channel_config(SEND_TIMEOUT_S)
                channels = await _open_channels(rules.channels, session, config, stack, tracing)
                clients = replace(clients, routes=Routes(rules.rules, channels))
        except (BotoCoreError, ValueError) as error:
            raise FatalError(f"AWS access is not configured: {error}") from error
        stack.push_async_callback(clients.opened.close)
        yield clients


async def _open_channels(
    tables: Mapping[str, ChannelTable],
    session: aioboto3.Session,
    config: AioConfig,
    stack: AsyncExitStack,
    tracing: Tracing,
) -> tuple[Channel, ...]:
    """Return the channels of the rules. Each has its own connections, so one that hangs does not delay the others."""
    webhooks = await stack.enter_async_context(webhook_session(tracing.http()))
    channels: list[Channel] = []
    for name, table in tables.items():
        match table:
            case SnsTopic():
                sns = await stack.enter_async_context(session.client("sns", region_name=table.region, config=config))
                log_requests(sns)
                channels.append(SnsChannel(name, tracing.sender(sns), table.topic_arn))
            case SqsTarget():
                region = table.address.region
                sqs = await stack.enter_async_context(session.client("sqs", region_name=region, config=config))
                log_requests(sqs)
                channels.append(SqsChannel(name, tracing.sender(sqs), table.queue))
            case Webhook():
                url, authorization = table.address(os.environ), table.authorization(os.environ)
                channels.append(WebhookChannel(name, webhooks, url, authorization, proxy_for(url)))
    return tuple(tracing.port(channel, f"notify {channel.name}", "send") for channel in channels)
