"""The deployer's clients, and how their errors are explained."""

from collections.abc import Sequence

import pytest
from botocore import exceptions

from deploy.aws import Aws, explained
from deploy.errors import DeployError
from tests.deploy.stacks.fakes import refusal

HINT = "Give the SDK working credentials, for example with AWS_PROFILE."
CREDENTIAL_CODES = [
    *("AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidClientTokenId"),
    *("RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException"),
]


@pytest.mark.parametrize("code", CREDENTIAL_CODES)
def test_refused_credentials_come_with_a_hint(code: str) -> None:
    assert str(explained(refusal(code))) == f"AWS does not accept the credentials ({code}): no {HINT}"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (refusal("AccessDenied", operation="CreateStack"), "AWS refused CreateStack (AccessDenied): no"),
        (exceptions.ClientError({"Error": {}}, "CreateStack"), "AWS refused CreateStack (): "),
        (exceptions.NoRegionError(), "No region: set AWS_REGION, or a region in your AWS profile."),
        (exceptions.NoCredentialsError(), f"No AWS credentials: Unable to locate credentials. {HINT}"),
        (
            exceptions.PartialCredentialsError(provider="env", cred_var="key"),
            f"No AWS credentials: Partial credentials found in env, missing: key. {HINT}",
        ),
        (
            exceptions.EndpointConnectionError(endpoint_url="https://x"),
            'AWS cannot be reached: Could not connect to the endpoint URL: "https://x"',
        ),
        (
            exceptions.ProxyConnectionError(proxy_url="http://***:***@proxy.example:3128"),
            "AWS cannot be reached: proxy connection error at the proxy proxy.example:3128",
        ),
        (
            exceptions.ConnectTimeoutError(endpoint_url="https://x"),
            'AWS cannot be reached: Connect timeout on endpoint URL: "https://x"',
        ),
        (
            exceptions.HTTPClientError(error="a\n b"),
            "AWS cannot be reached: An HTTP Client raised an unhandled exception: a b",
        ),
        (exceptions.ProfileNotFound(profile="p"), "The config profile (p) could not be found"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_the_sdk_is_one_line(error: exceptions.BotoCoreError, text: str) -> None:
    assert str(explained(error)) == text


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-2"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
    ],
)
def test_aws_region_comes_first(environment: pytest.MonkeyPatch, variables: dict[str, str], region: str) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    aws = Aws.from_environment()
    assert (aws.region, aws.sqs.meta.region_name) == (region, region)
    config = aws.s3.meta.config
    assert (config.connect_timeout, config.retries) == (10, {"mode": "standard", "total_max_attempts": 5})  # type: ignore[attr-defined]


@pytest.mark.parametrize("empty", [(), ("AWS_DEFAULT_REGION",), ("AWS_REGION", "AWS_DEFAULT_REGION")])
def test_without_a_region_there_are_no_clients(environment: pytest.MonkeyPatch, empty: Sequence[str]) -> None:
    for name in empty:
        environment.setenv(name, "")
    with pytest.raises(exceptions.NoRegionError):
        Aws.from_environment()


def test_an_endpoint_that_is_not_a_url_is_one_line(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_REGION", "eu-west-1")
    environment.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(DeployError) as raised:
        Aws.from_environment()
    assert str(raised.value) == "Invalid endpoint: nowhere: region and AWS_ENDPOINT_URL must give a valid URL"


def test_each_service_has_its_client() -> None:
    aws = Aws.of(lambda service: service, "r")
    assert (aws.cloudformation, aws.cloudwatch, aws.dynamodb, aws.ecs) == (  # type: ignore[comparison-overlap]
        *("cloudformation", "cloudwatch"),
        *("dynamodb", "ecs"),
    )
    assert (aws.s3, aws.sqs, aws.stepfunctions, aws.sts) == ("s3", "sqs", "stepfunctions", "sts")  # type: ignore[comparison-overlap]
    assert (aws.iam, aws.lambda_) == ("iam", "lambda")  # type: ignore[comparison-overlap]


def test_a_variable_that_holds_no_proxy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("https_proxy", "socks5://ops:s3cret@proxy.example")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(
        DeployError, match=r"^https_proxy is not shown \(it has a user or password\), must be the http "
    ):
        Aws.from_environment()
