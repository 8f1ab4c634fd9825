"""The lines that `status` shows about tasks and alarms."""

from deploy.aws import Aws
from deploy.stacks import running
from tests.support import DeployStack


def test_a_stack_without_tasks_and_alarms_says_so(aws: Aws, deploy_stack: DeployStack) -> None:
    deploy_stack("bare-")

    assert running.tasks(aws, "bare-order-fulfillment") == ["tasks  -  (no service)"]
    assert running.alarms(aws, ["bare-order-fulfillment-workers"]) == ["alarms  -  (no alarm)"]
