"""An execution and its history, without its data."""

from typing import Any

import pytest

from tests.workers.console.histories import (
    DEFINITION,
    ORDERS,
    States,
    at,
    caught,
    entered,
    events,
    execution_arn,
    failed,
    left,
    refused_order,
)
from tests.workers.operations.fakes import STATE_MACHINE, FakeClient, fake_stack, refused
from workers.operations.execution_events import (
    MAX_CAUSE_CHARS,
    MAX_LAST_EVENTS,
    events_of,
    find_run,
    read_history,
    read_map_runs,
    read_own_definition,
    read_run,
)
from workers.operations.sdk_errors import ClientError
from workers.operations.stack import Stack
from workers.operations.workflow import Kind


def stack_of(states: States) -> Stack:
    return fake_stack(ORDERS, stepfunctions=states.client)


async def test_a_run_has_no_data() -> None:
    run = await read_run(stack_of(States(one=("FAILED", refused_order()))), Kind.ORDERS, execution_arn("one"))
    assert run is not None
    assert (run.name, run.status, run.started, run.ended) == ("one", "FAILED", at(0), at(2.5))
    assert (run.redrives, run.redriven_at, run.redrive_status) == (0, None, None)
    assert "secret" not in repr(run)


@pytest.mark.parametrize("given", ["one", execution_arn("one")])
async def test_a_run_is_found_by_its_name_or_arn(given: str) -> None:
    states = States(one=("RUNNING", events("ExecutionStarted")))
    run = await find_run(stack_of(states), given)
    assert run is not None
    assert (run.kind, run.arn, run.is_running, run.ended) == (Kind.ORDERS, execution_arn("one"), True, None)
    assert states.count("describe_execution") == 1


async def test_a_run_says_how_often_it_was_redriven() -> None:
    redriven = {"redriveCount": 2, "redriveDate": at(3), "redriveStatus": "REDRIVABLE"}
    described = {"status": "PENDING_REDRIVE", "startDate": at(0), "stopDate": at(2)} | redriven
    stack = fake_stack(ORDERS, stepfunctions=FakeClient(describe_execution=lambda **_: described))
    run = await read_run(stack, Kind.ORDERS, execution_arn("one"))
    assert run is not None
    assert (run.is_running, run.redrives, run.redriven_at, run.redrive_status) == (True, 2, at(3), "REDRIVABLE")


async def test_a_run_of_another_machine_is_found_by_its_arn() -> None:
    states, arn = States(), execution_arn("one", "StuckOrderSweep")
    states.runs[arn] = ("SUCCEEDED", caught())
    run = await find_run(stack_of(states), arn)
    assert run is not None
    assert (run.kind, run.arn) == (Kind.SWEEP, arn)


async def test_a_name_is_looked_for_in_every_machine() -> None:
    states = States()
    assert await find_run(stack_of(states), "one") is None
    asked = [request["executionArn"] for _, request in states.client.requests]
    machines = ("OrderFulfillmentStateMachine", "BulkOrderIntake", "StuckOrderSweep")
    assert asked == [execution_arn("one", machine) for machine in machines]
    states.client.requests.clear()
    assert await find_run(stack_of(states), "one", Kind.SWEEP) is None
    assert [request["executionArn"] for _, request in states.client.requests] == asked[-1:]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "4111 1111 1111 1111",
        "4111111111111111",
        "a b",
        "<img>",
        "x" * 81,
        execution_arn("one").replace("000000000000", "999999999999"),
        execution_arn("one", "Another"),
        "arn:aws:sqs:::one",
    ],
)
async def test_what_cannot_be_one_of_the_stack_is_not_asked_for(given: str) -> None:
    states = States(one=("SUCCEEDED", caught()))
    assert await find_run(stack_of(states), given) is None
    assert states.client.requests == []


async def test_beside_an_order_workflow_of_another_name_only_that_is_asked() -> None:
    states = States()
    assert await find_run(fake_stack(STATE_MACHINE, stepfunctions=states.client), "one") is None
    assert states.count("describe_execution") == 1


async def test_other_errors_are_those_of_the_sdk() -> None:
    def refuse(**_: Any) -> Any:
        raise refused("AccessDeniedException")

    stack = fake_stack(ORDERS, stepfunctions=FakeClient(describe_execution=refuse, get_execution_history=refuse))
    with pytest.raises(ClientError):
        await read_run(stack, Kind.ORDERS, execution_arn("one"))
    with pytest.raises(ClientError):
        await read_history(stack, execution_arn("one"))


async def test_an_execution_is_drawn_with_its_own_definition() -> None:
    assert await read_own_definition(stack_of(States()), execution_arn("one")) == DEFINITION


async def test_events_have_the_states_that_they_belong_to() -> None:
    history = await read_history(stack_of(States(one=("SUCCEEDED", caught()))), execution_arn("one"))
    assert history is not None
    assert not history.is_cut
    assert [(event.type, event.state) for event in history.all] == [
        ("ExecutionStarted", None),
        ("ChoiceStateEntered", "Check"),
        ("ChoiceStateExited", "Check"),
        ("TaskStateEntered", "Verify"),
        ("TaskScheduled", "Verify"),
        ("TaskFailed", "Verify"),
        ("TaskScheduled", "Verify"),
        ("TaskFailed", "Verify"),
        ("TaskStateExited", "Verify"),
        ("TaskStateEntered", "Send"),
        ("TaskScheduled", "Send"),
        ("TaskSucceeded", "Send"),
        ("TaskStateExited", "Send"),
        ("ExecutionSucceeded", None),
    ]
    call = history.all[4]
    assert call.details == (("resourceType", "lambda"), ("resource", "invoke"), ("region", "us-east-1"))
    assert (history.all[5].error, history.all[5].cause, history.all[5].time) == (
        "Lambda.Down",
        "no answer",
        "11:00:03.000",
    )


def test_events_of_parallel_branches_are_told_apart() -> None:
    history = events("ExecutionStarted", entered("One"), entered("Two"), failed(), failed(), left("One"))
    for number, previous in enumerate((0, 1, 1, 2, 3, 4)):
        history[number]["previousEventId"] = previous
    assert [event.state for event in events_of(history)] == [None, "One", "Two", "One", "Two", "One"]
    assert [event.visit for event in events_of(history)] == [None, 2, 3, 2, 3, 2]


def test_events_without_the_one_before_belong_to_the_last_state() -> None:
    history = events("ExecutionStarted", entered("One"), failed(), left("One"), entered("Two"), failed())
    for event in history:
        del event["previousEventId"]
    assert [event.state for event in events_of(history)] == [None, "One", "One", "One", "Two", "Two"]


def test_an_exit_belongs_to_the_state_that_it_names() -> None:
    history = events("ExecutionStarted", left("Branches"), entered("One"), left("Branches"), left("Branches"))
    found = events_of(history)
    assert [event.state for event in found] == [None, "Branches", "One", "Branches", "Branches"]
    assert [event.visit for event in found] == [None, 2, 3, 4, 4]


def test_a_redriven_execution_goes_on_in_its_state() -> None:
    history = events("ExecutionStarted", entered("One"), failed(), "ExecutionFailed", "ExecutionRedriven", failed())
    assert [event.state for event in events_of(history)] == [None, "One", "One", None, None, "One"]


def test_texts_are_cleaned_and_cut() -> None:
    (event,) = events_of(events(failed("Bad\x1b", "4111 1111 1111 1111 " + "x" * 2000)))
    assert event.error == "Bad\ufffd"
    assert event.cause is not None
    assert event.cause.startswith("**** xxx")
    assert len(event.cause) == MAX_CAUSE_CHARS
    (event,) = events_of(events(failed("Bad", "x" * MAX_CAUSE_CHARS)))
    assert event.cause == "x" * MAX_CAUSE_CHARS


async def test_of_a_long_history_the_begin_and_the_end_are_read() -> None:
    long = events(*["TaskScheduled"] * 4_000)
    history = await read_history(stack_of(States(one=("RUNNING", long))), execution_arn("one"))
    assert history is not None
    assert history.is_cut
    assert [event.id for event in history.events] == list(range(1, 3_001))
    assert [event.id for event in history.last] == list(range(4_001 - MAX_LAST_EVENTS, 4_001))


async def test_a_history_that_is_little_longer_has_each_event_once() -> None:
    long = events(*["TaskScheduled"] * 3_050)
    history = await read_history(stack_of(States(one=("RUNNING", long))), execution_arn("one"))
    assert history is not None
    assert [event.id for event in history.all] == list(range(1, 3_051))


async def test_a_history_that_is_gone_is_none() -> None:
    assert await read_history(stack_of(States()), execution_arn("one")) is None


async def test_map_runs_have_their_counts() -> None:
    counts = {"succeeded": 3, "failed": 0, "timedOut": 0, "aborted": 0, "running": 1, "pending": 2, "total": 6}
    runs = [{"mapRunArn": f"arn:aws:states:us-east-1:0:mapRun:Intake/Csv:{n}", "startDate": at(n)} for n in range(7)]
    client = FakeClient(
        list_map_runs=lambda executionArn: {"mapRuns": runs},  # noqa: ARG005, N803 - the SDK's name.
        describe_map_run=lambda mapRunArn: {  # noqa: N803 - the SDK's name.
            "mapRunArn": mapRunArn,
            "status": "RUNNING",
            "startDate": at(0),
            "itemCounts": counts,
            "executionCounts": counts,
        },
    )
    found = await read_map_runs(fake_stack(ORDERS, stepfunctions=client), execution_arn("one"))
    assert [run.arn[-1] for run in found] == ["6", "5", "4", "3", "2"]
    assert (found[0].label, found[0].items["total"], found[0].items["timed out"]) == ("Csv", 6, 0)
