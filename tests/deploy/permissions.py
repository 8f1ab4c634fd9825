"""
The permissions that a request needs, by IAM's names, and a proxy that records the requests of a process.

IAM's names are not always the API's: a batch needs the permission of the single call; a PartiQL statement or a
transaction needs those of its parts. https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from deploy.stacks.preflight import SERVICE_LINKED_ROLES
from tests.chaos.proxy import FaultProxy
from workers.testing.sdk import REGION

ACCOUNT = "000000000000"
ANY = "*"

Permission = tuple[str, str]  # Action and resource.


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it was sent over HTTP. `service` is the one it was signed for."""

    service: str
    operation: str
    asked: Mapping[str, Any]

    @classmethod
    def of(cls, request: web.BaseRequest, body: bytes) -> "Call":
        signed = re.search(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/", request.headers.get("Authorization", ""))
        assert signed, "an unsigned request"
        service = signed[1]
        if target := request.headers.get("X-Amz-Target"):
            return cls(service, target.rpartition(".")[2], json.loads(body))
        if service in {"lambda", "s3"}:  # REST: the operation is the method, and for S3 also a name in the query.
            named = _S3_IN_QUERY.intersection(request.query)
            return cls(service, " ".join([request.method, *named]), {"Path": request.path})
        if "/operation/" in request.path:  # CloudWatch's newest protocol, in CBOR. One permission depends on the body.
            dashboard = re.search(rb"DashboardName(?:[\x60-\x77]|\x78.)([A-Za-z0-9-]+)", body, re.DOTALL)
            asked = {"DashboardName": dashboard[1].decode()} if dashboard else {}
            return cls(service, request.path.rpartition("/")[2], asked)
        form = dict(parse_qsl(body.decode()))
        return cls(service, form.pop("Action"), form)


@dataclass
class Recorder(FaultProxy):
    """Forwards every request, and records it."""

    seed: int = 0
    calls: list[Call] = field(default_factory=list)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.calls.append(Call.of(request, await request.read()))
        return await super()._handle(request)

    def needed(self) -> set[Permission]:
        """Return the permissions that all requests so far needed."""
        return {permission for call in list(self.calls) for permission in needs(call)}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def needs(call: Call) -> set[Permission]:
    """Return the permissions that a request needs. Raises `KeyError` for an unknown request."""
    return _SERVICES[call.service](call.operation, call.asked)


def _dynamodb(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    match operation:
        case "BatchExecuteStatement":
            return {_statement(statement["Statement"]) for statement in asked["Statements"]}
        case "TransactWriteItems":
            parts = [(_TRANSACTION[kind], part) for item in asked["TransactItems"] for kind, part in item.items()]
            return {(f"dynamodb:{action}", _table(part["TableName"])) for action, part in parts}
        case "Query" | "Scan" if "IndexName" in asked:
            return {(f"dynamodb:{operation}", f"{_table(asked['TableName'])}/index/{asked['IndexName']}")}
        case "BatchGetItem":
            return {("dynamodb:BatchGetItem", _table(name)) for name in asked["RequestItems"]}
        case "ListTagsOfResource":
            return {("dynamodb:ListTagsOfResource", asked["ResourceArn"])}
        case _ if operation in _DYNAMODB:
            return {(f"dynamodb:{operation}", _table(asked["TableName"]))}
    raise KeyError(operation)


_DYNAMODB = {
    "DeleteTable",
    "DescribeContinuousBackups",
    "DescribeTable",
    "DescribeTimeToLive",
    "GetItem",
    "PutItem",
    "Query",
    "Scan",
    "UpdateItem",
    "UpdateTable",
}
_TRANSACTION = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}
_PARTIQL = {"DELETE": "PartiQLDelete", "INSERT": "PartiQLInsert", "SELECT": "PartiQLSelect", "UPDATE": "PartiQLUpdate"}


def _table(name: str) -> str:
    return arn("dynamodb", f"table/{name}")


def _statement(statement: str) -> Permission:
    named = re.fullmatch(r'(\w+) (?:.*FROM |INTO )?"([^"]+)".*', statement, re.DOTALL)
    assert named, statement
    return f"dynamodb:{_PARTIQL[named[1].upper()]}", _table(named[2])


def _sqs(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    name = asked["QueueName"] if "QueueName" in asked else asked["QueueUrl"].rpartition("/")[2]
    return {(f"sqs:{_SQS[operation]}", arn("sqs", name))}


_SQS = {
    "ChangeMessageVisibility": "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "DeleteMessage": "DeleteMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "GetQueueAttributes": "GetQueueAttributes",
    "GetQueueUrl": "GetQueueUrl",
    "ListQueueTags": "ListQueueTags",
    "ReceiveMessage": "ReceiveMessage",
    "SendMessage": "SendMessage",
    "SendMessageBatch": "SendMessage",
    "TagQueue": "TagQueue",
    "UntagQueue": "UntagQueue",
}


def _simple(resources: Mapping[str, tuple[str, str]]) -> Callable[[str, Mapping[str, Any]], set[Permission]]:
    """Look up an operation's permission, and the parameter with the ARN of its resource, or `*`."""

    def permissions(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
        action, resource = resources[operation]
        return {(action, ANY if resource == ANY else asked[resource])}

    return permissions


def _states(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    match operation:
        case "StartExecution" | "ListExecutions" | "DescribeStateMachine":
            return {(f"states:{operation}", asked["stateMachineArn"])}
        case "DescribeExecution" | "DescribeStateMachineForExecution" | "GetExecutionHistory" | "ListMapRuns":
            return {(f"states:{operation}", f"{asked['executionArn'].rpartition(':')[0]}:{ANY}")}
        case "ListTagsForResource":
            return {("states:ListTagsForResource", asked["resourceArn"])}
        case "DescribeMapRun":  # arn:aws:states:REGION:ACCOUNT:mapRun:MACHINE/LABEL:ID
            return {("states:DescribeMapRun", f"{asked['mapRunArn'].rpartition('/')[0]}/{ANY}")}
    raise KeyError(operation)


def _cloudformation(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    if operation in {"ListStacks", "ValidateTemplate"}:
        return {(f"cloudformation:{operation}", ANY)}
    if operation not in _CLOUDFORMATION:
        raise KeyError(operation)
    named = asked["StackName"].split("/")  # A name, or an ARN that ends in stack/<name>/<id>.
    return {
        (f"cloudformation:{operation}", arn("cloudformation", f"stack/{named[1] if named[1:] else named[0]}/{ANY}"))
    }


_CLOUDFORMATION = {
    *("CreateChangeSet", "DeleteChangeSet", "DeleteStack", "DescribeChangeSet", "DescribeStackEvents"),
    *("DescribeStacks", "ExecuteChangeSet", "GetTemplate", "ListStackResources"),
}


def _s3(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    bucket, _, key = str(asked["Path"]).strip("/").partition("/")
    if operation == "POST delete":  # Of many objects at once.
        return {("s3:DeleteObject", f"arn:aws:s3:::{bucket}/{ANY}")}
    return {(f"s3:{(_S3_OBJECT if key else _S3_BUCKET)[operation]}", f"arn:aws:s3:::{bucket}{key and '/'}{key}")}


# https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
_S3_BUCKET = {
    "DELETE": "DeleteBucket",
    "GET": "ListBucket",
    "GET versions": "ListBucketVersions",
    "HEAD": "ListBucket",
    "PUT": "CreateBucket",
    "PUT encryption": "PutEncryptionConfiguration",
    "PUT ownershipControls": "PutBucketOwnershipControls",
    "PUT policy": "PutBucketPolicy",
    "PUT publicAccessBlock": "PutBucketPublicAccessBlock",
    "PUT versioning": "PutBucketVersioning",
}
_S3_IN_QUERY = {
    "delete",
    "encryption",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "versionId",
    "versioning",
    "versions",
}
_S3_OBJECT = {"DELETE versionId": "DeleteObjectVersion", "GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject"}


def _iam(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    match operation:
        case "GetRole":
            services = {name: f"aws-service-role/{service}/" for service, name in SERVICE_LINKED_ROLES.items()}
            role = f"{services.get(asked['RoleName'], '')}{asked['RoleName']}"
        case "CreateServiceLinkedRole":
            service = asked["AWSServiceName"]
            role = f"aws-service-role/{service}/{SERVICE_LINKED_ROLES[service]}"
        case _:
            raise KeyError(operation)
    return {(f"iam:{operation}", f"arn:aws:iam::{ACCOUNT}:role/{role}")}


def _lambda(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    if (operation, asked["Path"].strip("/")) != ("GET", "2016-08-19/account-settings"):
        raise KeyError(operation)
    return {("lambda:GetAccountSettings", ANY)}


def _ecs(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    match operation:
        case "DescribeServices":
            return {("ecs:DescribeServices", arn("ecs", f"service/{asked['cluster']}/{ANY}"))}
        case "DescribeTaskDefinition" | "ListServices":  # IAM cannot allow them for a single one.
            return {(f"ecs:{operation}", ANY)}
    raise KeyError(operation)


def _logs(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    match operation:
        case "DescribeLogGroups":
            return {("logs:DescribeLogGroups", ANY)}
        case "FilterLogEvents":
            return {
                ("logs:FilterLogEvents", arn("logs", f"log-group:{asked['logGroupName'].rpartition('/')[0]}/{ANY}"))
            }
    raise KeyError(operation)


def _monitoring(operation: str, asked: Mapping[str, Any]) -> set[Permission]:
    if operation == "GetDashboard":
        return {("cloudwatch:GetDashboard", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{asked['DashboardName']}")}
    if operation not in {"DescribeAlarms", "GetMetricData", "GetMetricStatistics"}:
        raise KeyError(operation)
    return {(f"cloudwatch:{operation}", ANY)}


_SERVICES: dict[str, Callable[[str, Mapping[str, Any]], set[Permission]]] = {
    "cloudformation": _cloudformation,
    "dynamodb": _dynamodb,
    "ecs": _ecs,
    "iam": _iam,
    "lambda": _lambda,
    "logs": _logs,
    "monitoring": _monitoring,
    "s3": _s3,
    "secretsmanager": _simple({"GetSecretValue": ("secretsmanager:GetSecretValue", "SecretId")}),
    "sns": _simple({"Publish": ("sns:Publish", "TopicArn")}),
    "sqs": _sqs,
    "states": _states,
    "sts": lambda _operation, _asked: set(),  # GetCallerIdentity needs no permission.
}


def granted(documents: Iterable[Mapping[str, Any]]) -> set[Permission]:
    """Return what policy documents allow, except for KMS: a request does not show which key permissions it needs."""
    return {
        (action, resource)
        for document in documents
        for statement in document["Statement"]
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if not action.startswith("kms:")
    }


def listed(value: Any) -> list[Any]:
    """Return a single value as a list, and a list as it is."""
    return value if isinstance(value, list) else [value]
