"""Checks the query language of states: JSONata, except for a Distributed Map, for which other rules hold."""

from collections.abc import Iterator, Mapping
from typing import Any

JSONATA, JSONPATH = "JSONata", "JSONPath"
# What a Distributed Map must have. Results that are not selected hold the input of a child that failed.
_MAP_FIELDS = ("Catch", "ItemBatcher", "Label", "MaxConcurrency", "ResultSelector", "ToleratedFailurePercentage")
_JSONPATH_FIELDS = frozenset({"InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector", "Variable"})


def check_language(state: Mapping[str, Any], language: str) -> Iterator[str]:
    """Yield what is wrong with a state's query language; *language* is that of its state machine."""
    if _is_distributed_map(state):  # JSONPath: ministack does not evaluate JSONata in an ItemReader.
        yield from _check_distributed_map(state)
        return
    if state.get("QueryLanguage", language) != JSONATA:
        yield "QueryLanguage is not JSONata"
    for field in sorted(_JSONPATH_FIELDS & state.keys()):
        yield f"{field} belongs to JSONPath"


def has_distributed_map(machine: Mapping[str, Any]) -> bool:
    """Return whether a state of the machine is a Distributed Map, so that its own language must be JSONPath."""
    states = machine.get("States")
    return isinstance(states, Mapping) and any(
        isinstance(state, Mapping) and _is_distributed_map(state) for state in states.values()
    )


def _check_distributed_map(state: Mapping[str, Any]) -> Iterator[str]:
    for field in _MAP_FIELDS:
        if field not in state:
            yield f"has no {field}"
    if "ResultWriter" in state:
        yield "has a ResultWriter, which writes the input of children that failed to S3"
    if (catch := state.get("Catch")) and "States.ALL" not in catch[-1].get("ErrorEquals", []):
        yield "Catch does not end in a catch-all"


def _is_distributed_map(state: Mapping[str, Any]) -> bool:
    processor = state.get("ItemProcessor")
    config = processor.get("ProcessorConfig") if isinstance(processor, Mapping) else None
    return state.get("Type") == "Map" and isinstance(config, Mapping) and config.get("Mode") == "DISTRIBUTED"
