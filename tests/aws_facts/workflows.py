"""What several checks do with state machines. On AWS they need a role; it may use the run's own resources only."""

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from tests.aws_facts.lab import Lab
from tests.aws_facts.tables import table_of

WORKFLOW_API = "https://docs.aws.amazon.com/step-functions/latest/apireference/"
WORKFLOW_GUIDE = "https://docs.aws.amazon.com/step-functions/latest/dg/"

States = Mapping[str, Mapping[str, Any]]

PASS: States = {"Pass": {"Type": "Pass", "End": True}}
WAIT: States = {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}
_TRACING = ("GetSamplingRules", "GetSamplingTargets", "PutTelemetryRecords", "PutTraceSegments")
_POLL_S = 0.2
_GIVE_UP_S = 60.0


def state_machine(lab: Lab, states: States, *, traced: bool = False, **top: object) -> str:
    """
    Create a state machine that starts with the first state, unless the run has it already; return its ARN.

    If it is *traced*, by X-Ray.
    """
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": next(iter(states)), "States": states, **top})
    return lab.shared(f"{definition}{traced}", lambda: _create(lab, definition, traced=traced))


def _with_partition(lab: Lab, definition: str) -> str:
    return definition.replace("arn:aws:states:::", f"arn:{lab.partition}:states:::")


def _create(lab: Lab, definition: str, *, traced: bool) -> str:
    name, role = lab.name(), role_of(lab)
    lab.removes(lambda: remove_state_machine(lab, name))
    answer = lab.workflows.create_state_machine(
        name=name,
        roleArn=role,
        definition=_with_partition(lab, definition),
        tracingConfiguration={"enabled": traced},
    )
    return str(answer["stateMachineArn"])


def remove_state_machine(lab: Lab, name: str) -> None:
    arn = f"arn:{lab.partition}:states:{lab.region}:{lab.account}:stateMachine:{name}"
    lab.workflows.delete_state_machine(stateMachineArn=arn)  # Also succeeds if there is none.


def role_of(lab: Lab) -> str:
    """Return the ARN of the role of the run's state machines, when it works."""
    return lab.shared("role", lambda: _create_role(lab))


def _create_role(lab: Lab) -> str:
    iam, name, policy = lab.client("iam"), lab.name(), "facts"
    lab.removes(lambda: iam.delete_role(RoleName=name), "NoSuchEntity")
    lab.removes(lambda: iam.delete_role_policy(RoleName=name, PolicyName=policy), "NoSuchEntity")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))["Role"]["Arn"]
    own = f"{lab.region}:{lab.account}"
    tables, queues = f"arn:{lab.partition}:dynamodb:{own}:table/", f"arn:{lab.partition}:sqs:{own}:"
    allowed = [
        _allow(["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"], f"{tables}{lab.prefix}*"),
        _allow(["dynamodb:Query"], f"{tables}{lab.prefix}*/index/*"),
        _allow(["sqs:GetQueueAttributes", "sqs:SendMessage"], f"{queues}{lab.prefix}*"),
        _allow(["cloudwatch:GetMetricData"], "*"),
        _allow([f"xray:{action}" for action in _TRACING], "*"),  # X-Ray has no permissions for single resources.
        _allow(["states:StartExecution"], f"arn:{lab.partition}:states:{own}:stateMachine:{lab.prefix}*"),
        # Of the children of a Distributed Map.
        _allow(
            ["states:DescribeExecution", "states:StopExecution"],
            f"arn:{lab.partition}:states:{own}:execution:{lab.prefix}*",
        ),
        _allow(["states:ListMapRuns"], f"arn:{lab.partition}:states:{own}:execution:{lab.prefix}*"),
        _allow(["states:DescribeMapRun"], f"arn:{lab.partition}:states:{own}:mapRun:{lab.prefix}*"),
    ]
    iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=_policy(*allowed))
    _wait_for_role(lab, arn)
    return str(arn)


def _allow(actions: list[str], resource: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


def _policy(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _wait_for_role(lab: Lab, role: str) -> None:
    """Wait until a state machine with the role can read the run's table. On AWS, a new role takes some seconds."""
    name = lab.name()
    lab.removes(lambda: remove_state_machine(lab, name))
    arguments = {"TableName": table_of(lab), "Key": {"OrderId": {"S": "x"}}}
    probe = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Read", "States": {"Read": read_task(arguments)}})
    probe = _with_partition(lab, probe)

    def works() -> bool:
        try:
            arn = lab.workflows.create_state_machine(name=name, roleArn=role, definition=probe)["stateMachineArn"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDeniedException":
                raise
            return False
        return bool(run(lab, arn)["status"] == "SUCCEEDED")

    if not lab.eventually(works, wanted=True):
        raise TimeoutError(f"the role {role} did not work within {lab.patience_s:.0f} s")
    lab.sleep(5.0 if lab.is_patient else 0.0)  # It may not work everywhere at once.


def read_task(arguments: Mapping[str, Any], **more: object) -> dict[str, Any]:
    return task("dynamodb:getItem", arguments, **more)


def task(resource: str, arguments: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """Return a Task state that calls a service; it is the last state, unless *more* says otherwise."""
    state = {"Type": "Task", "Resource": f"arn:aws:states:::{resource}", "Arguments": arguments}
    return state | ({} if "Next" in more else {"End": True}) | more


def start(lab: Lab, arn: str, given: object = None, name: str | None = None) -> str:
    """Start an execution with *given* as its input; return its ARN."""
    text = given if isinstance(given, str) else json.dumps({} if given is None else given)
    answer = lab.workflows.start_execution(stateMachineArn=arn, name=name or lab.name(), input=text)
    return str(answer["executionArn"])


def run(lab: Lab, arn: str, given: object = None) -> dict[str, Any]:
    """Run an execution to its end; return its description."""
    return ended(lab, start(lab, arn, given))


def ended(lab: Lab, execution: str) -> dict[str, Any]:
    """Wait for the end of an execution, for a minute at most; return its description."""
    waited_s = 0.0
    while True:
        try:
            described: dict[str, Any] = lab.workflows.describe_execution(executionArn=execution)
        except ClientError as error:  # DescribeExecution is eventually consistent.
            if error.response["Error"]["Code"] != "ExecutionDoesNotExist" or waited_s > _GIVE_UP_S:
                raise
        else:
            if described["status"] != "RUNNING" or waited_s > _GIVE_UP_S:
                return described
        lab.sleep(_POLL_S)
        waited_s += _POLL_S


def output_of(lab: Lab, states: States, given: object = None) -> object:
    """Run the states; return their output, or the status and the error if they fail."""
    described = run(lab, state_machine(lab, states), given)
    if described["status"] != "SUCCEEDED":
        return f"{described['status']} {described.get('error')}"
    return json.loads(described["output"])


def values_of(lab: Lab, expressions: Mapping[str, str], given: object = None) -> object:
    """Return the value of each expression in one state's output."""
    output = {name: f"{{% {expression} %}}" for name, expression in expressions.items()}
    return output_of(lab, {"Pass": {"Type": "Pass", "Output": output, "End": True}}, given)


def events_of(lab: Lab, execution: str, **parameters: object) -> list[dict[str, Any]]:
    pages = lab.workflows.get_paginator("get_execution_history").paginate(executionArn=execution, **parameters)
    return [event for page in pages for event in page["events"]]
