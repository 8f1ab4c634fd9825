"""The policy of docs/acceptance.md allows what both workers do, and the names of IAM are known."""

from typing import Any

import pytest

from tests.acceptance.permissions import allowed, needed, policy
from tests.deploy.cloudwatch import WORKERS
from tests.deploy.permissions import granted, listed

# AWS's limit for a policy, without spaces: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY_CHARS = 6_144


@pytest.mark.parametrize("role", ["RoleForFulfillmentWorker", "RoleForEscalationWorker"])
def test_the_policy_allows_what_a_worker_does_with_tables_and_queues(role: str) -> None:
    documents = [each["PolicyDocument"] for each in WORKERS["Resources"][role]["Properties"]["Policies"]]
    statements = [statement for document in documents for statement in document["Statement"] if "Action" in statement]
    actions = {action for statement in statements for action in listed(statement["Action"])}
    needs = {action for action in actions if action.startswith(("dynamodb:", "sqs:"))}
    assert needs
    assert {action for action in needs if not allowed(action)} == set()


def test_the_policy_fits_and_names_nothing_but_what_has_the_prefix() -> None:
    document = policy()
    assert len("".join(str(document).split())) < MAX_POLICY_CHARS
    for action, resource in granted([document]):
        lists = action.rpartition(":")[2].startswith(("List", "Describe", "GetAccount", "GetMetric", "TestEvent"))
        assert "acceptance-" in resource or "order-fulfillment-artifacts-" in resource or lists, (action, resource)


@pytest.mark.parametrize(
    ("service", "operation", "asked", "actions"),
    [
        ("stepfunctions", "StartExecution", {}, {"states:StartExecution"}),
        ("stepfunctions", "CreateStateMachine", {}, {"states:CreateStateMachine", "iam:PassRole"}),
        ("sqs", "DeleteMessageBatch", {}, {"sqs:DeleteMessage"}),
        ("s3", "HeadObject", {}, {"s3:GetObject"}),
        ("s3", "DeleteObject", {"VersionId": "1"}, {"s3:DeleteObjectVersion"}),
        ("s3", "DeleteObject", {}, {"s3:DeleteObject"}),
        ("sts", "GetCallerIdentity", {}, set()),
    ],
)
def test_calls_need_permissions_by_iams_names(
    service: str, operation: str, asked: dict[str, Any], actions: set[str]
) -> None:
    assert needed(service, operation, asked) == actions
