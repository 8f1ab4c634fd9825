"""Which connections a worker opens. The clients are real."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from botocore.exceptions import ClientError, NoCredentialsError

from tests.support import CA_BUNDLE
from tests.workers.aws.sdk_fakes import refusal
from tests.workers.escalation.examples import case
from tests.workers.fulfillment.provider_server import Answer, provider_server, reply, reset
from workers.aws.channels import SnsChannel, SqsChannel
from workers.aws.sdk.parsing import plain_session
from workers.aws.sqs import SqsQueue
from workers.connections import fetch_credentials, open_clients
from workers.errors import FatalError, OutageError
from workers.escalation.notifications import ChannelError, Notification
from workers.escalation.rules.reader import EscalationRules
from workers.escalation.webhook import WebhookChannel
from workers.kinds import OwnWorker, Worker
from workers.metrics import Metrics
from workers.queue_address import QueueAddress
from workers.settings import Settings
from workers.start import Start

HTTP = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": "https://ship.example.com/orders"}
RULES = """
[[rules]]
severity = "warning"
channels = ["pager", "settlement", "theirs", "chat"]

[channels.pager]
type = "sns"
topic_arn = "arn:aws:sns:eu-west-1:123456789012:pager"

[channels.settlement]
type = "sqs"
queue = "settlement"

[channels.theirs]
type = "sqs"
queue = "arn:aws:sqs:us-west-2:123456789012:settlement"

[channels.chat]
type = "webhook"
url = "https://chat.example.com/hook"
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # Otherwise, each client looks for credentials there.
    for name, value in CA_BUNDLE.items():
        monkeypatch.setenv(name, value)


async def test_receives_and_changes_of_visibility_have_their_own_clients() -> None:
    async with open_clients(Worker.FULFILLMENT, Settings.read({}), None, Metrics()) as clients:
        assert len({id(client) for client in (clients.receiving, clients.visibility, clients.sqs)}) == 3
        assert {clients.receiving.meta.region_name, clients.sqs.meta.region_name} == {"eu-central-1"}
        assert (clients.secretsmanager, clients.http, clients.routes) == (None, None, None)


@pytest.mark.parametrize("answer", [reply(503, {"__type": "ServiceUnavailable", "message": "no"}), reset])
async def test_a_change_of_visibility_is_sent_once(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    async with provider_server() as server:
        server.otherwise = answer
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.removesuffix("/orders"))
        async with open_clients(Worker.FULFILLMENT, Settings.read({}), None, Metrics()) as clients:
            queue = SqsQueue(
                name="Q",
                url="http://queue/q",
                visibility_timeout_s=30,
                wait_s=0,
                receiving=clients.receiving,
                visibility=clients.visibility,
                sqs=clients.sqs,
            )
            with pytest.raises(OutageError):
                await queue.change_visibility([("r", 0)])
        assert len(server.requests) == 1


@pytest.mark.parametrize("secret", [False, True])
async def test_the_http_provider_needs_a_session_and_its_secret_a_client(secret: bool) -> None:
    settings = Settings.read(HTTP | ({"FULFILLMENT_TOKEN_SECRET": "token"} if secret else {}))
    async with open_clients(Worker.FULFILLMENT, settings, None, Metrics()) as clients:
        assert clients.http is not None
        assert not clients.http.closed
        assert (clients.secretsmanager is not None) == secret
    assert clients.http.closed


async def test_the_escalation_worker_has_the_channels_of_its_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    rules = EscalationRules.read(path, {})
    async with open_clients(Worker.ESCALATION, Settings.read({}), rules, Metrics()) as clients:
        assert clients.routes is not None
        assert clients.routes.rules is rules.rules
        channels = {channel.name: channel for channel in clients.routes.channels}
        assert {name: type(channel) for name, channel in channels.items()} == {
            "pager": SnsChannel,
            "settlement": SqsChannel,
            "theirs": SqsChannel,
            "chat": WebhookChannel,
        }
        pager, settlement, theirs = (channels[name] for name in ("pager", "settlement", "theirs"))
        assert isinstance(pager, SnsChannel)
        assert isinstance(settlement, SqsChannel)
        assert isinstance(theirs, SqsChannel)
        assert pager.sns.meta.region_name == "eu-west-1"
        assert [channel.sqs.meta.region_name for channel in (settlement, theirs)] == ["eu-central-1", "us-west-2"]


@pytest.mark.parametrize(
    ("excepted", "address"), [("", "proxy.example:3128"), ("chat.example.com,amazonaws.com", None)]
)
async def test_webhooks_go_through_the_proxy_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excepted: str, address: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://ops:s3cret@proxy.example:3128")
    monkeypatch.setenv("no_proxy", excepted)
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    rules = EscalationRules.read(path, {})
    async with open_clients(Worker.ESCALATION, Settings.read({}), rules, Metrics()) as clients:
        assert clients.routes is not None
        (chat,) = [channel for channel in clients.routes.channels if isinstance(channel, WebhookChannel)]
        assert (chat.proxy and chat.proxy.address) == address


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("AWS_REGION", "", "You must specify a region."),
        ("AWS_PROFILE", "unknown", "The config profile (unknown) could not be found"),
        ("AWS_ENDPOINT_URL", "nowhere", "Invalid endpoint: nowhere"),
        ("AWS_CA_BUNDLE", "/nowhere.pem", "cannot read the CA bundle /nowhere.pem: No such file or directory"),
        ("AWS_CA_BUNDLE", "/", "cannot read the CA bundle /: Is a directory"),
    ],
)
async def test_a_wrong_configuration_of_the_sdk_is_reported(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(FatalError) as raised:
        async with open_clients(Worker.FULFILLMENT, Settings.read({}), None, Metrics()):
            pass
    assert str(raised.value) == f"AWS access is not configured: {reason}"


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.process
async def test_a_command_for_credentials_that_cannot_be_run_ends_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, exists: bool
) -> None:
    command, config = tmp_path / "command", tmp_path / "config"
    if exists:
        command.write_text("#!/bin/sh\n")  # It is not executable.
    config.write_text(f"[default]\ncredential_process = {command} --json\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    sdk, start = plain_session(), Start(Metrics().outages)
    with pytest.raises(FatalError, match=f"^no AWS credentials: {command}: (No such file|Permission denied)"):
        await start.until_done(lambda: fetch_credentials(sdk))


@pytest.mark.usefixtures("at_debug")
async def test_requests_of_every_client_are_lines_at_debug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    path = tmp_path / "rules.toml"
    path.write_text(RULES, encoding="utf-8")
    settings, metrics = Settings.read(HTTP | {"FULFILLMENT_TOKEN_SECRET": "token"}), Metrics()
    async with provider_server() as server:
        server.otherwise = reply(400, {"__type": "InvalidParameter", "message": "no"})
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url.removesuffix("/orders"))
        with structlog.testing.capture_logs() as logs:
            async with open_clients(Worker.FULFILLMENT, settings, None, metrics) as clients:
                with pytest.raises(ClientError):
                    await clients.secretsmanager.get_secret_value(SecretId="token")
            rules = EscalationRules.read(path, {})
            server.otherwise = reset
            async with open_clients(Worker.ESCALATION, Settings.read({}), rules, Metrics()) as clients:
                assert clients.routes is not None
                notification = Notification.of(case("chat"), "chat")
                for channel in clients.routes.channels:
                    if isinstance(channel, SnsChannel | SqsChannel):
                        with pytest.raises((ChannelError, OutageError)):
                            await channel.send(notification)
    operations = {line["operation"] for line in logs if line["event"] == "request.finished"}
    assert {"GetSecretValue", "Publish", "GetQueueUrl"} <= operations
    counted = {"action": "GetSecretValue", "result": "InvalidParameter"}
    assert metrics.registry.get_sample_value("workers_aws_requests_total", counted) == 1


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (PermissionError(13, "Permission denied", "/token"), "CredentialsError: no AWS credentials: /token: "),
        (NoCredentialsError(), None),
        (ValueError("an address that the SDK does not allow"), None),
        (KeyError("plugin"), "CredentialsSourceError: no AWS credentials: the call failed (key error)"),
        (refusal("ThrottlingException", "AssumeRole"), "OutageError: AssumeRole: ThrottlingException"),
    ],
    ids=repr,
)
async def test_an_error_while_credentials_are_fetched_is_raised_if_they_are_configured(
    monkeypatch: pytest.MonkeyPatch, error: Exception, raised: str | None
) -> None:
    sdk = plain_session()

    async def fail() -> None:
        raise error

    monkeypatch.setattr(sdk, "get_credentials", fail)
    found = None
    try:
        await fetch_credentials(sdk)
    except OutageError as outage:
        found = f"{type(outage).__name__}: {outage}"
    assert (found or "").startswith(raised or "")
    assert (found is None) == (raised is None)
    assert sdk.get_config_variable("region") == "eu-central-1"


async def test_a_worker_of_your_own_has_no_table_and_closes_what_it_opened() -> None:
    steps, stop = list[str](), asyncio.Event()

    @asynccontextmanager
    async def database() -> AsyncIterator[None]:
        steps.append("open")
        yield
        steps.append("close")

    worker = OwnWorker("shop", QueueAddress.parse("Returns"))
    async with open_clients(worker, Settings.read_shared({}), None, Metrics(), stop=stop) as clients:
        assert clients.dynamodb is None
        await clients.opened.enter("database", database())
        assert (steps, stop.is_set()) == (["open"], False)
    assert (steps, stop.is_set()) == (["open", "close"], True)


async def test_credentials_are_fetched_before_a_client_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    sdk = plain_session()
    await fetch_credentials(sdk)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert await sdk.get_credentials() is not None
