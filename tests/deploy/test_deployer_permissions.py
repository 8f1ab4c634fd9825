"""The policies in deploy/policies allow what `python -m deploy` and CloudFormation do with them, and nothing else."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.command import main
from deploy.errors import DeployError
from deploy.local.aws import ROOT, LocalAws
from deploy.progress import Progress
from deploy.stacks import pipeline, preflight, stack
from deploy.stacks import workers as workers_stack
from deploy.stacks.changes import Review
from tests.deploy import handlers
from tests.deploy.permissions import ACCOUNT, ANY, Permission, Recorder, granted
from tests.deploy.stacks.support import Resources, edited
from tests.deploy.stacks.test_workers import GIVEN, SERVICE
from workers.testing.sdk import REGION

POLICIES = [ROOT / "deploy" / "policies" / f"{name}.json" for name in ("pipeline", "workflows", "intake", "workers")]
# For a caller whose stacks have a role. CloudFormation looks up the subnets and security groups of parameters.
WITH_ROLE = ROOT / "deploy" / "policies" / "with-role.json"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{handlers.PREFIX}DeployOrderFulfillment"
LOOKED_UP = {("ec2:DescribeSecurityGroups", ANY), ("ec2:DescribeSubnets", ANY)}
PREFIX = handlers.PREFIX
NAMED = ("--name-prefix", PREFIX)
QUIET = Progress(quiet=True)
# A region of its own, in which there is no bucket of uploads yet.
ELSEWHERE = "eu-west-2"
# What people do with the same role, as a message of `up` tells them. The SDK here is too old for it.
BY_HAND = {
    ("cloudformation:DescribeEvents", f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{PREFIX}{name}/{ANY}")
    for name in ("order-fulfillment", "order-fulfillment-workers")
}
# IAM's limit for a managed policy, without white space.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_POLICY_CHARACTERS = 6_144


def filled_in(path: Path, **values: str) -> Any:
    named = {"PARTITION": "aws", "REGION": REGION, "ACCOUNT": ACCOUNT, "PREFIX": PREFIX} | values
    text = path.read_text("utf-8")
    for name, value in named.items():
        text = text.replace(f"<{name}>", value)
    return json.loads(text)


def other_index(resources: Resources) -> None:
    """Add an attribute, which makes `up` look at the deployed template."""
    table = resources["OrderTable"]["Properties"]
    table["AttributeDefinitions"] = [*table["AttributeDefinitions"], {"AttributeName": "Name", "AttributeType": "S"}]
    index = {**table["GlobalSecondaryIndexes"][0], "IndexName": "Other"}
    index["KeySchema"] = [{"AttributeName": "Name", "KeyType": "HASH"}]
    table["GlobalSecondaryIndexes"] = [*table["GlobalSecondaryIndexes"], index]


@dataclass(frozen=True, slots=True)
class Called:
    """The permissions that `up`, `status` and `down` needed for their own requests, in every way they can go."""

    for_pipeline: set[Permission]
    for_both: set[Permission]


@pytest.fixture(scope="module")
def called(local_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Called]:
    directory = tmp_path_factory.mktemp("deployer")
    with Recorder(local_aws.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in local_aws.environment.items():
            patch.setenv(name, value)
        for name, value in {"AWS_ENDPOINT_URL": proxy.url, "AWS_REGION": ELSEWHERE}.items():
            patch.setenv(name, value)
        aws = Aws.from_environment()

        def recorded() -> set[Permission]:
            return {(action, resource.replace(ELSEWHERE, REGION)) for action, resource in proxy.needed()}

        deploy_pipeline(aws, directory, local_aws.client("s3"))
        for_pipeline = recorded()
        deploy_both(aws, directory)
        yield Called(for_pipeline, recorded())


def deploy_pipeline(aws: Aws, directory: Path, s3_of_others: Any) -> None:
    assert main(["up", "--pipeline-only", *NAMED]) == 0
    assert main(["up", "--pipeline-only", *NAMED]) == 0, "nothing to change"
    declined = Review(confirm=lambda: False)
    with pytest.raises(DeployError, match="Nothing was changed"):
        pipeline.up(aws, PREFIX, QUIET, edited(directory, other_index), review=declined)
    assert main(["status", *NAMED]) == 0
    stack.delete(aws, pipeline.stack_name(PREFIX), QUIET)
    deployed = pipeline.up(aws, PREFIX, QUIET)  # With the tables that are left.
    s3_of_others.put_object(Bucket=deployed.outputs["OrderIntakeBucketName"], Key="incoming/a.csv", Body=b"x")
    assert main(["down", "--yes", *NAMED]) == 0


def deploy_both(aws: Aws, directory: Path) -> None:
    """Deploy a stand-in for the workers' stack, because the local AWS lacks some of its types."""
    parameters = [f"--parameter={name}={value}" for name, value in GIVEN.items()]
    assert main(["up", *NAMED, *parameters]) == 1, "refused because of the types that are missing"
    preflight.ensure_service_linked_roles(aws, QUIET, sleep=lambda _: None)
    pipeline.up(aws, PREFIX, QUIET)
    workers = directory / "workers.json"
    source = {"Parameters": handlers.WORKERS["Parameters"], "Resources": SERVICE}
    workers.write_text(json.dumps(source), encoding="utf-8")
    for _ in range(2):
        workers_stack.up(aws, PREFIX, QUIET, workers, given=GIVEN)
    assert main(["status", *NAMED]) == 0
    assert main(["down", "--yes", *NAMED]) == 0


def matches(needed: Permission, allowed: Permission) -> bool:
    return all(fnmatchcase(ours, pattern) for ours, pattern in zip(needed, allowed, strict=True))


def without_grant(needed: Iterable[Permission], allowed: Iterable[Permission]) -> list[Permission]:
    return sorted(call for call in needed if not any(matches(call, grant) for grant in allowed))


def without_call(allowed: Iterable[Permission], needed: Iterable[Permission]) -> list[Permission]:
    return sorted(grant for grant in allowed if not any(matches(call, grant) for call in needed))


def test_a_deployer_may_do_what_a_deployment_does_and_nothing_else(called: Called) -> None:
    allowed = granted(filled_in(path) for path in POLICIES)
    by_cloudformation = {*handlers.needed(handlers.PIPELINE), *handlers.needed(handlers.WORKERS)}
    needed = called.for_both | by_cloudformation | BY_HAND

    assert without_grant(needed, allowed) == []
    assert without_call(allowed, needed) == []


def test_the_pipeline_alone_needs_only_the_first_three_policies(called: Called) -> None:
    allowed = granted(filled_in(path) for path in POLICIES[:3])
    assert without_grant(called.for_pipeline | set(handlers.needed(handlers.PIPELINE)), allowed) == []


def test_with_a_role_for_cloudformation_a_deployer_may_do_only_its_own_requests(called: Called) -> None:
    allowed = granted([filled_in(WITH_ROLE)])
    needed = called.for_both | BY_HAND | LOOKED_UP | {("iam:PassRole", ROLE)}

    assert without_grant(needed, allowed) == []
    assert without_call(allowed, needed) == []


@pytest.mark.parametrize("path", [*POLICIES, WITH_ROLE], ids=lambda path: path.stem)
def test_a_policy_fits_into_iam_and_names_what_it_allows(path: Path) -> None:
    longest = filled_in(path, PARTITION="aws-us-gov", REGION="ap-southeast-1", PREFIX="p" * 30)
    assert len(json.dumps(longest, separators=(",", ":"))) <= MAX_POLICY_CHARACTERS
    assert "<" not in json.dumps(longest)
    for action, resource in granted([filled_in(path)]):
        verb = action.partition(":")[2]
        assert "*" not in action or verb.startswith(("Describe", "Get")), f"{action}: only reading may be a pattern"
        assert resource != ANY or verb.startswith(("Describe", "Get", "List", "Validate", "Deregister", "Register")), (
            action
        )


def test_roles_are_passed_to_their_own_service_only() -> None:
    for path in (*POLICIES, WITH_ROLE):
        for statement in filled_in(path)["Statement"]:
            if "iam:PassRole" in statement["Action"]:
                assert statement["Action"] == "iam:PassRole"
                assert list(statement["Condition"]["StringEquals"]) == ["iam:PassedToService"]
