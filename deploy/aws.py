"""The deployer's AWS clients, for AWS or a local AWS, and their errors as texts for the user."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions
from botocore.config import Config

from deploy.errors import DeployError
from workers.aws.unreachable import unreachable
from workers.errors import FatalError
from workers.proxies import keep_metadata_direct, proxy_for

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
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
    iam: "IAMClient"
    lambda_: "LambdaClient"
    s3: "S3Client"
    sqs: "SQSClient"
    stepfunctions: "SFNClient"
    sts: "STSClient"

    @classmethod
    def of(cls, client: Callable[[str], Any], region: str) -> "Aws":
        """Build the clients; `client` builds one from a service's name."""
        return cls(
            region=region,
            cloudformation=client("cloudformation"),
            cloudwatch=client("cloudwatch"),
            dynamodb=client("dynamodb"),
            ecs=client("ecs"),
            iam=client("iam"),
            lambda_=client("lambda"),
            s3=client("s3"),
            sqs=client("sqs"),
            stepfunctions=client("stepfunctions"),
            sts=client("sts"),
        )

    @classmethod
    def from_environment(cls) -> "Aws":
        """
        Build the clients from the SDK's own variables and profiles.

        `AWS_REGION` comes first, as in the SDKs for other languages; boto3 itself reads only `AWS_DEFAULT_REGION`.
        Raises botocore's errors if region or profile are missing, and `DeployError` if region and endpoint give no
        valid URL, or the variable for the proxy holds none.
        """
        keep_metadata_direct()
        session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
        if not session.region_name:  # An empty AWS_DEFAULT_REGION, which the SDK puts into the endpoint's address.
            raise exceptions.NoRegionError
        config = Config(
            connect_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 5},
            # Every other region has only this kind of host. The bucket's region must be in the URL of a template.
            s3={"us_east_1_regional_endpoint": "regional"},
        )

        def client(service: str) -> Any:
            made = session.client(service, config=config)  # type: ignore[call-overload]
            proxy_for(made.meta.endpoint_url)  # Checks the variable that names it.
            return made

        try:
            return cls.of(client, session.region_name)
        except ValueError as error:  # The SDK has no error class of its own for this.
            text = str(error).rstrip(".")
            raise DeployError(f"{text}: region and AWS_ENDPOINT_URL must give a valid URL") from error
        except FatalError as error:
            raise DeployError(str(error)) from error


def explained(error: exceptions.BotoCoreError | exceptions.ClientError) -> DeployError:
    """Return an SDK error as one line for the user."""
    if isinstance(error, exceptions.ClientError):
        code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
        if code in _CREDENTIAL_CODES:
            return DeployError(f"AWS does not accept the credentials ({code}): {text} {_CREDENTIALS_HINT}")
        return DeployError(f"AWS refused {error.operation_name} ({code}): {text}")
    # The SDK's own text about a proxy may show a password.
    proxied = isinstance(error, exceptions.ProxyConnectionError)
    text = unreachable(error) if proxied else " ".join(str(error).split())
    match error:
        case exceptions.NoRegionError():
            return DeployError("No region: set AWS_REGION, or a region in your AWS profile.")
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return DeployError(f"No AWS credentials: {text}. {_CREDENTIALS_HINT}")
        case exceptions.EndpointConnectionError() | exceptions.ConnectionError() | exceptions.HTTPClientError():
            return DeployError(f"AWS cannot be reached: {text}")
        case _:
            return DeployError(text)
