"""The addresses of workers that a person gives."""

import pytest

from workers.operations.status_endpoints import Endpoint, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("fulfillment=http://127.0.0.1:8081", Endpoint("fulfillment", "http://127.0.0.1:8081")),
        ("escalation-2=https://worker.example/", Endpoint("escalation-2", "https://worker.example")),
        (f"{'R' * 100}=http://[::1]:1", Endpoint("R" * 100, "http://[::1]:1")),
    ],
)
def test_a_worker_has_a_name_and_an_address(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8081", "ftp://127.0.0.1:8081", "http://", "http://:8081", "http://127.0.0.1:0"),
        *("http://127.0.0.1:99999", "http://[::1", "http://x/metrics", "http://x/?a=b", "http://x/#a", "http://ada@x"),
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r" must be a worker and the address of its health port, such as fulfillment="):
        parse_endpoint(f"fulfillment={url}")


@pytest.mark.parametrize("name", ["", "a b", "a.b", "R" * 101])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r" must be a worker and the address"):
        parse_endpoint(f"{name}=http://127.0.0.1:8081")


def test_no_secret_of_an_address_is_shown() -> None:
    with pytest.raises(ValueError, match=r"^'fulfillment=http://\*\*\*@x/\?\*\*\*' must be ") as raised:
        parse_endpoint("fulfillment=http://ada:secret@x/?token=secret")
    assert "secret" not in str(raised.value)
