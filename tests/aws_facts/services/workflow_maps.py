"""Distributed Maps, and executions that a state starts: what bulk intake relies on."""

import json
from collections.abc import Mapping
from typing import Any

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab
from tests.aws_facts.workflows import PASS, WORKFLOW_GUIDE, output_of, run, state_machine, task

fact = facts_of("stepfunctions")

_DEFINITION = "statemachine/bulk-order-intake.asl.json"
_NESTED = WORKFLOW_GUIDE + "connect-stepfunctions.html"


def _map_of(lab: Lab, after: Mapping[str, Mapping[str, Any]] = {}, **more: object) -> str:
    """Return a state machine whose children fail for "bad" and else count themselves, and states *after* the Map."""
    failing = {"Type": "Fail", "QueryLanguage": "JSONata", "Error": "Bad", "Cause": "Bad"}
    good = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": {"s": "{% $states.input.Row + 1 %}"}, "End": True}
    bad = {"Condition": "{% $states.input.Item = 'bad' %}", "Next": "Bad"}
    choice = {"Type": "Choice", "QueryLanguage": "JSONata", "Choices": [bad], "Default": "Good"}
    children = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
        "StartAt": "Look",
        "States": {"Look": choice, "Good": good, "Bad": failing},
    }
    each = {
        "Type": "Map",
        "Label": "Items",
        "ItemsPath": "$.items",
        "ItemSelector": {"Row.$": "$$.Map.Item.Index", "Item.$": "$$.Map.Item.Value"},
        "MaxConcurrency": 2,
        "ToleratedFailurePercentage": 100,
        "ItemProcessor": children,
    } | (more if "Next" in more else {"End": True, **more})
    return state_machine(lab, {"Map": each, **after}, QueryLanguage="JSONPath")


_ITEMS = {"items": ["a", "bad", "c"]}


@fact(
    "A ResultSelector takes from a Distributed Map's results what children returned, and leaves out what is absent.",
    source=WORKFLOW_GUIDE + "input-output-resultwriter.html",
    relied_on_by=(f"{_DEFINITION}::ResultSelector",),
    expected={"s": [1, 3], "none": []},
)
def results_of_children_are_selected(lab: Lab) -> object:
    described = run(lab, _map_of(lab, ResultSelector={"s.$": "$[*].s", "none.$": "$[*].none"}), _ITEMS)
    return json.loads(described["output"]) if described["status"] == "SUCCEEDED" else described.get("error")


@fact(
    "The result of a child that failed holds its input.",
    source=WORKFLOW_GUIDE + "input-output-resultwriter.html",
    relied_on_by=("deploy/check_languages.py::ResultWriter",),
    expected=True,
)
def a_failed_childs_result_holds_its_input(lab: Lab) -> object:
    return "bad" in run(lab, _map_of(lab), _ITEMS).get("output", "")


@fact(
    "After a Distributed Map, a state finds its map run, which counts the items of children that failed, too.",
    source="https://docs.aws.amazon.com/step-functions/latest/apireference/API_MapRunItemCounts.html",
    relied_on_by=(f"{_DEFINITION}::listMapRuns", f"{_DEFINITION}::describeMapRun"),
    expected={"Succeeded": 2, "Failed": 1, "Total": 3},
)
def a_map_run_counts_all_items(lab: Lab) -> object:
    own = "{% $states.context.Execution.Id %}"
    found = {"run": "{% $states.result.MapRuns[0].MapRunArn %}"}
    counted = "{% $sift($states.result.ItemCounts, function($v, $k) { $k in ['Succeeded', 'Failed', 'Total'] }) %}"
    find = task("aws-sdk:sfn:listMapRuns", {"ExecutionArn": own}, Assign=found, Next="Count", QueryLanguage="JSONata")
    count = task("aws-sdk:sfn:describeMapRun", {"MapRunArn": "{% $run %}"}, Output=counted, QueryLanguage="JSONata")
    described = run(lab, _map_of(lab, {"Find": find, "Count": count}, Next="Find"), _ITEMS)
    return json.loads(described["output"]) if described["status"] == "SUCCEEDED" else described.get("error")


@fact(
    "An ItemBatcher gives a child its items in `Items`.",
    source=WORKFLOW_GUIDE + "input-output-itembatcher.html",
    relied_on_by=(f"{_DEFINITION}::ItemBatcher",),
    expected=[2, 1],
)
def a_batch_has_its_items(lab: Lab) -> object:
    count = {"Type": "Pass", "QueryLanguage": "JSONata", "Output": "{% $count($states.input.Items) %}", "End": True}
    config = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
    children = {"ProcessorConfig": config, "StartAt": "Count", "States": {"Count": count}}
    described = run(lab, _map_of(lab, ItemBatcher={"MaxItemsPerBatch": 2}, ItemProcessor=children), _ITEMS)
    return json.loads(described["output"]) if described["status"] == "SUCCEEDED" else described.get("error")


@fact(
    "A state that starts an execution under a name that was used fails with the name of the SDK's exception.",
    source=_NESTED,
    relied_on_by=(f"{_DEFINITION}::StepFunctions.ExecutionAlreadyExistsException",),
    expected="StepFunctions.ExecutionAlreadyExistsException",
)
def a_name_that_was_used_is_refused_by_name(lab: Lab) -> object:
    first, name = state_machine(lab, PASS), lab.name()
    run(lab, first, {})
    arguments = {"StateMachineArn": first, "Name": name, "Input": {}}
    caught = [{"ErrorEquals": ["States.ALL"], "Output": "{% $states.errorOutput.Error %}", "Next": "Caught"}]
    states = {
        "Start": task("states:startExecution", arguments, Next="Wait"),
        "Wait": {"Type": "Wait", "Seconds": 2, "Next": "Again"},
        "Again": task("states:startExecution", {**arguments, "Input": {"other": 1}}, Catch=caught),
        "Caught": {"Type": "Pass", "End": True},
    }
    return output_of(lab, states)
