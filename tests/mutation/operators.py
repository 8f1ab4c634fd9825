"""
Lists mutants, and makes them, with Cosmic Ray. Runs in an environment of its own, which has Cosmic Ray and no tests.

    operators.py list FILE...   prints a JSON list of [file, operator, occurrence, line, column, last line]
    operators.py make           reads a JSON list of [file, operator, occurrence], prints a list of mutated texts
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.exception_replacer import ExceptionReplacer
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator
from parso.python.tree import Keyword, Name

# Cosmic Ray has 213 operators, most of which change one operator of the language to another in every possible way. Of
# each such group these are the mistakes that people make. `|` is left out: here it joins types.
_COSMIC_RAY = (
    *("AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue"),
    *("NumberReplacer", "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_USub_UAdd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("ExceptionReplacer", "RemoveDecorator"),
    *(f"ReplaceBinaryOperator_{change}" for change in ("Add_Sub", "Sub_Add", "Mul_Add", "Div_Mul", "FloorDiv_Mul")),
    *(f"ReplaceBinaryOperator_{change}" for change in ("Mod_Mul", "Pow_Mul", "BitAnd_BitOr", "BitXor_BitAnd")),
    *(f"ReplaceComparisonOperator_{change}" for change in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Lt_GtE")),
    *(f"ReplaceComparisonOperator_{change}" for change in ("Gt_GtE", "GtE_Gt", "Gt_LtE", "Is_IsNot", "IsNot_Is")),
)
DROP_STATEMENT = "DropStatement"


class DropStatement(Operator):  # type: ignore[misc] # Cosmic Ray has no types.
    """
    Replaces a statement of a function with `pass`.

    It leaves out imports and assignments to local names: without them, every test fails. It also leaves out a `return`
    of None at the end of a function, which changes nothing.
    """

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        if node.type == "simple_stmt" and _has_effect(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002 - part of Cosmic Ray's interface.
        first = node.children[0].get_first_leaf()
        node.children[0] = Keyword("pass", first.start_pos, first.prefix)
        return node

    @classmethod
    def examples(cls) -> Iterable[Any]:
        return (Example("def f():\n    g()\n", "def f():\n    pass\n"),)


class ReplaceException(ExceptionReplacer):  # type: ignore[misc] # Cosmic Ray has no types.
    """Cosmic Ray's own operator, which fails on `except (*ERRORS, OtherError)`."""

    def mutate(self, node: Any, index: int) -> Any:
        replaced = self._name_nodes(node)[index]
        siblings = replaced.parent.children
        first = replaced.get_first_leaf()
        siblings[siblings.index(replaced)] = Name("CosmicRayTestingException", first.start_pos, first.prefix)
        return node


def _has_effect(statement: Any) -> bool:
    function = statement.search_ancestor("funcdef", "classdef", "lambdef")
    if function is None or function.type != "funcdef":
        return False
    if statement.get_code(include_prefix=False) in {"return", "return None"} and _is_last(statement, function):
        return False
    match statement.type:
        case "atom_expr" | "power" | "return_stmt" | "raise_stmt" | "del_stmt" | "yield_expr":
            return True
        case "keyword":
            return bool(statement.value == "return")
        case "expr_stmt":
            target, operator = statement.children[:2]
            is_local = target.type not in {"atom_expr", "power"}
            return operator.type == "operator" and (
                operator.value != "=" or not (is_local or function.name.value == "__init__")
            )
    return False


def _is_last(statement: Any, function: Any) -> bool:
    """Return whether nothing follows *statement* in the suite of *function*."""
    line = statement.parent
    return bool(line.parent == function.children[-1] and line == line.parent.children[-1])


def operators() -> dict[str, Operator]:
    known = {name: get_operator(f"core/{name}")() for name in _COSMIC_RAY}
    return known | {DROP_STATEMENT: DropStatement(), ExceptionReplacer.__name__: ReplaceException()}


class _Lister(Visitor):  # type: ignore[misc] # Cosmic Ray has no types.
    def __init__(self) -> None:
        self.found: list[tuple[str, int, int, int, int]] = []
        self._operators = operators()
        self._counts: Counter[str] = Counter()

    def visit(self, node: Any) -> Any:
        for name, operator in self._operators.items():
            for (line, column), (end_line, _) in operator.mutation_positions(node):
                self.found.append((name, self._counts[name], line, column, end_line))
                self._counts[name] += 1
        return node


def listed(path: Path) -> list[tuple[str, int, int, int, int]]:
    """Return the operator, the occurrence, the line, the column and the last line of each mutant of a file."""
    lister = _Lister()
    lister.walk(get_ast(path.read_text(encoding="utf-8")))
    return lister.found


def made(path: Path, operator: str, occurrence: int) -> str:
    """Return the text of the file at *path*, mutated."""
    mutated = mutate_code(path.read_text(encoding="utf-8"), operators()[operator], occurrence)
    if mutated is None:
        raise LookupError(f"{path} has no occurrence {occurrence} of {operator}")
    return str(mutated)


def main(command: str, *files: str) -> None:
    if command == "list":
        found: list[Any] = [[file, *position] for file in files for position in listed(Path(file))]
    else:
        found = [made(Path(file), operator, occurrence) for file, operator, occurrence in json.load(sys.stdin)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
