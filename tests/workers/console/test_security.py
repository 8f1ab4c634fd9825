"""The parts of the guard, without requests; `test_requests.py` has the rest."""

import pytest

from workers.console.security import (
    MIN_TOKEN_CHARS,
    Guard,
    allowed_hosts,
    is_host_name,
    is_own_page,
    is_token,
    new_token,
)
from workers.domain.cards import mask

TOKEN = "t" * MIN_TOKEN_CHARS


def test_a_token_is_long_and_part_of_a_url_as_it_is() -> None:
    assert is_token(new_token())
    assert new_token() != new_token()
    assert len(new_token()) == 43  # 256 bits.
    assert is_token(TOKEN)
    for text in ("", TOKEN[1:], TOKEN + "&", TOKEN + " ", TOKEN + "\n", TOKEN + "é", "x" * 257):
        assert not is_token(text)


def test_sessions_differ_and_hold_for_a_console_that_is_started_again() -> None:
    guard, again = Guard(TOKEN, 8090, ()), Guard(TOKEN, 8090, ())
    session = guard.new_session()
    assert session != guard.new_session()
    assert len(session.partition(".")[0]) == MIN_TOKEN_CHARS  # As hard to guess as the shortest token.
    assert again.is_session(session)
    assert again.is_csrf_token(session, guard.csrf_token(session))
    assert TOKEN not in session
    for no_session in (None, "", "\udc80", session + "\udc80", "é." + session.partition(".")[2]):
        assert not guard.is_session(no_session)
    for no_token in (None, "", b"x", 1, "\udc80"):
        assert not guard.is_csrf_token(session, no_token)
    assert not guard.is_launch_token("\udc80")


def test_at_the_port_of_http_browsers_leave_the_port_out() -> None:
    assert Guard(TOKEN, 80, allowed_hosts(80)).is_host("localhost")
    assert not Guard(TOKEN, 8090, allowed_hosts(8090)).is_host("localhost")
    assert not Guard(TOKEN, 80, allowed_hosts(80)).is_host(None)


@pytest.mark.parametrize("name", ["console.example", "a_b-c.example:8443", "10.0.0.1", "[::1]", "[fe80::1]:80"])
def test_a_host_is_a_name_with_a_port_or_without(name: str) -> None:
    assert is_host_name(name)


@pytest.mark.parametrize("name", ["", "http://a", "a/b", "a b", "::1", "a:", "a:b", "*", "a,b", "é", "a\n"])
def test_anything_else_is_no_host(name: str) -> None:
    assert not is_host_name(name)


def test_an_own_page_may_be_behind_tls() -> None:
    assert is_own_page({"Origin": "https://Console.Example"}, "console.example")
    assert not is_own_page({"Origin": "ftp://console.example"}, "console.example")


def test_the_token_of_a_form_is_never_masked() -> None:
    guard = Guard("t" * 22, 1, frozenset())
    tokens = [guard.csrf_token(str(n)) for n in range(500)]
    assert all(mask(each) == each for each in tokens)
