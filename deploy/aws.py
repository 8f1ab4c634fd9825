"""The AWS clients the deployer uses, on whatever AWS they were made for; and what their errors mean for a person."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions
from botocore.config import Config

from deploy.errors import DeployError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_sts import STSClient

_CREDENTIALS_HINT = "Give the SDK working credentials, for example with AWS_PROFILE."
_CREDENTIAL_CODES = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


@dataclass(frozen=True, slots=True)
class Aws:
    """One client per service, all on the same account and region."""

    region: str
    cloudformation: "CloudFormationClient"
    cloudwatch: "CloudWatchClient"
    dynamodb: "DynamoDBClient"
    ecs: "ECSClient"
    s3: "S3Client"
    sqs: "SQSClient"
    stepfunctions: "SFNClient"
    sts: "STSClient"

    @classmethod
    def of(cls, client: Callable[[str], Any], region: str) -> "Aws":
        """Build the clients with `client`, given a service's name."""
        return cls(
            region=region,
            cloudformation=client("cloudformation"),
            cloudwatch=client("cloudwatch"),
            dynamodb=client("dynamodb"),
            ecs=client("ecs"),
            s3=client("s3"),
            sqs=client("sqs"),
            stepfunctions=client("stepfunctions"),
            sts=client("sts"),
        )

    @classmethod
    def from_environment(cls) -> "Aws":
        """
        Use the SDK's own variables and profiles. Raises what botocore raises where there is no region or profile.

        `AWS_REGION` comes first, as in every other SDK: Python's knows only `AWS_DEFAULT_REGION`. Raises `DeployError`
        where region or endpoint make no URL.
        """
        session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
        if not session.region_name:
            raise exceptions.NoRegionError
        config = Config(connect_timeout=10, retries={"mode": "standard", "total_max_attempts": 5})

        def client(service: str) -> Any:
            return session.client(service, config=config)  # type: ignore[call-overload]

        try:
            return cls.of(client, session.region_name)
        except ValueError as error:  # Of the SDK, which has no error of its own for that.
            text = str(error).rstrip(".")
            raise DeployError(f"{text}: region and AWS_ENDPOINT_URL must make a URL") from error


def explained(error: exceptions.BotoCoreError | exceptions.ClientError) -> DeployError:
    """Say in one line what an SDK error means for the person at the terminal."""
    if isinstance(error, exceptions.ClientError):
        code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code in _CREDENTIAL_CODES:
            return DeployError(f"AWS does not accept the credentials ({code}): {text} {_CREDENTIALS_HINT}")
        return DeployError(f"AWS refused {error.operation_name} ({code}): {text}")
    text = " ".join(str(error).split())
    match error:
        case exceptions.NoRegionError():
            return DeployError("No region: set AWS_REGION, or a region in your AWS profile.")
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return DeployError(f"No AWS credentials: {text}. {_CREDENTIALS_HINT}")
        case exceptions.EndpointConnectionError() | exceptions.ConnectionError() | exceptions.HTTPClientError():
            return DeployError(f"AWS cannot be reached: {text}")
        case _:
            return DeployError(text)
