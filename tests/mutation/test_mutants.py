from pathlib import Path

from tests.mutation.mutants import Mutant, Place, fresh, located, on_lines, sample

SOURCE = """\
def f(x):
    if x > 1:
        return 1
    return 1


def g(x):
    return 1
"""


def mutant(line: int, text: str = "return 1", number: int = 0, file: str = "a.py") -> Mutant:
    return Mutant(file, line, line, "NumberReplacer", 0, text, number)


def written(folder: Path, source: str) -> list[Mutant]:
    """Return the mutants that change the number at the end of each line that has one."""
    (folder / "a.py").write_text(source, encoding="utf-8")
    places = [
        Place("NumberReplacer", occurrence, line, len(text) - 1, line)
        for occurrence, (line, text) in enumerate(
            (line, text) for line, text in enumerate(source.split("\n"), 1) if text.endswith("1")
        )
    ]
    return list(located(folder, "a.py", places))


def test_a_mutant_knows_its_line_and_its_number_among_equal_lines(tmp_path: Path) -> None:
    assert written(tmp_path, SOURCE) == [mutant(3), *[
        Mutant("a.py", line, line, "NumberReplacer", number, "return 1", number) for line, number in ((4, 1), (8, 2))
    ]]  # fmt: skip


def test_the_sample_stays_the_same_when_other_lines_change(tmp_path: Path) -> None:
    source = "".join(f"x{number} = 1\n" for number in range(200))
    before = {mutant.text for mutant in sample(written(tmp_path, source), 0.2)}
    assert 20 < len(before) < 60
    moved = "import a\n\n" + source.replace("x50 = 1\n", "").replace("x60 = 1\n", "y60 = 1\n").replace(
        "x9 = 1\n", "if a:\n    x9 = 1\n"
    )
    after = {mutant.text for mutant in sample(written(tmp_path, moved), 0.2)}
    assert before - {"x50 = 1", "x60 = 1"} == after - {"y60 = 1"}


def test_another_file_or_operator_has_another_sample() -> None:
    lines = [f"x{number} = 1" for number in range(200)]
    samples = [
        {chosen.text for chosen in sample([Mutant(file, 1, 1, operator, 0, text, 0) for text in lines], 0.2)}
        for file, operator in (("a.py", "AddNot"), ("b.py", "AddNot"), ("a.py", "NumberReplacer"))
    ]
    assert len({frozenset(texts) for texts in samples}) == 3


def test_each_seed_takes_another_sample_of_the_same_size() -> None:
    mutants = [mutant(line, f"x{line} = 1") for line in range(200)]
    samples = [fresh(mutants, seed, 20) for seed in ("a", "b", "a")]
    assert [len(set(mutants)) for mutants in samples] == [20, 20, 20]
    assert samples[0] == samples[2] != samples[1]
    assert fresh(mutants[:5], "a", 20) == fresh(mutants[:5], "b", 20) == mutants[:5]


def test_all_mutants_of_the_changed_lines_are_taken() -> None:
    long = Mutant("a.py", 3, 6, "AddNot", 0, "if (", 0)
    mutants = [mutant(1), mutant(2), long, mutant(2, file="b.py")]
    assert on_lines(mutants, {"a.py": {2, 5}}) == [mutant(2), long]
    assert on_lines(mutants, {"b.py": {2}, "c.py": {1}}) == [mutant(2, file="b.py")]
    assert on_lines(mutants, {}) == []


IGNORED = """\
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    \u5f20 = 1

@functools.lru_cache(1)
@dataclass(frozen=1)
class A:
    a: Literal[1] = 1


def f(a: Literal[1] = 1, *b: Literal[1]) -> Literal[1]:
    return 1
"""


def test_a_cache_or_name_is_not_removed_but_any_other_decorator(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"{IGNORED}\n\n@cache\n@other\n@wraps(f)\ndef g(): ...\n", encoding="utf-8")
    places = [Place("RemoveDecorator", 0, line, 0, line + 1) for line in (6, 7, 16, 17, 18)]
    assert [mutant.line for mutant in located(tmp_path, "a.py", places)] == [7, 17]


def test_what_pytest_reads_is_not_mutated(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def f():\n    __tracebackhide__ = True\n    x = True\n", encoding="utf-8")
    places = [Place("ReplaceTrueWithFalse", line, line, column, line) for line, column in ((2, 24), (3, 8))]
    assert [mutant.line for mutant in located(tmp_path, "a.py", places)] == [3]


PROTOCOL = """\
class A(Protocol[T]):
    @property
    def a(self) -> int: ...

class B(A):
    @property
    def a(self) -> int: ...
"""


def test_a_decorator_in_a_protocol_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(PROTOCOL, encoding="utf-8")
    places = [Place("RemoveDecorator", 0, line, 4, line + 1) for line in (2, 6)]
    assert [mutant.line for mutant in located(tmp_path, "a.py", places)] == [6]


def test_what_only_type_checkers_and_decorators_read_is_not_mutated(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(IGNORED, encoding="utf-8")
    places = [
        Place("NumberReplacer", 0, line, column, line)
        for line, text in enumerate(IGNORED.split("\n"), 1)
        for column, char in enumerate(text)
        if char == "1"
    ]
    found = [(place.line, place.text) for place in located(tmp_path, "a.py", places)]
    assert found == [
        (9, "a: Literal[1] = 1"),
        (12, "def f(a: Literal[1] = 1, *b: Literal[1]) -> Literal[1]:"),
        (13, "return 1"),
    ]
