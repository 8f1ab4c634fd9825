"""`python -m deploy` as real processes: exit codes, and one clear line if something is wrong."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.aws import ROOT, LocalAws
from tests import forked
from tests.json_documents import DEPLOY_STATUS, check
from tests.support import DeployStack

pytestmark = pytest.mark.process


def run(environment: Mapping[str, str], *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "deploy", *arguments], cwd=ROOT, env=environment, text=answer)


@pytest.fixture
def no_aws(tmp_path: Path) -> dict[str, str]:
    """An environment without any AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}


def one_line(finished: subprocess.CompletedProcess[str], *, code: int = 1) -> str:
    """Return standard error after checking that it is one line, and that the exit code is right."""
    assert finished.returncode == code, finished.stderr
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1, finished.stderr
    return finished.stderr


def test_up_status_and_down_from_a_shell(local_aws: LocalAws) -> None:
    environment = local_aws.environment

    up = run(environment, "up", "--pipeline-only", "--name-prefix", "shell-")
    assert up.returncode == 0, up.stderr
    assert re.search(r"^OrderTableName +shell-OrderTable$", up.stdout, re.MULTILINE)
    assert "CREATE_IN_PROGRESS" not in up.stderr, "a pipe does not get the progress of every resource"

    again = run(environment, "up", "--pipeline-only", "--name-prefix", "shell-")
    assert again.returncode == 0
    assert "is unchanged" in again.stderr

    status = run(environment, "status", "--name-prefix", "shell-")
    assert status.returncode == 0
    assert status.stdout.startswith("shell-order-fulfillment  CREATE_COMPLETE  us-east-1\n")
    assert re.search(r"^shell-OrderTable +0 items$", status.stdout, re.MULTILINE)
    assert re.search(r"^shell-EscalationDLQ +0 messages \(", status.stdout, re.MULTILINE)

    check(DEPLOY_STATUS, run(environment, "status", "--name-prefix", "shell-", "--json").stdout)

    unattended = run(environment, "down", "--name-prefix", "shell-")
    assert unattended.returncode == 1
    assert "--yes" in unattended.stderr

    down = run(environment, "down", "--name-prefix", "shell-", "--yes")
    assert down.returncode == 0, down.stderr
    assert "shell-order-fulfillment and its tables are deleted" in down.stderr
    assert "There is no stack shell-order-fulfillment" in one_line(
        run(environment, "status", "--name-prefix", "shell-")
    )


def test_a_second_region_of_the_account_needs_a_prefix_of_its_own(
    local_aws: LocalAws, deploy_stack: DeployStack
) -> None:
    """Names of roles are the same in all regions. That is found before anything is created."""
    deploy_stack("home-")
    second = local_aws.environment | {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}

    refused = one_line(run(second, "up", "--pipeline-only", "--name-prefix", "home-"))
    names = ("Lambda", "StuckOrderSweep", "SweepSchedule", "BulkOrderIntake")
    roles = (f"RoleFor{names[0]}", "Role4OrderFulfillmentStepFunctions", *(f"RoleFor{name}" for name in names[1:]))
    assert f"{', '.join(f'the role home-{role}' for role in roles)} exist already" in refused
    assert "A stack in us-east-1 uses them" in refused
    assert "There is no stack home-order-fulfillment in eu-west-1" in one_line(
        run(second, "status", "--name-prefix", "home-")
    )

    suggested = re.search(r"--name-prefix (\S+)\. ", refused)
    assert suggested
    up = run(second, "up", "--pipeline-only", "--name-prefix", suggested[1])
    assert up.returncode == 0, up.stderr
    assert re.search(r"^OrderTableName +home-eu-west-1-OrderTable$", up.stdout, re.MULTILINE)
    assert run(second, "down", "--yes", "--name-prefix", suggested[1]).returncode == 0


def test_up_asks_before_it_changes_a_table_or_queue(local_aws: LocalAws, deploy_stack: DeployStack) -> None:
    """Without a terminal it says how to go on."""
    deploy_stack("asked-")
    key = "KmsKeyArn=arn:aws:kms:us-east-1:000000000000:key/1"
    command = ["up", "--pipeline-only", "--name-prefix", "asked-", "--parameter", key]
    line = r"^  Modify  OrderTable +AWS::DynamoDB::Table +in place +SSESpecification$"

    unattended = run(local_aws.environment, *command)
    assert unattended.returncode == 1
    assert re.search(line, unattended.stderr, re.MULTILINE)
    assert unattended.stderr.endswith(
        "Nothing was changed: there is no terminal to ask for confirmation. To confirm: --yes\n"
    )

    for answer, code in (("no", 1), ("yes", 0)):
        ours, theirs = pty.openpty()
        try:
            os.write(ours, f"{answer}\n".encode())
            attended = subprocess.run(
                [sys.executable, "-m", "deploy", *command],
                cwd=ROOT,
                env=local_aws.environment,
                stdin=theirs,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            os.close(ours)
            os.close(theirs)
        assert "Make these changes? Type yes: " in attended.stderr
        assert attended.returncode == code, attended.stderr


def test_down_refuses_data_with_exit_code_1(local_aws: LocalAws, deploy_stack: DeployStack) -> None:
    deployed = deploy_stack("refused-")
    deployed.client("sqs").send_message(QueueUrl=deployed.escalation_queue_url, MessageBody="x")

    refused = run(local_aws.environment, "down", "--name-prefix", "refused-", "--yes")

    assert refused.returncode == 1
    assert "Nothing was deleted: refused-EscalationQueue holds 1 message" in refused.stderr


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_a_wrong_prefix_is_refused_before_anything_changes(command: str, no_aws: dict[str, str]) -> None:
    environment = no_aws | {"AWS_REGION": "us-east-1"}

    assert "NamePrefix '9x'" in one_line(run(environment, command, "--name-prefix", "9x"))


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_no_region_is_one_line(command: str, no_aws: dict[str, str]) -> None:
    assert "No region: set AWS_REGION" in one_line(run(no_aws, command))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "No region: set AWS_REGION"),
        ({"AWS_REGION": "us east 1"}, "us east 1"),
        ({"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "localhost 4566"}, "AWS_ENDPOINT_URL must give a valid URL"),
    ],
)
def test_an_invalid_region_or_endpoint_is_one_line(
    settings: dict[str, str], message: str, no_aws: dict[str, str]
) -> None:
    assert message in one_line(run(no_aws | settings, "status"))


@pytest.mark.parametrize("command", ["up", "status", "down"])
def test_no_credentials_is_one_line(command: str, no_aws: dict[str, str]) -> None:
    assert "No AWS credentials" in one_line(run(no_aws | {"AWS_REGION": "us-east-1"}, command))


def test_an_unknown_profile_is_one_line(no_aws: dict[str, str]) -> None:
    assert "nowhere" in one_line(run(no_aws | {"AWS_PROFILE": "nowhere"}, "status"))


def test_an_unreachable_endpoint_is_one_line(local_aws: LocalAws) -> None:
    environment = local_aws.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}

    assert "AWS cannot be reached" in one_line(run(environment, "status"))


@pytest.mark.parametrize(
    "arguments", [[], ["sideways"], ["up", "--fast"], ["run", "--port", "0"], ["local", "--port", "x"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], no_aws: dict[str, str]) -> None:
    assert run(no_aws, *arguments).returncode == 2


def test_help_has_examples(no_aws: dict[str, str]) -> None:
    shown = run(no_aws, "--help")

    assert shown.returncode == 0
    assert "python -m deploy down --yes" in shown.stdout
