"""
Check state machine definitions for mistakes that AWS reports only at run time.

cfn-lint and a local AWS accept these mistakes. `python -m deploy.check_state_machine [DEFINITION ...]` checks the given
definitions, or by default all in `statemachine/`. It also checks the samples beside them and the substitutions that the
template gives them. It prints one line per finding and exits 1 if there are any.
"""

import functools
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonata import Jsonata

from deploy.check_languages import JSONATA, JSONPATH, check_language, has_distributed_map
from deploy.errors import DeployError
from deploy.stacks import template

DEFINITIONS = Path(__file__).parent.parent / "statemachine"
ORDER_FIELDS = frozenset({"OrderId", "Name", "ItemName", "Price", "CC"})
WHOLE_FILE = "-"

_TERMINAL_TYPES = frozenset({"Fail", "Succeed"})
_TYPES_WITH_NEXT = frozenset({"Map", "Parallel", "Pass", "Task", "Wait"})
_MAX_LABEL_WORDS = 3
_RETRY_FIELDS = ("IntervalSeconds", "MaxAttempts", "BackoffRate", "MaxDelaySeconds", "JitterStrategy")
_SUBSTITUTION = re.compile(r"\$\{([^}]*)\}")
# AWS inserts a substitution's text into JSON strings without escaping it. It repeats this until no `${name}` is left.
# See DefinitionProcessor.java in
# https://github.com/aws-cloudformation/aws-cloudformation-resource-providers-stepfunctions
_UNSAFE_IN_TEXT = re.compile(r'["\\\x00-\x1f]|\$\{')
_LITERAL_ARN = re.compile(r"\barn:(?!\$\{)")
_ACCOUNT_ID = re.compile(
    r"(?<![0-9A-Za-z])[0-9]{12}(?![0-9A-Za-z])"
)  # https://docs.aws.amazon.com/accounts/latest/reference/manage-acct-identifiers.html


@dataclass(frozen=True, slots=True)
class Finding:
    file: str
    state: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file}: {self.state}: {self.problem}"


def check_file(path: Path, pipeline: Path = template.PIPELINE) -> list[Finding]:
    """Check the definition in `path`, the samples beside it and the substitutions that `pipeline` gives it."""
    file = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return [Finding(file, WHOLE_FILE, f"cannot be read: {error.strerror}")]
    given = template.definition_substitutions(pipeline, path)
    findings = check_substitutions(text, given, file)
    try:
        definition = json.loads(template.with_texts(text, given or {}), object_pairs_hook=_object_without_duplicates)
    except ValueError as error:
        return [*findings, Finding(file, WHOLE_FILE, f"is not valid JSON: {error}")]
    findings += check_definition(definition, file)
    for sample in sorted(path.parent.glob("samples/*.json")):
        findings += check_sample(sample)
    return findings


def check_definition(definition: object, file: str) -> list[Finding]:
    """Check a state machine and those nested in it. Each `${name}` that stands for a text must be replaced already."""
    if not isinstance(definition, Mapping):
        return [Finding(file, WHOLE_FILE, "is not a JSON object")]
    findings = []
    language = definition.get("QueryLanguage", JSONPATH)
    if language != JSONATA and not has_distributed_map(definition):
        findings.append(Finding(file, WHOLE_FILE, "QueryLanguage is not JSONata"))
    if "TimeoutSeconds" not in definition:
        findings.append(Finding(file, WHOLE_FILE, "has no TimeoutSeconds"))
    findings += [Finding(file, state, problem) for state, problem in _check_machine(definition, language)]
    return findings


def check_substitutions(text: str, given: Mapping[str, Any] | None, file: str) -> list[Finding]:
    """Check that the template substitutes exactly the `${names}` of the definition, and that texts fit into JSON."""
    if given is None:
        return [Finding(file, WHOLE_FILE, "no state machine in the template uses this definition")]
    used = set(_SUBSTITUTION.findall(text))
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    problems = [
        *(f"${{{name}}} is not in DefinitionSubstitutions" for name in sorted(used - given.keys())),
        *(f"DefinitionSubstitutions has {name}, which is not used" for name in sorted(given.keys() - used)),
        *(
            f"DefinitionSubstitutions' {name} has a control character, double quote, backslash or ${{"
            for name, value in texts.items()
            if _UNSAFE_IN_TEXT.search(value)
        ),
    ]
    return [Finding(file, WHOLE_FILE, problem) for problem in problems]


def check_sample(path: Path) -> list[Finding]:
    """Check that a sample is an order: an object with exactly the five fields, all strings."""
    try:
        sample = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object_without_duplicates)
    except ValueError as error:
        return [Finding(str(path), WHOLE_FILE, f"is not valid JSON: {error}")]
    if not isinstance(sample, Mapping):
        return [Finding(str(path), WHOLE_FILE, "is not a JSON object")]
    return [
        *(Finding(str(path), WHOLE_FILE, f"has no {field}") for field in sorted(ORDER_FIELDS - sample.keys())),
        *(
            Finding(str(path), WHOLE_FILE, f"{field} is not a field of an order")
            for field in sorted(sample.keys() - ORDER_FIELDS)
        ),
        *(
            Finding(str(path), WHOLE_FILE, f"{field} is not a string")
            for field in sorted(ORDER_FIELDS & sample.keys())
            if not isinstance(sample[field], str)
        ),
    ]


def _check_machine(machine: Mapping[str, Any], language: str) -> Iterator[tuple[str, str]]:
    states = machine.get("States")
    if not isinstance(states, Mapping) or not all(isinstance(state, Mapping) for state in states.values()):
        yield WHOLE_FILE, "States is not an object of objects"
        return
    start = machine.get("StartAt")
    if start not in states:
        yield WHOLE_FILE, f"StartAt is not a state: {start}"
    for name, state in states.items():
        for problem in (*_check_state(state, states), *check_language(state, language)):
            yield name, problem
        for nested in _nested_machines(state):
            yield from _check_machine(nested, language)
    for name in states.keys() - _reachable(start, states):
        yield name, "cannot be reached"


def _check_state(state: Mapping[str, Any], states: Mapping[str, Any]) -> Iterator[str]:
    for target in _targets(state):
        if target not in states:
            yield f"goes on to a state that does not exist: {target}"
    kind = state.get("Type")
    if kind == "Choice":
        yield from _check_choice(state)
    elif kind in _TYPES_WITH_NEXT:
        if ("Next" in state) == (state.get("End") is True):
            yield "needs either Next or End"
    elif kind not in _TERMINAL_TYPES:
        yield f"has an unknown Type: {kind}"
    if kind == "Task":
        yield from _check_task(state)
    for key, text in _strings(state):
        yield from _check_text(key, text)


def _check_choice(state: Mapping[str, Any]) -> Iterator[str]:
    if "Default" not in state:
        yield "has no Default"
    if not state.get("Choices"):
        yield "has no Choices"
    for number, choice in enumerate(state.get("Choices", []), start=1):
        if "Next" not in choice:
            yield f"choice {number} has no Next"
        if not _is_expression(choice.get("Condition")):
            yield f"choice {number} has a Condition that is not an expression"
        if not _is_label(choice.get("Comment")):  # The AWS console labels the edge with it.
            yield f"choice {number} has no Comment of one to {_MAX_LABEL_WORDS} words"


def _check_task(state: Mapping[str, Any]) -> Iterator[str]:
    if "TimeoutSeconds" not in state:
        yield "has no TimeoutSeconds"
    yield from _check_catch_all("Retry", state.get("Retry") or [])
    yield from _check_catch_all("Catch", state.get("Catch") or [])
    if state.get("Catch") and "States.ALL" not in state["Catch"][-1].get("ErrorEquals", []):
        yield "Catch does not end in a catch-all"
    for number, rule in enumerate(state.get("Retry") or [], start=1):
        for name in _RETRY_FIELDS:
            if name not in rule:
                yield f"retry {number} has no {name}"
        if rule.get("JitterStrategy", "FULL") != "FULL":
            yield f"retry {number} has a JitterStrategy other than FULL"


def _check_catch_all(field: str, rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rules:
        yield f"has no {field}"
    for number, rule in enumerate(rules, start=1):
        errors = rule.get("ErrorEquals", [])
        if "States.ALL" in errors and number < len(rules):
            yield f"{field} has its catch-all before its last rule"
        if "States.ALL" in errors and len(errors) > 1:
            yield f"{field} has a rule with States.ALL and other errors"


def _check_text(key: str, text: str) -> Iterator[str]:
    if _LITERAL_ARN.search(text):
        yield f"{key} holds an ARN: use a substitution for it or for its partition"
    if _ACCOUNT_ID.search(text):
        yield f"{key} seems to hold an account id"
    if key == "Comment" or "{%" not in text:
        return
    if not _is_expression(text):
        yield f"{key} is not one whole {{% expression %}}"
        return
    if (error := _syntax_error(text[2:-2].strip())) is not None:
        yield f"{key} does not compile: {error}"


@functools.cache  # Many states have the same expressions.
def _syntax_error(expression: str) -> str | None:
    try:
        Jsonata(expression)
    except Exception as error:  # noqa: BLE001 - the parser raises many kinds of errors
        return str(error)
    return None


def _is_expression(value: object) -> bool:
    return isinstance(value, str) and value.startswith("{%") and value.endswith("%}")


def _is_label(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value.split()) <= _MAX_LABEL_WORDS


def _strings(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string of a state and its key, except those of nested state machines."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in {"ItemProcessor", "Branches"}:
                yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)


def _targets(state: Mapping[str, Any]) -> Iterator[str]:
    for holder in (state, *state.get("Choices", []), *state.get("Catch", [])):
        for key in ("Next", "Default"):
            if key in holder:
                yield holder[key]


def _nested_machines(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]


def _reachable(start: object, states: Mapping[str, Any]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if isinstance(name, str) and name in states and name not in reached:
            reached.add(name)
            waiting += _targets(states[name])
    return reached


def _object_without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = sorted({key for key, _ in pairs if [name for name, _ in pairs].count(key) > 1})
        raise ValueError(f"{', '.join(twice)} is given twice")
    return found


def main(arguments: Sequence[str]) -> int:
    files = [Path(argument) for argument in arguments]
    files = files or [Path(os.path.relpath(path)) for path in sorted(DEFINITIONS.glob("*.asl.json"))]
    if not files:
        print(f"No definitions in {DEFINITIONS}", file=sys.stderr)
        return 1
    try:
        findings = [finding for file in files for finding in check_file(file)]
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
