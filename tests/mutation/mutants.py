"""The mutants of files, and which of them a run takes: a fixed sample, or those on changed lines."""

import ast
import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

OPERATORS = Path(__file__).with_name("operators.py")
_WITHOUT_EFFECT = re.compile(r"(functools\.)?((lru_)?cache|wraps)\b")
# Another seed takes another sample. Commit it together with the tests for what that sample shows.
SEED = "1"
# One in ten, so that a run takes less than 25 minutes on two cores.
SHARE = 0.1


class Place(NamedTuple):
    """Where an operator can change a file. The column counts characters."""

    operator: str
    occurrence: int
    line: int
    column: int
    end_line: int


@dataclass(frozen=True, slots=True, order=True)
class Mutant:
    """
    One change of one line. `text` is that line, without the spaces around it.

    *operator* makes it, at its place number *occurrence* in the file. *number* tells apart the mutants that one
    operator makes of lines with the same text.
    """

    file: str
    line: int
    end_line: int
    operator: str
    occurrence: int
    text: str
    number: int

    @property
    def key(self) -> bytes:
        """A hash that stays the same as long as the file keeps its name and the line its text, wherever it moves."""
        return self.key_of(SEED)

    def key_of(self, seed: str) -> bytes:
        facts = (seed, self.file, self.operator, self.text, str(self.number))
        return hashlib.sha256("\0".join(facts).encode()).digest()


def mutants_of(root: Path, files: Sequence[str], python: Path) -> list[Mutant]:
    """Return the mutants of *files* in *root*. *python* is the interpreter that has Cosmic Ray."""
    places: dict[str, list[Place]] = {file: [] for file in files}
    for file, *place in json.loads(_run(root, python, "list", *files)):
        places[file].append(Place(*place))
    return [mutant for file in files for mutant in located(root, file, places[file])]


def mutated_texts(root: Path, mutants: Sequence[Mutant], python: Path) -> list[str]:
    """Return the text of each mutant's file, mutated."""
    asked = json.dumps([(mutant.file, mutant.operator, mutant.occurrence) for mutant in mutants])
    texts: list[str] = json.loads(_run(root, python, "make", asked=asked))
    return texts


def sample(mutants: Iterable[Mutant], share: float = SHARE) -> list[Mutant]:
    """Return the same *share* of the mutants each time. What changes elsewhere does not change who is in it."""
    return [mutant for mutant in mutants if int.from_bytes(mutant.key[:8], "big") < share * 2**64]


def fresh(mutants: Iterable[Mutant], seed: str, count: int) -> list[Mutant]:
    """Return *count* of the mutants, others for each seed."""
    return sorted(sorted(mutants, key=lambda mutant: mutant.key_of(f"fresh {seed}"))[:count])


def on_lines(mutants: Iterable[Mutant], lines: Mapping[str, Collection[int]]) -> list[Mutant]:
    """Return the mutants of the given lines of the given files."""
    return [
        mutant
        for mutant in mutants
        if not set(range(mutant.line, mutant.end_line + 1)).isdisjoint(lines.get(mutant.file, ()))
    ]


def located(root: Path, file: str, places: Iterable[Place]) -> Iterator[Mutant]:
    """Yield the mutants of a file, without those that change nothing when the program runs."""
    source = (root / file).read_text(encoding="utf-8")
    lines, ignored = source.split("\n"), list(_ignored(ast.parse(source)))
    numbers: Counter[tuple[str, str]] = Counter()
    for place in places:
        line = lines[place.line - 1]
        text = line.strip()
        at = (place.line, len(line[: place.column].encode()))  # Python counts columns in bytes.
        if not any(start <= at < end for start, end in ignored):
            number = numbers[place.operator, text]
            numbers[place.operator, text] += 1
            yield Mutant(file, place.line, place.end_line, place.operator, place.occurrence, text, number)


def _ignored(tree: ast.AST) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """
    Yield the ranges of annotations, of what only type checkers read, and of the arguments of decorators.

    Decorators in a Protocol are read by type checkers only. Decorators that cache, or keep the name of a function, are
    left out, too: without them, the program does the same. So is what pytest reads, `__tracebackhide__`.
    """
    for node in ast.walk(tree):
        for ignored in (*_for_types(node), *_in_decorators(node)):
            if isinstance(ignored, ast.expr | ast.stmt) and ignored.end_lineno and ignored.end_col_offset:
                start = ignored.col_offset - 1 if isinstance(ignored, ast.expr) else ignored.col_offset  # With an @.
                yield (ignored.lineno, start), (ignored.end_lineno, ignored.end_col_offset)


def _for_types(node: ast.AST) -> Iterator[ast.AST | None]:
    match node:
        case ast.arg() | ast.AnnAssign():
            yield node.annotation
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.returns
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Assign(targets=[ast.Name(id="__tracebackhide__")]):
            yield node
        case ast.ClassDef() if any(ast.unparse(base).startswith("Protocol") for base in node.bases):
            yield from (decorator for member in node.body for decorator in getattr(member, "decorator_list", ()))


def _in_decorators(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for decorator in node.decorator_list:
            if _WITHOUT_EFFECT.match(ast.unparse(decorator)):
                yield decorator
            elif isinstance(decorator, ast.Call):
                yield from (*decorator.args, *(keyword.value for keyword in decorator.keywords))


def _run(root: Path, python: Path, *arguments: str, asked: str = "") -> str:
    # -P: without it, Python would look for modules of other packages in this folder.
    command = [str(python), "-P", str(OPERATORS), *arguments]
    return subprocess.run(command, cwd=root, input=asked, capture_output=True, text=True, check=True).stdout
