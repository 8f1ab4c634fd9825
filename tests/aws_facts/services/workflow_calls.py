"""Calls about executions: starting the same one again, names and inputs, descriptions, histories."""

import json
from email.utils import parsedate_to_datetime

from tests.aws_facts.fact import AnyOf, facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.workflows import (
    PASS,
    WAIT,
    WORKFLOW_API,
    WORKFLOW_GUIDE,
    ended,
    events_of,
    run,
    start,
    state_machine,
)

fact = facts_of("stepfunctions")

_START = WORKFLOW_API + "API_StartExecution.html"
_HISTORY = WORKFLOW_API + "API_GetExecutionHistory.html"


@fact(
    "StartExecution with the name and the input of a running execution answers with that execution.",
    source=_START,
    relied_on_by=("workers/operations/submit.py::start_execution", "workers/aws/executions.py::start"),
    expected="the same execution",
)
def a_running_execution_is_started_again(lab: Lab) -> object:
    arn, name = state_machine(lab, WAIT), lab.name()
    first = start(lab, arn, name=name)
    try:
        again = error_of(lab.workflows.start_execution, stateMachineArn=arn, name=name, input="{}")
        return "the same execution" if again == "ok" and start(lab, arn, name=name) == first else again
    finally:
        lab.workflows.stop_execution(executionArn=first)


@fact(
    "StartExecution with the name of an execution that has ended, or with another input, is ExecutionAlreadyExists.",
    source=_START,
    relied_on_by=("workers/operations/submit.py::ExecutionAlreadyExists", "workers/aws/executions.py::ALREADY_EXISTS"),
    expected=["ExecutionAlreadyExists", "ExecutionAlreadyExists"],
)
def an_ended_execution_is_not_started_again(lab: Lab) -> object:
    done, waiting, name = state_machine(lab, PASS), state_machine(lab, WAIT), lab.name()
    ended(lab, start(lab, done, name=name))
    again = error_of(lab.workflows.start_execution, stateMachineArn=done, name=name, input="{}")
    running = start(lab, waiting, name=name)
    try:
        other = error_of(lab.workflows.start_execution, stateMachineArn=waiting, name=name, input='{"a": 1}')
    finally:
        lab.workflows.stop_execution(executionArn=running)
    return [again, other]


@fact(
    "StartExecution answers with the time at which the execution started, and with the server's time in a Date header.",
    source=_START,
    relied_on_by=("workers/operations/submit.py::startDate", "workers/operations/submit.py::HTTPHeaders"),
    expected="within 5 seconds",
)
def a_start_is_answered_with_both_times(lab: Lab) -> object:
    answer = lab.workflows.start_execution(stateMachineArn=state_machine(lab, PASS), name=lab.name(), input="{}")
    server_time = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    apart_s = abs((answer["startDate"] - server_time).total_seconds())
    return "within 5 seconds" if apart_s <= 5 else f"{apart_s:.0f} seconds apart"


@fact(
    "An execution's ARN is its state machine's, with `execution` for `stateMachine`, and its name.",
    source="https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html",
    relied_on_by=("workers/domain/ids.py::execution_arn",),
    expected=True,
)
def an_execution_arn_follows_from_its_name(lab: Lab) -> object:
    arn, name = state_machine(lab, PASS), lab.name()
    return start(lab, arn, name=name) == f"{arn.replace(':stateMachine:', ':execution:')}:{name}"


@fact(
    "A name has at most 80 characters and no spaces.",
    source=_START,
    relied_on_by=("workers/domain/submissions.py::submission_name", "workers/aws/executions.py::InvalidName"),
    expected=["refused", "refused"],
)
def a_name_is_limited(lab: Lab) -> object:
    arn = state_machine(lab, PASS)
    codes = [
        error_of(lab.workflows.start_execution, stateMachineArn=arn, name=name, input="{}")
        for name in ((lab.name() * 9)[:81], f"{lab.prefix} x")
    ]
    return ["refused" if code in {"InvalidName", "ValidationException"} else code for code in codes]


@fact(
    "An input must be JSON of at most 256 KiB.",
    source=_START + ", " + WORKFLOW_GUIDE + "service-quotas.html",
    relied_on_by=(
        "workers/operations/order_files.py::MAX_INPUT_BYTES",
        "workers/aws/executions.py::InvalidExecutionInput",
    ),
    expected=AnyOf(
        (
            ["InvalidExecutionInput", "InvalidExecutionInput"],
            ["InvalidExecutionInput", "ValidationException"],
        )
    ),
)
def an_input_is_limited(lab: Lab) -> object:
    arn, large = state_machine(lab, PASS), json.dumps({"x": "x" * 262_144})
    return [
        error_of(lab.workflows.start_execution, stateMachineArn=arn, name=lab.name(), input=text)
        for text in ("{", large)
    ]


@fact(
    "A missing execution is ExecutionDoesNotExist; a text that is not an ARN is InvalidArn or ValidationException.",
    source=_HISTORY,
    relied_on_by=("workers/operations/executions.py::_GONE", "workers/operations/waiting.py::describe_execution"),
    expected=["ExecutionDoesNotExist", "ExecutionDoesNotExist", "not an ARN"],
)
def a_missing_execution_does_not_exist(lab: Lab) -> object:
    arn = f"{state_machine(lab, PASS).replace(':stateMachine:', ':execution:')}:{lab.name()}"
    other = error_of(lab.workflows.get_execution_history, executionArn=lab.prefix)
    return [
        error_of(lab.workflows.describe_execution, executionArn=arn),
        error_of(lab.workflows.get_execution_history, executionArn=arn),
        "not an ARN" if other in {"InvalidArn", "ValidationException"} else other,
    ]


@fact(
    "A missing state machine is StateMachineDoesNotExist.",
    source=_START,
    relied_on_by=(
        "workers/operations/sdk_errors.py::StateMachineDoesNotExist",
        "deploy/stacks/contents.py::StateMachineDoesNotExist",
    ),
    expected=["StateMachineDoesNotExist", "StateMachineDoesNotExist"],
)
def a_missing_state_machine_does_not_exist(lab: Lab) -> object:
    arn = f"{state_machine(lab, PASS)}x"
    return [
        error_of(lab.workflows.start_execution, stateMachineArn=arn, name=lab.name(), input="{}"),
        error_of(lab.workflows.list_executions, stateMachineArn=arn),
    ]


@fact(
    "A history is one page of events or several: ExecutionStarted first, `<kind>StateEntered` with the state's name, "
    "ExecutionSucceeded last. Without execution data it holds no input and no output.",
    source=_HISTORY,
    relied_on_by=("workers/operations/executions.py::read_execution",),
    expected=[["ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"], "Pass", 4, False],
)
def a_history_has_states_but_no_data(lab: Lab) -> object:
    execution = run(lab, state_machine(lab, PASS), {"CC": "4929"})["executionArn"]
    events = events_of(lab, execution, includeExecutionData=False)
    paged = events_of(lab, execution, PaginationConfig={"PageSize": 2})
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    return [[event["type"] for event in events], *entered, len(paged), "4929" in json.dumps(events, default=str)]


@fact(
    "The history of a failed execution names its error, also without execution data.",
    source=_HISTORY,
    relied_on_by=("workers/operations/executions.py::_error",),
    expected=["ExecutionFailed", "DuplicateOrder"],
)
def a_history_without_data_names_the_error(lab: Lab) -> object:
    fail = {"Fail": {"Type": "Fail", "Error": "DuplicateOrder", "Cause": "unchanged"}}
    execution = run(lab, state_machine(lab, fail))["executionArn"]
    last = events_of(lab, execution, includeExecutionData=False)[-1]
    return [last["type"], last["executionFailedEventDetails"].get("error")]


@fact(
    "An execution that takes longer than its state machine's TimeoutSeconds ends as TIMED_OUT.",
    source=WORKFLOW_GUIDE + "statemachine-structure.html",
    relied_on_by=("statemachine/order-fulfillment.asl.json::TimeoutSeconds", "deploy/pipeline.yaml::TIMED_OUT"),
    expected="TIMED_OUT",
)
def an_execution_times_out(lab: Lab) -> object:
    execution = start(lab, state_machine(lab, WAIT, TimeoutSeconds=1))
    status = lab.eventually(lambda: _status(lab, execution), "TIMED_OUT")
    if status == "TIMED_OUT":
        return status
    error_of(lab.workflows.stop_execution, executionArn=execution)
    return "does not time out"


def _status(lab: Lab, execution: str) -> str:
    return str(lab.workflows.describe_execution(executionArn=execution)["status"])


@fact(
    "A failed execution can be redriven; its history then goes on with ExecutionRedriven.",
    source=WORKFLOW_GUIDE + "redrive-executions.html",
    relied_on_by=("statemachine/order-fulfillment.asl.json::redriven put", "workers/operations/executions.py::_ENDS"),
    expected=["ok", True],
)
def a_failed_execution_is_redriven(lab: Lab) -> object:
    states = {"Fail": {"Type": "Fail", "Error": "E"}}
    execution = run(lab, state_machine(lab, states))["executionArn"]
    code = error_of(lab.workflows.redrive_execution, executionArn=execution)

    def is_redriven() -> bool:
        return any(event["type"] == "ExecutionRedriven" for event in events_of(lab, execution))

    return [code, code == "ok" and lab.eventually(is_redriven, wanted=True)]
