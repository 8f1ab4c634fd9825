import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aioboto3
import pytest
import structlog

from tests.support import DeployedStack
from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from tests.workers.fakes import order
from tests.workers.fulfillment.provider_server import Request, provider_server, reply, shipped
from workers.aws import secrets
from workers.aws.errors import MissingResourceError
from workers.aws.secrets import SecretToken, UnreadableSecretError
from workers.errors import AccessDeniedError, OutageError, SuspectedOutageError
from workers.fulfillment.http_provider import HttpProvider, http_session


class Counting:
    """A client of Secrets Manager that counts its reads."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.reads = 0

    async def get_secret_value(self, **parameters: Any) -> Any:
        self.reads += 1
        return await self.client.get_secret_value(**parameters)


@pytest.fixture
async def secretsmanager(session: aioboto3.Session) -> AsyncIterator[Counting]:
    async with session.client("secretsmanager") as client:
        yield Counting(client)


@pytest.fixture
def keep(stack: DeployedStack) -> Any:
    """Return a function that creates a secret and returns its ARN."""

    def kept(name: str, **value: Any) -> str:
        arn: str = stack.client("secretsmanager").create_secret(Name=name, **value)["ARN"]
        return arn

    return kept


@pytest.mark.parametrize(
    ("name", "text"), [("plain", "s3cret"), ("spaced", " s3cret\n"), ("json", '{"token": "s3cret", "user": "me"}')]
)
async def test_the_token_is_read_once_by_name_or_arn(secretsmanager: Counting, keep: Any, name: str, text: str) -> None:
    arn = keep(f"provider/{name}", SecretString=text)
    for secret in (f"provider/{name}", arn):
        token = SecretToken(secretsmanager, secret)
        secretsmanager.reads = 0
        assert [await token.current() for _ in range(3)] == ["s3cret"] * 3
        assert secretsmanager.reads == 1
        assert "s3cret" not in repr(token)


async def test_a_rotated_token_is_read_after_the_old_one_was_refused(
    secretsmanager: Counting, keep: Any, stack: DeployedStack
) -> None:
    keep("rotated", SecretString="old")
    token = SecretToken(secretsmanager, "rotated", reread_every_s=0)
    assert await token.current() == "old"
    assert await token.instead_of("old") is None
    stack.client("secretsmanager").put_secret_value(SecretId="rotated", SecretString="new")
    with structlog.testing.capture_logs() as logs:
        assert await token.instead_of("old") == "new"
    assert logs == [{"event": "token.renewed", "log_level": "info"}]
    assert await token.current() == "new"
    reads = secretsmanager.reads
    assert await token.instead_of("old") == "new"
    assert secretsmanager.reads == reads, "the newer one is known already"


async def test_a_refused_token_is_reread_only_once_per_interval(secretsmanager: Counting, keep: Any) -> None:
    keep("refused", SecretString="old")
    token = SecretToken(secretsmanager, "refused")
    await token.current()
    assert [await token.instead_of("old") for _ in range(10)] == [None] * 10
    assert secretsmanager.reads == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("binary", {"SecretBinary": b"s3cret"}),
        ("two-words", {"SecretString": "s3 cret"}),
        ("two-lines", {"SecretString": "s3\r\ncret: x"}),
        ("long", {"SecretString": "x" * 4097}),
        ("other-json", {"SecretString": '{"password": "s3cret"}'}),
        ("broken-json", {"SecretString": '{"token": "s3cret"'}),
        ("number", {"SecretString": '{"token": 7}'}),
    ],
)
async def test_an_invalid_token_is_reported_without_its_value(
    secretsmanager: Counting, keep: Any, name: str, value: dict[str, Any]
) -> None:
    keep(name, **value)
    with pytest.raises(MissingResourceError) as raised:
        await SecretToken(secretsmanager, name).current()
    assert str(raised.value) == (
        f"FULFILLMENT_TOKEN_SECRET is '{name}', which cannot be used: "
        "it holds no token of 1 to 4096 visible ASCII characters"
    )


async def test_a_missing_secret_is_reported_by_name(secretsmanager: Counting) -> None:
    with pytest.raises(
        MissingResourceError, match=r"^FULFILLMENT_TOKEN_SECRET is 'nothing', .*the secret does not exist$"
    ):
        await SecretToken(secretsmanager, "nothing").current()


async def test_a_bad_rotation_keeps_the_current_token(
    secretsmanager: Counting, keep: Any, stack: DeployedStack
) -> None:
    keep("spoilt", SecretString="old")
    token = SecretToken(secretsmanager, "spoilt", reread_every_s=0)
    await token.current()
    stack.client("secretsmanager").put_secret_value(SecretId="spoilt", SecretString="not a token")
    with pytest.raises(MissingResourceError):
        await token.instead_of("old")
    assert await token.current() == "old"


async def test_the_call_that_notices_a_rotation_ships_the_order(
    secretsmanager: Counting, keep: Any, stack: DeployedStack
) -> None:
    keep("rotating", SecretString="old")
    token = SecretToken(secretsmanager, "rotating", reread_every_s=0)

    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        accepted = request.headers["authorization"] == "Bearer new"
        await (shipped("S-1") if accepted else reply(401))(request, writer)

    async with provider_server() as server, http_session(1) as session:
        server.otherwise = answer
        provider = HttpProvider(session, server.url, timeout_s=5, token=token)
        with pytest.raises(OutageError, match="does not accept us"):
            await provider.ship(order())
        stack.client("secretsmanager").put_secret_value(SecretId="rotating", SecretString="new")
        assert await provider.ship(order()) == "S-1"
        assert [request.headers["authorization"] for request in server.requests] == [
            *("Bearer old", "Bearer old"),
            "Bearer new",
        ]


def scripted(*answers: Any, **options: Any) -> tuple[SecretToken, FakeSdk]:
    client = FakeSdk(get_secret_value=[{"SecretString": text} if isinstance(text, str) else text for text in answers])
    return SecretToken(client, "name", **options), client


@pytest.mark.parametrize("text", ["s3cret", " s3cret\n", '{"token": "s3cret", "user": "me"}', ' {"token": "s3cret"}'])
async def test_a_secret_is_a_token_or_an_object_with_one(text: str) -> None:
    token, client = scripted(text)
    assert [await token.current() for _ in range(3)] == ["s3cret"] * 3
    assert client.requests == [("get_secret_value", {"SecretId": "name"})]


@pytest.mark.parametrize(
    "text",
    ["", "s3 cret", "x" * 4097, '{"password": "x"}', '{"token": "x"', '{"token":"x"', '{"token": 7}', None],
)
async def test_a_secret_without_a_token_is_reported(text: str | None) -> None:
    token, _ = scripted({"SecretString": text} if text is not None else {})
    with pytest.raises(MissingResourceError, match=r"FULFILLMENT_TOKEN_SECRET is 'name', .* it holds no token of"):
        await token.current()


@pytest.mark.parametrize(
    ("error", "expected", "text"),
    [
        (refusal("ResourceNotFoundException"), MissingResourceError, "the secret does not exist"),
        (refusal("AccessDeniedException", "Get"), AccessDeniedError, "Get: access denied (AccessDeniedException)"),
        (refusal("InvalidRequestException", "Get"), UnreadableSecretError, "Get: InvalidRequestException"),
    ],
)
async def test_a_secret_that_cannot_be_read_is_named(error: Exception, expected: type[Exception], text: str) -> None:
    token, _ = scripted(error)
    with pytest.raises(expected) as raised:
        await token.current()
    assert type(raised.value) is expected
    assert str(raised.value) == f"FULFILLMENT_TOKEN_SECRET is 'name', which cannot be used: {text}"


async def test_throttled_reads_are_an_outage_and_the_next_one_is_tried() -> None:
    token, _ = scripted(refusal("ThrottlingException"), "s3cret")
    with pytest.raises(OutageError, match="ThrottlingException") as raised:
        await token.current()
    assert type(raised.value) is OutageError
    assert await token.current() == "s3cret"


async def test_an_answer_of_another_shape_is_an_outage() -> None:
    token, _ = scripted([])
    with pytest.raises(SuspectedOutageError, match="GetSecretValue: an unreadable response"):
        await token.current()


class Clock:
    """The time of the running loop, which tests set."""

    now_s = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    loop = SimpleNamespace(time=lambda: clock.now_s)
    monkeypatch.setattr(secrets, "asyncio", SimpleNamespace(get_running_loop=lambda: loop, Lock=asyncio.Lock))
    return clock


async def test_a_refused_token_is_read_again_after_thirty_seconds(clock: Clock) -> None:
    token, client = scripted("old", "old", "new")
    await token.current()
    for passed_s, newer, reads in ((29.9, None, 1), (30.0, None, 2), (59.9, None, 2), (60.0, "new", 3)):
        clock.now_s = 100 + passed_s
        assert await token.instead_of("old") == newer
        assert len(client.requests) == reads


async def test_a_newer_token_that_is_known_already_is_not_read_again() -> None:
    token, client = scripted("new", reread_every_s=0)
    await token.current()
    assert await token.instead_of("old") == "new"
    assert len(client.requests) == 1


async def test_only_a_changed_token_is_logged_as_renewed() -> None:
    token, _ = scripted("old", "old", "new", reread_every_s=0)
    with structlog.testing.capture_logs() as logs:
        await token.current()
        await token.instead_of("old")
        assert logs == []
        await token.instead_of("old")
    assert [line["event"] for line in logs] == ["token.renewed"]


async def test_a_bad_rotation_leaves_the_token_that_was_read_before() -> None:
    token, _ = scripted("old", "not a token", reread_every_s=0)
    await token.current()
    with pytest.raises(MissingResourceError):
        await token.instead_of("old")
    assert await token.current() == "old"


async def test_simultaneous_callers_share_one_read() -> None:
    token, client = scripted("s3cret")
    assert await asyncio.gather(*(token.current() for _ in range(5))) == ["s3cret"] * 5
    assert len(client.requests) == 1


async def test_simultaneous_refusals_share_one_read() -> None:
    token, client = scripted("old", "new", reread_every_s=0)
    await token.current()
    assert await asyncio.gather(*(token.instead_of("old") for _ in range(5))) == ["new"] * 5
    assert len(client.requests) == 2
