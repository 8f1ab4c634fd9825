"""Where a session's stack may be: on this machine, elsewhere only if that is said, and never on AWS."""

import sys

import pytest

from workers.testing.errors import SetupError
from workers.testing.session import given_endpoint, session_stack

HERE = [
    "http://127.0.0.1:4566",
    "http://localhost:4566/",
    "https://aws.localhost",
    "http://[::1]:80",
    "http://127.8.8.8",
]
ELSEWHERE = [
    "http://localstack:4566",
    "http://10.0.0.1",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
]
AWS = [
    "https://sqs.us-east-1.amazonaws.com",
    "https://amazonaws.com",
    "https://x.amazonaws.com.cn",
    "https://a.api.aws",
    "https://SQS.us-east-1.amazonaws.com.",
    "https://sqs.eusc-de-east-1.amazonaws.eu",
    "https://x.lambda-url.us-east-1.on.aws",
]
WRONG = [
    "127.0.0.1:4566",
    "http://127.0.0.1:99999",
    "http://127.0.0.1:port",
    "ftp://localhost",
    "http://",
    "http://[::1",
    "/path",
]


@pytest.mark.parametrize("url", HERE)
def test_an_endpoint_on_this_machine_is_used(url: str) -> None:
    assert given_endpoint({"AWS_ENDPOINT_URL": url}) == url


@pytest.mark.parametrize("environ", [{}, {"AWS_ENDPOINT_URL": " "}, {"AWS_PROFILE": "production"}])
def test_without_an_endpoint_there_is_none(environ: dict[str, str]) -> None:
    assert given_endpoint(environ) is None


@pytest.mark.parametrize("url", ELSEWHERE)
def test_an_endpoint_elsewhere_is_used_only_if_that_is_meant(url: str) -> None:
    with pytest.raises(SetupError, match=r"AWS_ENDPOINT_URL is not on this machine .* or set WORKERS_TESTING_ENDPOINT"):
        given_endpoint({"AWS_ENDPOINT_URL": url})
    assert given_endpoint({"AWS_ENDPOINT_URL": "http://other", "WORKERS_TESTING_ENDPOINT": url}) == url


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "WORKERS_TESTING_ENDPOINT"])
@pytest.mark.parametrize(
    ("urls", "problem"), [(AWS, "is an address of AWS itself"), (WRONG, "must be an http or https")]
)
def test_aws_itself_and_what_is_no_url_are_refused(variable: str, urls: list[str], problem: str) -> None:
    for url in urls:
        with pytest.raises(SetupError, match=f"^{variable} {problem}"):
            given_endpoint({variable: url})


def test_without_the_extra_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SetupError, match=r"install order-fulfillment-workers\[testing\]"), session_stack(print, {}):
        pass
