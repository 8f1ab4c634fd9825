"""
The parameters of the stacks, given as `Key=Value`: checked before anything is touched, kept where none is given.

Both stacks take theirs from the same list: a name that both templates have (a key, say) means the same in both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import DeployError
from deploy.stacks import template

PREFIX = "NamePrefix"


@dataclass(frozen=True, slots=True)
class Parameters:
    """What one stack is deployed with: values, and the names of those that keep the value they have."""

    values: Mapping[str, str]
    kept: frozenset[str] = frozenset()


def parsed(texts: Iterable[str]) -> dict[str, str]:
    """Read `Key=Value` texts. Raises `DeployError` where one is none, or a name comes twice."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise DeployError(f"--parameter {text}: must be Key=Value")
        if name == PREFIX:
            raise DeployError(f"--parameter {PREFIX}: is given as --name-prefix")
        if name in given:
            raise DeployError(f"--parameter {name}: is given twice")
        given[name] = value
    return given


def check(given: Mapping[str, str], name_prefix: str, sources: Sequence[Mapping[str, Any]]) -> None:
    """Check names and values against the templates. Raises `DeployError`."""
    known = {name for source in sources for name in source.get("Parameters", {})} - {PREFIX}
    if unknown := sorted(given.keys() - known):
        raise DeployError(f"No parameter {', '.join(unknown)}. There are: {', '.join(sorted(known))}")
    for source in sources:
        declared = source.get("Parameters", {})
        template.check_parameters(source, _of(declared, given, name_prefix), kept=declared)


def settled(
    source: Mapping[str, Any], given: Mapping[str, str], name_prefix: str, deployed: Iterable[str]
) -> Parameters:
    """
    Return what a template is deployed with, over a stack that has the parameters `deployed`.

    Raises `DeployError` where one is missing.
    """
    declared = source.get("Parameters", {})
    values = _of(declared, given, name_prefix)
    kept = frozenset(declared.keys() & set(deployed) - values.keys())
    template.check_parameters(source, values, kept)
    return Parameters(values, kept)


def _of(declared: Mapping[str, Any], given: Mapping[str, str], name_prefix: str) -> dict[str, str]:
    return {name: value for name, value in {**given, PREFIX: name_prefix}.items() if name in declared}
