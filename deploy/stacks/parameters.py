"""
The stacks' parameters, given as `Key=Value`. They are checked before anything changes.

Both stacks use the same list: a parameter that both templates have, `KmsKeyArn` for example, means the same in both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError
from deploy.stacks import template

PREFIX = "NamePrefix"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one stack: new values, and the names of those that keep their value."""

    values: Mapping[str, str]
    kept: frozenset[str] = frozenset()


def parsed(texts: Iterable[str]) -> dict[str, str]:
    """Parse `Key=Value` texts. Raises `DeployError` if one is malformed or a name is given twice."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise DeployError(f"--parameter {text}: must be Key=Value")
        if name == PREFIX:
            raise DeployError(f"--parameter {PREFIX}: use --name-prefix")
        if name in given:
            raise DeployError(f"--parameter {name}: is given twice")
        given[name] = value
    return given


def check(given: Mapping[str, str], name_prefix: str, sources: Sequence[Mapping[str, Any]]) -> None:
    """Check names and values against the templates. Raises `DeployError`."""
    known = {name for source in sources for name in source.get("Parameters", {})} - {PREFIX}
    if unknown := sorted(given.keys() - known):
        raise DeployError(f"Unknown parameter {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
    for source in sources:
        declared = source.get("Parameters", {})
        template.check_parameters(source, _of(declared, given, name_prefix), kept=declared)


def merge(source: Mapping[str, Any], given: Mapping[str, str], name_prefix: str, deployed: Iterable[str]) -> Parameters:
    """
    Return the parameters for a template. `deployed` names the parameters that the stack already has.

    Raises `DeployError` if a parameter is missing.
    """
    declared = source.get("Parameters", {})
    values = _of(declared, given, name_prefix)
    kept = frozenset(declared.keys() & set(deployed) - values.keys())
    template.check_parameters(source, values, kept)
    return Parameters(values, kept)


def _of(declared: Mapping[str, Any], given: Mapping[str, str], name_prefix: str) -> dict[str, str]:
    return {name: value for name, value in {**given, PREFIX: name_prefix}.items() if name in declared}
