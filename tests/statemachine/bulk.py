"""The definition of bulk intake as it is deployed, and its expressions, evaluated here."""

import hashlib
import json
from functools import cache
from typing import Any

from jsonata import Jsonata

from deploy.check_state_machine import DEFINITIONS
from deploy.stacks import template

DEFINITION = DEFINITIONS / "bulk-order-intake.asl.json"
MAPS = ("Start orders of JSON lines", "Start orders of CSV")

States = dict[str, Any]


@cache
def load() -> dict[str, Any]:
    substitutions = template.definition_substitutions(template.PIPELINE, DEFINITION)
    assert substitutions is not None
    definition: dict[str, Any] = json.loads(template.with_texts(DEFINITION.read_text(encoding="utf-8"), substitutions))
    return definition


def child_states() -> States:
    """Return the states of a batch."""
    states: States = load()["States"][MAPS[0]]["ItemProcessor"]["States"]
    return states


def row_states() -> States:
    """Return the states of a row."""
    states: States = child_states()["Start each order"]["ItemProcessor"]["States"]
    return states


def evaluate(template_: Any, states: object, **variables: object) -> Any:
    """Evaluate a field of a state as Step Functions does; *states* is what `$states` is."""
    match template_:
        case dict():
            return {name: evaluate(value, states, **variables) for name, value in template_.items()}
        case str() if template_.startswith("{%"):
            expression = _compiled(template_)
            return expression.evaluate(None, {"states": states, **variables})
        case _:
            return template_


@cache
def _compiled(text: str) -> Jsonata:
    expression = Jsonata(text[2:-2].strip())
    # A function of Step Functions, not of JSONata. Its second argument is the algorithm.
    expression.register_lambda("hash", lambda value, _: hashlib.sha256(value.encode()).hexdigest())
    return expression
