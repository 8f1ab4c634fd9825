"""What the inspector says about a state: its tries, and its rules in words."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.workers.console.histories import DEFINITION, caught, entered, events, refused_order, scheduled
from workers.console.graph.path import read_path
from workers.console.graph.svg import State, draw
from workers.console.inspector import MAX_TRIES, _of_interest, inspect, rules_of, tries_of
from workers.operations.execution_events import events_of


def test_tries_have_their_waits_and_errors() -> None:
    tries = tries_of(events_of(caught()))
    assert [(each.number, each.waited_s, each.took_s, each.error) for each in tries["Verify"]] == [
        (1, None, 0.5, "Lambda.Down"),
        (2, 0.5, 0.5, "Lambda.Down"),
    ]
    assert [(each.number, each.error) for each in tries["Send"]] == [(1, None)]


def test_a_try_that_runs_has_no_end() -> None:
    tries = tries_of(events_of(caught()[:7]))["Verify"]
    assert [each.took_s for each in tries] == [0.5, None]


@pytest.mark.parametrize(
    ("history", "chosen", "shown"),
    [
        (caught(), None, "Verify"),
        (caught(), "Send", "Send"),
        (caught(), "unknown", "Verify"),
        (refused_order(), None, "Refused"),
        (caught()[:6], None, "Verify"),
    ],
)
def test_the_state_that_an_operator_looks_for_is_chosen(
    history: list[dict[str, Any]], chosen: str | None, shown: str
) -> None:
    states = draw(DEFINITION, read_path(history, DEFINITION)).states
    inspected = inspect(states, DEFINITION, events_of(history), chosen)
    assert [each.state.name for each in inspected if each.is_chosen] == [shown]


def test_only_some_tries_of_a_state_are_shown() -> None:
    one = caught()[3:6]
    history = [*caught()[:3], *({**event, "id": 10 + n} for n, event in enumerate(one * 30))]
    for number, event in enumerate(history):
        event["previousEventId"] = history[number - 1]["id"] if number else 0
    states = draw(DEFINITION, read_path(history, DEFINITION)).states
    inspected = inspect(states, DEFINITION, events_of(history), None)
    assert {each.more_tries for each in inspected if each.state.name != "Verify"} == {0}
    (verify,) = [each for each in inspected if each.state.name == "Verify"]
    every = tries_of(events_of(history))["Verify"]
    assert (list(verify.tries), verify.more_tries) == (every[:MAX_TRIES], len(every) - MAX_TRIES)
    assert (verify.resource, verify.comment) == ("arn:aws:states:::lambda:invoke", "")
    assert len(every) > MAX_TRIES


def test_a_try_ends_with_its_result_and_only_a_failure_is_waited_after() -> None:
    history = events(
        entered("Verify"),
        scheduled(),
        "TaskStarted",
        ("TaskTimedOut", {"taskTimedOutEventDetails": {"error": "States.Timeout"}}),
        scheduled(),
        "TaskSucceeded",
        scheduled(),
        entered("All", "Map"),
        "MapStateStarted",
        "MapStateSucceeded",
    )
    found = tries_of(events_of(history))
    assert [(each.number, each.waited_s, each.took_s, each.error) for each in found.pop("Verify")] == [
        (1, None, 1.0, "States.Timeout"),
        (2, 0.5, 0.5, None),
        (3, None, None, None),
    ]
    assert found == {}


def test_states_inside_others_have_their_own_rules() -> None:
    def inside(comment: str) -> dict[str, Any]:
        return {"StartAt": "A", "States": {"broken": 7, "A": {"Type": "Pass", "Comment": comment, "End": True}}}

    states = {
        "Both": {"Type": "Parallel", "Branches": [inside("one"), 7], "Next": "Old"},
        "Old": {"Type": "Map", "Iterator": inside("two"), "Next": "New"},
        "New": {"Type": "Map", "ItemProcessor": {**inside("three"), "ProcessorConfig": None}, "End": True},
    }
    definition = {"StartAt": "Both", "States": states}
    inspected = inspect(draw(definition).states, definition, [], None)
    found = [(each.state.container, each.comment, each.is_elsewhere) for each in inspected if each.state.name == "A"]
    assert found == [("Both", "one", False), ("Old", "two", False), ("New", "three", False)]
    assert not any(each.is_chosen for each in inspected)
    broken = [(each.rules, each.is_elsewhere) for each in inspected if each.state.name == "broken"]
    assert broken == [([], False)] * 3


@pytest.mark.parametrize(
    ("outcomes", "chosen"),
    [
        ({"A": "succeeded", "B": "caught", "C": "running", "D": "failed"}, "D"),
        ({"A": "timed_out", "B": "failed"}, "A"),
        ({"A": "aborted"}, "A"),
        ({"A": "caught", "B": "running", "C": "running"}, "B"),
        ({"A": "succeeded", "B": "caught"}, "B"),
        ({"A": "succeeded", "M": "failed"}, None),
        ({}, None),
    ],
)
def test_what_failed_is_looked_for_before_what_runs_and_before_what_was_caught(
    outcomes: dict[str, str], chosen: str | None
) -> None:
    states = [
        State(name, name, "map" if name == "M" else "task", "", None, cast("Any", SimpleNamespace(outcome=outcome)))
        for name, outcome in outcomes.items()
    ]
    assert _of_interest([State("none", "", "task", "", None, None), *states]) == chosen


@pytest.mark.parametrize(
    ("state", "rules"),
    [
        (
            {**DEFINITION["States"]["Verify"]},
            [
                "A try may take 10 s.",
                "On States.TaskFailed: 8 more tries at most, after 4 s, then each time 2 times as long, 28 s at most.",
                "On any error: goes on to Send.",
                "Then: the end.",
            ],
        ),
        (
            {"Retry": [{"ErrorEquals": ["A", "B", "C"], "MaxAttempts": 0}, {"ErrorEquals": ["D"], "BackoffRate": 1}]},
            ["On A, B or C: no other try.", "On D: 3 more tries at most, after 1 s each."],
        ),
        (
            {"Retry": [{"ErrorEquals": ["A"], "MaxAttempts": 1, "JitterStrategy": "FULL"}], "Next": "B"},
            [
                "On A: 1 more try at most, after 1 s, then each time 2 times as long, and a random part of that.",
                "Then: goes on to B.",
            ],
        ),
        (
            {"Type": "Choice", "Choices": [{"Comment": "proper", "Next": "A"}, {"Next": "B"}], "Default": "C"},
            ["If proper: goes on to A.", "If rule 2 holds: goes on to B.", "Otherwise: goes on to C."],
        ),
        ({"Type": "Fail", "Error": "No"}, ["Ends the execution with the error No."]),
        ({"Type": "Fail", "Next": "A"}, ["Ends the execution with the error that it works out."]),
        ({"Type": "Succeed"}, ["Then: the end."]),
        ({"Type": "Pass", "End": False}, []),
        (
            {"Catch": [{"ErrorEquals": [], "Next": "A"}, {"Next": "B"}]},
            ["On any error: goes on to A.", "On any error: goes on to B."],
        ),
        ({"Type": "Map", "MaxConcurrency": 4, "End": True}, ["Then: the end.", "At most 4 at once."]),
        ({"Retry": "broken", "Catch": [1]}, []),
    ],
)
def test_rules_are_said_in_words(state: dict[str, Any], rules: list[str]) -> None:
    assert rules_of(state) == rules


def test_states_inside_a_distributed_map_are_elsewhere() -> None:
    item = {"ProcessorConfig": {"Mode": "INLINE"}, "StartAt": "C", "States": {"C": {"Type": "Pass", "End": True}}}
    states = {"B": {"Type": "Map", "ItemProcessor": item, "End": True}}
    batch = {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "B", "States": states}
    definition = {"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": batch, "End": True}}}
    inspected = inspect(draw(definition).states, definition, [], None)
    assert [(each.state.name, each.is_elsewhere) for each in inspected] == [("A", False), ("B", True), ("C", True)]
