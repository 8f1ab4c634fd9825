"""What the inspector says about a state: its tries, and its rules in words."""

from typing import Any

import pytest

from tests.workers.console.histories import DEFINITION, caught, refused_order
from workers.console.graph.path import read_path
from workers.console.graph.svg import draw
from workers.console.inspector import MAX_TRIES, inspect, rules_of, tries_of
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
    (verify,) = [each for each in inspect(states, DEFINITION, events_of(history), None) if each.state.name == "Verify"]
    assert len(verify.tries) <= MAX_TRIES
    assert len(verify.tries) + verify.more_tries == len(tries_of(events_of(history))["Verify"])


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
