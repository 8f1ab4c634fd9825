"""One set of rules for the proxies of AWS, providers and webhooks: the SDK's."""

import asyncio
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from botocore.httpsession import ProxyConfiguration
from botocore.utils import IMDSFetcher, get_environ_proxies
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy.aws import Aws
from tests.strategies import any_text
from workers.aws.sdk.blocking import BlockingSession
from workers.command import run_command
from workers.errors import FatalError
from workers.proxies import Proxy, keep_metadata_direct, proxy_for, through

SECRET = "s3cret-pass"
URLS = (
    "https://sqs.eu-west-1.amazonaws.com/",
    "https://ship.example.com/orders?key=x",
    "https://ship.example.com:8443/orders",
    "https://SHIP.example.com/",
    "https://example.com/",
    "https://notexample.com/",
    "http://localhost:4566/",
    "http://127.0.0.1:4566/",
    "https://[::1]:8443/",
    "http://[::1]/",
    "https://10.1.2.3/",
)
EXCEPTIONS = (
    "*",
    "* ",
    "example.com",
    ".example.com",
    "ship.example.com:8443",
    "ship.example.com",
    " EXAMPLE.com ",
    "localhost",
    "127.0.0.1",
    "127.0.0.1:4566",
    "[::1]",
    "::1",
    "10.0.0.0/8",
    "10.1.2.3",
    "com",
    "",
)
PROXIES = ("", "http://proxy.example:3128", "proxy.example:3128", "//proxy.example", "https://proxy.example/")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    return monkeypatch


VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        **{
            name: st.sampled_from(PROXIES)
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
        },
        **{name: st.lists(st.sampled_from(EXCEPTIONS), max_size=3).map(",".join) for name in ("NO_PROXY", "no_proxy")},
        "REQUEST_METHOD": st.just("GET"),
    },
)


@given(VARIABLES, st.sampled_from(URLS))
def test_a_request_goes_through_the_proxy_that_the_sdk_would_use(variables: dict[str, str], url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        found = proxy_for(url)
        assert (found and found.url) == ProxyConfiguration(get_environ_proxies(url)).proxy_url_for(url)


@pytest.mark.parametrize(
    ("excepted", "direct"),
    [
        ("example.com", True),
        (".example.com", True),
        ("ship.example.com", True),
        ("other.example,  SHIP.example.com ", True),
        ("ship.example.com:8443", True),
        ("ship.example.com:443", False),
        ("*", True),
        ("ample.com", False),
        ("*.example.com", False),
        ("", False),
    ],
)
def test_hosts_in_no_proxy_are_called_directly(environment: pytest.MonkeyPatch, excepted: str, *, direct: bool) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    environment.setenv("NO_PROXY", excepted)
    assert (proxy_for("https://ship.example.com:8443/orders") is None) is direct


def test_lower_case_wins(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://upper.example:1")
    environment.setenv("https_proxy", "http://lower.example:2")
    proxy = proxy_for("https://ship.example.com/")
    assert proxy is not None
    assert proxy.address == "lower.example:2"
    environment.setenv("https_proxy", "")  # It is also how to switch a proxy off.
    assert proxy_for("https://ship.example.com/") is None


HOSTS = st.sampled_from(["proxy.example", "proxy.example:3128", "10.0.0.1:80", "[::1]:3128", "localhost"])
SECRETS = st.text(st.characters(max_codepoint=255, min_codepoint=33), min_size=1)


@given(st.sampled_from(["http://", "https://", "", "//"]), SECRETS, SECRETS, HOSTS, st.sampled_from(["", "/"]))
def test_user_and_password_are_not_shown(scheme: str, user: str, password: str, host: str, end: str) -> None:
    text = f"{scheme}{quote(user, safe='')}:{quote(SECRET + password, safe='')}@{host}{end}"
    proxy = Proxy.parse(text)
    assert proxy.address == host
    assert proxy.url.endswith(text)
    assert repr(proxy) == f"Proxy(address={host!r})"
    assert through(proxy) == f" through the proxy {host}"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("socks5://proxy.example:1080", "'socks5://proxy.example:1080'"),
        ("http://", "'http://'"),
        ("http://proxy.example:0", "'http://proxy.example:0'"),
        ("http://proxy.example:99999", "'http://proxy.example:99999'"),
        ("http://proxy.example:3128/path", "'http://proxy.example:3128/path'"),
        ("http://proxy example", "'http://proxy example'"),
        (f"socks5://user:{SECRET}@proxy.example", "not shown (it has a user or password)"),
        (f"http://user:{SECRET}/@proxy.example", "not shown (it has a user or password)"),
        (f"http://user:{SECRET}@more@proxy.example/x", "not shown (it has a user or password)"),
        (f"http://user:{SECRET}%E2%82%AC@proxy.example", "not shown (it has a user or password)"),
    ],
)
def test_a_variable_that_holds_no_proxy_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(FatalError) as raised:
        proxy_for("https://ship.example.com/")
    assert str(raised.value) == (
        f"{name} is {shown}, must be the http or https URL of a proxy, http://user:password@host:port for example"
    )
    assert raised.value.__suppress_context__
    assert proxy_for("http://ship.example.com/") is None, "the variable is not used"


@given(any_text)
def test_any_value_is_a_proxy_or_refused_in_one_line(text: str) -> None:
    assume("\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", text)
        try:
            proxy = proxy_for("https://ship.example.com/")
        except FatalError as error:
            assert re.fullmatch("HTTPS_PROXY is .+, must be .+", str(error))  # noqa: PT017 - any text may be valid.
        else:
            assert bool(text) == (proxy is not None)


METADATA = [
    "http://169.254.169.254/latest/api/token",
    "http://[fd00:ec2::254]/latest/api/token",
    "http://169.254.170.2/v2/credentials/x",
    "http://169.254.170.23/v1/credentials",
    "http://[fd00:ec2::23]/v1/credentials",
]


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("excepted", [None, "", "internal.example"])
def test_credentials_of_the_machine_are_fetched_directly(
    environment: pytest.MonkeyPatch, name: str, excepted: str | None
) -> None:
    environment.setenv("no_proxy", "")  # So that it is restored.
    environment.delenv("no_proxy")
    environment.setenv("HTTP_PROXY", "http://proxy.example:3128")
    if excepted is not None:
        environment.setenv(name, excepted)
    keep_metadata_direct()
    assert [proxy_for(url) for url in METADATA] == [None] * len(METADATA)
    fetcher: Any = IMDSFetcher()
    assert fetcher._session._proxy_config.proxy_url_for(METADATA[0]) is None
    assert proxy_for("http://ship.example.com/") is not None
    assert (proxy_for("http://a.internal.example/") is None) is (excepted == "internal.example")


@pytest.mark.parametrize("variables", [{}, {"HTTPS_PROXY": "p:1"}, {"HTTP_PROXY": "p:1", "NO_PROXY": "*"}])
def test_an_environment_that_calls_them_directly_is_left_alone(
    environment: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    before = dict(os.environ)
    keep_metadata_direct()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    "start",
    [
        lambda: run_command(["fulfillment"]),
        lambda: asyncio.run(BlockingSession({"AWS_REGION": "eu-west-1"}).region()),
        Aws.from_environment,
    ],
    ids=["worker", "orders", "deploy"],
)
def test_every_process_fetches_credentials_of_the_machine_directly(
    environment: pytest.MonkeyPatch, start: Callable[[], object]
) -> None:
    environment.setenv("no_proxy", "")  # So that it is restored.
    environment.delenv("no_proxy")
    environment.setenv("HTTP_PROXY", "http://proxy.example:3128")
    environment.setenv("AWS_REGION", "eu-west-1")
    environment.setenv("WORKER_WAIT_S", "wrong")  # So that the worker ends at once.
    start()
    assert [proxy_for(url) for url in METADATA] == [None] * len(METADATA)
