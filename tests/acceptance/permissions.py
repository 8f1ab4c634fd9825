"""The permissions that calls need, by IAM's names, and those of the policy in docs/acceptance.md."""

import json
from collections.abc import Mapping
from typing import Any

from tests.deploy.permissions import granted
from tests.docs.pages import blocks, page

# IAM's names of services, where they are not those of the SDK.
_SERVICES = {"stepfunctions": "states"}
_BATCH = "Batch"
# IAM's names of calls, where they are not those of the API:
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "dynamodb:BatchExecuteStatement": (
        *("dynamodb:PartiQLDelete", "dynamodb:PartiQLInsert", "dynamodb:PartiQLSelect", "dynamodb:PartiQLUpdate"),
    ),
    "dynamodb:TransactWriteItems": (
        *("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"),
    ),
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:HeadObject": ("s3:GetObject",),
    "s3:ListBuckets": ("s3:ListAllMyBuckets",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:ListObjectsV2": ("s3:ListBucket",),
    "s3:PutBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "s3:PutPublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
    "states:CreateStateMachine": ("states:CreateStateMachine", "iam:PassRole"),
    "sts:GetCallerIdentity": (),  # Allowed to everyone.
}


def policy() -> dict[str, Any]:
    """Return the policy of the page."""
    (text,) = blocks(page("docs/acceptance.md"), "json")
    document: dict[str, Any] = json.loads(text)
    return document


LISTED = "the policy in docs/acceptance.md does not allow these calls"


def needed(service: str, operation: str, asked: Mapping[str, Any]) -> set[str]:
    """Return the actions that a call needs."""
    action = f"{_SERVICES.get(service, service)}:{operation}"
    if service == "sqs" and operation.endswith(_BATCH):
        action = action.removesuffix(_BATCH)
    if action == "s3:DeleteObject" and "VersionId" in asked:
        action = "s3:DeleteObjectVersion"
    return set(_ACTIONS.get(action, (action,)))


def allowed(action: str) -> bool:
    """Return whether the policy of the page allows an action."""
    return action in {name for name, _resource in granted([policy()])}
