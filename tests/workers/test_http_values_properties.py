"""URLs and tokens: what is allowed can be used in a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tests.strategies import any_text
from workers.http_values import is_endpoint, is_token

HOSTS = st.sampled_from(["a.example", "10.0.0.1", "[2001:db8::1]", "x"])
LOOPBACK = st.sampled_from(["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "api.localhost"])
PORTS = st.just("") | st.integers(1, 65535).map(":{}".format)
PATHS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")).map("/{}".format)
LONG = st.sampled_from([4095, 4096, 4097]).map("x".__mul__)
LONG = st.sampled_from([4095, 4096, 4097]).map("x".__mul__)
ENDPOINTS = st.builds("https://{}{}{}".format, HOSTS | LOOPBACK, PORTS, PATHS) | st.builds(
    "http://{}{}{}".format, LOOPBACK, PORTS, PATHS
)


@given(ENDPOINTS)
def test_a_well_formed_endpoint_is_allowed(url: str) -> None:
    assert is_endpoint(url)


@given(st.builds("{}://{}{}{}{}".format, st.sampled_from(["https", "http", "HTTPS", "ws"]), any_text, HOSTS | LOOPBACK,
                 PORTS | any_text, PATHS | any_text) | any_text)  # fmt: skip
def test_an_allowed_endpoint_can_be_requested_and_has_no_secrets(text: str) -> None:
    if is_endpoint(text):
        url = URL(text)
        assert url.scheme == "https" or url.host is not None
        assert url.host
        assert (url.user, url.password, url.fragment) == (None, None, "")
        assert all("!" <= char <= "~" for char in text)


@given(ENDPOINTS, st.sampled_from(["user@", "user:password@", ":@", "@"]))
def test_an_endpoint_with_a_user_is_refused(url: str, user: str) -> None:
    assert not is_endpoint(url.replace("://", f"://{user}", 1))


@given(ENDPOINTS, st.sampled_from(["#", "#x", " ", "\n", "\u00e9", "\x7f", "\ud800"]))
def test_an_endpoint_with_a_fragment_or_another_character_is_refused(url: str, more: str) -> None:
    assert not is_endpoint(url + more)


@given(
    st.builds("https://{}:{}{}".format, HOSTS | LOOPBACK, st.sampled_from(["0", "65536", "-1", "x", "\u0661"]), PATHS)
)
def test_an_endpoint_with_an_impossible_port_is_refused(url: str) -> None:
    assert not is_endpoint(url)


@pytest.mark.parametrize("host", ["0[2001:db8::1]", "[x]", "a\\b", "a,b", "a%20b", "a&b", ""])
def test_a_host_that_no_client_can_connect_to_is_refused(host: str) -> None:
    assert not is_endpoint(f"https://{host}/")
    assert not is_endpoint(f"https://{host}:443/")


@given(st.builds("http://{}{}{}".format, HOSTS, PORTS, PATHS))
def test_plain_http_is_refused_beyond_this_machine(url: str) -> None:
    assert not is_endpoint(url)


@given(any_text | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1) | LONG)
def test_a_token_is_visible_ascii(text: str) -> None:
    assert is_token(text) is (0 < len(text) <= 4096 and all("!" <= char <= "~" for char in text))
