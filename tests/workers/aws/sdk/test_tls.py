"""Both the SDK's requests and direct ones check the certificates of AWS, as the SDK does and its host names too."""

import os
import shutil
import socket
import ssl
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import SSLError
from botocore.httpsession import create_urllib3_context

from tests.workers.aws.sdk.calls import DELETED, PATIENT_S, connected, sent_directly
from tests.workers.forward_proxy import ForwardProxy, forward_proxy
from tests.workers.fulfillment.provider_server import ProviderServer, provider_server, reply
from workers.aws.errors import translated
from workers.aws.sdk.tls import VerifyingSession, ca_bundle, trusting_context
from workers.errors import OutageError

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(autouse=True)
def _fresh_contexts() -> None:
    trusting_context.cache_clear()


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_a_certificate_in_the_ca_bundle_is_accepted(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(tmp_path / "cert.pem"))
    await accepted(certificate)


async def accepted(certificate: ssl.SSLContext) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        server.otherwise = reply(200, DELETED)
        calls = await connected(server, stack)
        for _ in range(2):
            assert (await calls.delete())["Successful"] == [{"Id": "0"}]
        assert [sent_directly(request) for request in server.requests] == [False, True]


@pytest.mark.parametrize("bundle", [None, ""])
async def test_an_unknown_certificate_gets_no_request(
    certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, bundle: str | None
) -> None:
    if bundle is not None:
        monkeypatch.setenv("AWS_CA_BUNDLE", bundle)
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


def test_contexts_equal_the_sdks_but_check_host_names() -> None:
    ours, theirs = trusting_context(ca_bundle(get_session())), create_urllib3_context()
    for name in ("verify_flags", "verify_mode", "options", "minimum_version", "maximum_version", "post_handshake_auth"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [cipher["name"] for cipher in ours.get_ciphers()] == [cipher["name"] for cipher in theirs.get_ciphers()]
    assert (ours.check_hostname, theirs.check_hostname) == (True, False)


@pytest.fixture
def private_ca(tmp_path: Path) -> ssl.SSLContext:
    """The context of a server whose certificate is signed by a CA that Python 3.13's own contexts refuse; `ca.pem`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed, nothing else here makes certificates")
    config = "[req]\ndistinguished_name=dn\nx509_extensions=ca\n[dn]\n[ca]\nbasicConstraints=CA:TRUE\n"
    (tmp_path / "ca.cnf").write_text(config)
    (tmp_path / "leaf.ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for options in (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=ca -config ca.cnf -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=test -keyout key.pem -out leaf.csr",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile leaf.ext -out cert.pem",
    ):
        subprocess.run([openssl, *options.split()], cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


@pytest.mark.process
async def test_a_private_ca_that_the_sdk_accepts_is_accepted_by_direct_calls(
    private_ca: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ssl.create_default_context

    def create_strictly(*args: Any, **options: Any) -> ssl.SSLContext:  # As Python does from 3.13 on.
        context = create(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_strictly)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    await accepted(private_ca)


@pytest.mark.parametrize("certificate", ["DNS:sqs.example.invalid", "DNS:other.example"], indirect=True)
@pytest.mark.parametrize("trusted", [True, False])
async def test_behind_a_proxy_certificates_are_checked_too(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool
) -> None:
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    names = ssl.create_default_context(cafile=tmp_path / "cert.pem").get_ca_certs()[0]["subjectAltName"]
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(forward_proxy())
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        server = await stack.enter_async_context(provider_server(certificate))
        server.otherwise = reply(200, DELETED)
        named = ProviderServer(url=server.url.replace("127.0.0.1", "sqs.example.invalid"))
        calls = await connected(named, stack, attempts=1)
        if trusted and ("DNS", "sqs.example.invalid") in names:
            assert (await calls.delete())["Successful"] == [{"Id": "0"}]
            return
        with pytest.raises(SSLError):
            await calls.delete()
        assert server.requests == []


async def test_a_proxy_that_is_down_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        down = ForwardProxy(f"127.0.0.1:{closed.getsockname()[1]}")
        await unreachable_through(down, monkeypatch, "proxy connection error at the proxy {}")


async def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:  # A listener with a full backlog completes no more connections.
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        with socket.create_connection(address):
            down = ForwardProxy(f"{address[0]}:{address[1]}")
            await unreachable_through(down, monkeypatch, "proxy connection error at the proxy {}", timeout_s=0.1)


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async with forward_proxy() as proxy:
        proxy.refuses = status
        await unreachable_through(proxy, monkeypatch, f"proxy connection error at the proxy {{}}, HTTP {status}")


async def unreachable_through(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, text: str, *, timeout_s: float = PATIENT_S
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url_with("t:t"))  # The SDK's own text would show this password.
    async with AsyncExitStack() as stack:
        named = ProviderServer(url="https://sqs.example.invalid/orders")
        calls = await connected(named, stack, attempts=1, timeout_s=timeout_s)
        with pytest.raises(OutageError) as raised, translated():
            await calls.delete()
    assert str(raised.value) == text.format(proxy.address)


async def test_sessions_share_a_context_unless_they_add_certificates_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = trusting_context(ca_bundle(get_session()))
    read: list[object] = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda _, *paths, **__: read.append(paths))
    ours, own = VerifyingSession(), VerifyingSession(proxies_config={"proxy_ca_bundle": os.devnull})
    for proxy in (None, "http://127.0.0.1:1"):
        connector = ours._create_connector(proxy)
        assert connector._ssl is shared
        await connector.close()
    assert read == []
    connector = own._create_connector(None)
    assert isinstance(connector._ssl, ssl.SSLContext)
    assert connector._ssl is not shared
    assert connector._ssl.check_hostname
    await connector.close()
    assert len(read) == 1


async def test_a_session_keeps_the_sdks_limits() -> None:
    session = VerifyingSession(max_pool_connections=7, connector_args={"keepalive_timeout": 3.0})
    async with session._create_connector(None) as connector:
        assert (connector.limit, connector._keepalive_timeout) == (7, 3.0)
