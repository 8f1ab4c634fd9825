"""Both the SDK's requests and direct ones check the certificates of AWS."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from botocore.exceptions import SSLError

from tests.workers.aws.sdk.calls import DELETED, connected, sent_directly
from tests.workers.fulfillment.provider_server import provider_server, reply

pytestmark = pytest.mark.usefixtures("environment")


async def test_a_certificate_in_the_ca_bundle_is_accepted(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        server.otherwise = reply(200, DELETED)
        calls = await connected(server, stack)
        for _ in range(2):
            assert (await calls.delete())["Successful"] == [{"Id": "0"}]
        assert [sent_directly(request) for request in server.requests] == [False, True]


async def test_an_unknown_certificate_gets_no_request(certificate: ssl.SSLContext) -> None:
    await refused(certificate)


@pytest.mark.parametrize("certificate", ["DNS:other.example"], indirect=True)
async def test_a_certificate_for_another_host_is_not_accepted(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    await refused(certificate)


async def refused(certificate: ssl.SSLContext) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        calls = await connected(server, stack, attempts=1)
        for _ in range(2):  # The first request is the SDK's, the second is direct.
            with pytest.raises(SSLError):
                await calls.delete()
        assert server.requests == []
        assert calls.count_by_result() == {("DeleteMessageBatch", "SSLError"): 2}
