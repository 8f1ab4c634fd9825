import pytest

from workers.http_values import is_endpoint, is_token


@pytest.mark.parametrize(
    "url",
    [
        "https://ship.example.com",
        "HTTPS://SHIP_2.example-1.com:8443/a?key=1&b=%20",
        "https://10.0.0.1:65535/",
        "https://[2001:db8::1]/",
        "https://ship.example:/",
        "http://localhost:8080/",
        "http://api.localhost/",
        "http://127.8.8.8/",
        "http://[::1]:8080/",
    ],
)
def test_an_endpoint_is_https_or_on_this_machine(url: str) -> None:
    assert is_endpoint(url)


@pytest.mark.parametrize(
    "url",
    [
        *("", "ship.example.com", "ftp://ship.example.com/", "http://ship.example.com/", "http://10.0.0.1/"),
        *("http://localhost.example/", "http://notlocalhost/", "https:///path", "https://:443/", "https:ship.example"),
        *("https://user@ship.example/", "https://user:key@ship.example/", "https://@ship.example/"),
        *("https://ship.example/#x", "https://ship.example/#", "https://ship.example/a b", "https://ship.example/\n"),
        *(
            "https://sh\tip.example/",
            "https://ship.example/\u00e9",
            "https://\u5f20.example/",
            "https://ship.example/\x7f",
        ),
        *("https://ship.example:0/", "https://ship.example:65536/", "https://ship.example:x/"),
        *("https://[/", "https://[x]/", "https://0[2001:db8::1]/", "https://a\\b/", "https://a%20b/", "https://a,b/"),
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    assert not is_endpoint(url)


@pytest.mark.parametrize(("token", "allowed"), [("!~", True), ("x" * 4096, True), ("x" * 4097, False), ("", False)])
def test_a_token_is_1_to_4096_characters(token: str, allowed: bool) -> None:
    assert is_token(token) is allowed


@pytest.mark.parametrize("char", [" ", "\n", "\x7f", "\u00e9", "\x00"])
def test_a_token_has_only_visible_ascii_characters(char: str) -> None:
    assert not is_token(f"a{char}b")
    assert not is_token(f"ab{char}")
