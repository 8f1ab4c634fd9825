"""JSONata expressions, as Step Functions evaluates them."""

import json

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.workflows import (
    WORKFLOW_GUIDE,
    output_of,
    remove_state_machine,
    role_of,
    run,
    state_machine,
    values_of,
)

fact = facts_of("stepfunctions")

_DEFINITION = "statemachine/order-fulfillment.asl.json"
_JSONATA = WORKFLOW_GUIDE + "transforming-data.html"
_CONTEXT = WORKFLOW_GUIDE + "input-output-contextobject.html"
_MANUAL = "https://docs.jsonata.org/"


@fact(
    "An expression without a value fails with States.QueryEvaluationError.",
    source=_JSONATA,
    relied_on_by=(f"{_DEFINITION}::States.ALL", "deploy/pipeline.yaml::MalformedFields"),
    expected="FAILED States.QueryEvaluationError",
)
def an_undefined_expression_fails(lab: Lab) -> object:
    return values_of(lab, {"value": "$states.input.nothing"})


@fact(
    "An expression that cannot be parsed is refused when the state machine is made.",
    source=WORKFLOW_GUIDE + "transforming-data.html",
    relied_on_by=("deploy/check_state_machine.py::jsonata",),
    expected="InvalidDefinition",
)
def an_expression_is_parsed_early(lab: Lab) -> object:
    states = {"Pass": {"Type": "Pass", "Output": "{% 1 + %}", "End": True}}
    definition = json.dumps({"QueryLanguage": "JSONata", "StartAt": "Pass", "States": states})
    name, role = lab.name(), role_of(lab)
    code = error_of(lab.workflows.create_state_machine, name=name, roleArn=role, definition=definition)
    if code == "ok":
        lab.removes(lambda: remove_state_machine(lab, name))
    return code


@fact(
    "In a predicate, `$` is the element. A predicate, $count and $not find elements outside of a list.",
    source=_MANUAL + "predicate",
    relied_on_by=(f"{_DEFINITION}::$count($states.input.Reasons[$not($ in",),
    expected={"strangers": 1, "none": 0},
)
def a_predicate_finds_elements(lab: Lab) -> object:
    strangers = "$count($states.input.{}[$not($ in ['A', 'B'])])"
    return values_of(
        lab, {"strangers": strangers.format("x"), "none": strangers.format("y")}, {"x": ["A", "C"], "y": "A"}
    )


@fact(
    "`$count` of null is 1, and of nothing 0.",
    source=_MANUAL + "array-functions#count",
    relied_on_by=(f"{_DEFINITION}::$count($states.input.Reasons) = 0",),
    expected={"null": 1, "nothing": 0},
)
def null_counts_as_one(lab: Lab) -> object:
    return values_of(lab, {"null": "$count($states.input.x)", "nothing": "$count($states.input.y)"}, {"x": None})


@fact(
    "`[$x]` makes an array of one text, keeps an array as it is, and is empty for nothing.",
    source=_MANUAL + "construction",
    relied_on_by=(f"{_DEFINITION}::[$states.input.Reasons]",),
    expected={"text": ["a"], "array": ["a", "b"], "nothing": []},
)
def brackets_make_an_array(lab: Lab) -> object:
    names = ("text", "array", "nothing")
    return values_of(lab, {name: f"[$states.input.{name}]" for name in names}, {"text": "a", "array": ["a", "b"]})


@fact(
    "`$type` tells an array with one object from the object, also of the whole input.",
    source=_MANUAL + "object-functions#type",
    relied_on_by=(f"{_DEFINITION}::$type($states.input)",),
    expected=["array", "object"],
)
def a_type_tells_array_from_object(lab: Lab) -> object:
    states = {"Pass": {"Type": "Pass", "Output": "{% $type($states.input) %}", "End": True}}
    return [output_of(lab, states, given) for given in ([{"a": 1}], {"a": 1})]


@fact(
    "`$hash` with SHA-256 returns the hex digest.",
    source=_JSONATA,
    relied_on_by=(f"{_DEFINITION}::$hash", "workers/aws/status_index.py::sha256"),
    expected={"digest": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
)
def a_hash_is_a_hex_digest(lab: Lab) -> object:
    return values_of(lab, {"digest": "$hash('a', 'SHA-256')"})


@fact(
    "Regular expressions have groups that do not capture, counted repetitions and lookahead; `$length` counts "
    "characters, not UTF-16 units.",
    source=_MANUAL + "regex",
    relied_on_by=(f"{_DEFINITION}::$replace", "deploy/pipeline.yaml::MalformedFields"),
    expected={"masked": "a****b", "ahead": True, "length": 1},
)
def texts_are_matched_and_counted(lab: Lab) -> object:
    return values_of(
        lab,
        {
            "masked": "$replace('a4929 1234-1234 5678b', /[0-9](?:[ -]*[0-9]){12,}/, '****')",
            "ahead": "$contains('x1', /[0-9](?![0-9])/)",
            "length": "$length('\U0001f6b2')",
        },
    )


@fact(
    "Context times are RFC 3339 in UTC with milliseconds, and stay the same through $toMillis and $fromMillis.",
    source=_CONTEXT,
    relied_on_by=(f"{_DEFINITION}::$fromMillis($toMillis($states.context.State.EnteredTime))",),
    expected=[24, "Z", True, 24, True],
)
def context_times_are_utc_with_milliseconds(lab: Lab) -> object:
    entered, started = "$states.context.State.EnteredTime", "$states.context.Execution.StartTime"
    values = values_of(
        lab,
        {
            "entered": entered,
            "entered again": f"$fromMillis($toMillis({entered}))",
            "started": started,
            "started again": f"$fromMillis($toMillis({started}))",
        },
    )
    if not isinstance(values, dict):
        return values
    entered_at, entered_again, started_at, started_again = values.values()
    return [len(entered_at), entered_at[-1], entered_at == entered_again, len(started_at), started_at == started_again]


@fact(
    "The context has the execution's ARN and its input.",
    source=_CONTEXT,
    relied_on_by=(f"{_DEFINITION}::$states.context.Execution.Id", f"{_DEFINITION}::$states.context.Execution.Input"),
    expected=[True, 7],
)
def the_context_has_arn_and_input(lab: Lab) -> object:
    output = {"arn": "{% $states.context.Execution.Id %}", "a": "{% $states.context.Execution.Input.a %}"}
    described = run(lab, state_machine(lab, {"Pass": {"Type": "Pass", "Output": output, "End": True}}), {"a": 7})
    found = json.loads(described["output"])
    return [found["arn"] == described["executionArn"], found["a"]]
