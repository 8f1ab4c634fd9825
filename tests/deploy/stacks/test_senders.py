"""Who may send to the queues of a pipeline that is deployed alone: by default the caller who deploys it."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.stacks import parameters, senders, stack, template
from tests.deploy.test_main import run

ROOT_ARN = "arn:aws:iam::000000000000:root"
OTHER = "arn:aws:iam::000000000000:role/Operators"


def identified(arn: str) -> Aws:
    """Return an AWS whose caller is `arn`. The local AWS only has the root user."""
    return cast("Aws", SimpleNamespace(sts=SimpleNamespace(get_caller_identity=lambda: {"Arn": arn})))


@pytest.mark.parametrize(
    ("arn", "named"),
    [
        (ROOT_ARN, ROOT_ARN),
        ("arn:aws:iam::111122223333:user/teams/ann", "arn:aws:iam::111122223333:user/teams/ann"),
        ("arn:aws:iam::111122223333:user/ann,b", "arn:aws:iam::111122223333:user/ann?b"),
        (
            "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_01/ann@example.com",
            "arn:aws:iam::111122223333:role/AWSReservedSSO_Admin_01,arn:aws:iam::111122223333:role/*/AWSReservedSSO_Admin_01",
        ),
        (
            "arn:aws-us-gov:sts::111122223333:assumed-role/Deployer/i-0123",
            "arn:aws-us-gov:iam::111122223333:role/Deployer,arn:aws-us-gov:iam::111122223333:role/*/Deployer",
        ),
        ("arn:aws:sts::111122223333:federated-user/ann", ""),
    ],
)
def test_a_caller_is_named_as_policies_compare_them(arn: str, named: str) -> None:
    assert senders.caller(identified(arn)) == named
    parameters.check({senders.PARAMETER: named}, "", [template.load(template.PIPELINE)])


def deployed(aws: Aws, prefix: str) -> str:
    return stack.parameters(stack.find(aws, f"{prefix}order-fulfillment"))[senders.PARAMETER]


def up(environment: Mapping[str, str], prefix: str, *arguments: str) -> Any:
    finished = run(environment, "up", "--pipeline-only", "--yes", "--name-prefix", prefix, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished.stderr


def test_the_caller_may_send_until_other_senders_are_named(local_aws: LocalAws, aws: Aws) -> None:
    environment = local_aws.environment

    assert f"may send to the queues, besides the system's own roles): {ROOT_ARN}\n" in up(environment, "sends-")
    url = aws.sqs.get_queue_url(QueueName="sends-EscalationQueue")["QueueUrl"]
    policy = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    assert ROOT_ARN in policy

    up(environment, "sends-", "--parameter", f"{senders.PARAMETER}={OTHER}")
    assert deployed(aws, "sends-") == OTHER
    up(environment, "sends-")
    assert deployed(aws, "sends-") == OTHER, "the list keeps its value"
    assert "SenderArns is empty" in up(environment, "sends-", "--parameter", f"{senders.PARAMETER}=")
    up(environment, "sends-")
    assert deployed(aws, "sends-") == "", "an empty list stays empty"
