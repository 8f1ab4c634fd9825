import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aioboto3
import pytest
import structlog

from tests.support import DeployedStack
from tests.workers.fakes import order
from tests.workers.fulfillment.provider_server import Request, provider_server, reply, shipped
from workers.aws.errors import MissingResourceError
from workers.aws.secrets import SecretToken
from workers.errors import OutageError
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
