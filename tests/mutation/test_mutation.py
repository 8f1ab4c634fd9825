"""A small project whose mutants are given, so that no other environment is needed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deploy.local.aws import ROOT
from tests.mutation.__main__ import PYTHON, mutate
from tests.mutation.changes import tracked_files
from tests.mutation.equivalents import EQUIVALENTS, Equivalent, read
from tests.mutation.mutants import Mutant, mutants_of, mutated_texts
from tests.mutation.running import BrokenTestsError, Verdict, WorkTree, judge
from tests.mutation.targets import MORE_TESTS, core_of, suite_of
from tests.mutation.test_changes import git

pytestmark = pytest.mark.process

SOURCE = """\
def seen(x):
    return x + 1


def hung(x):
    while x > 1:
        x -= 1
    return x


def unseen(x):
    return x + 1
"""
TESTS = """\
from workers.domain.small import hung, seen, unseen


def test_small():
    assert seen(1) == 2
    assert hung(3) == 1
    assert unseen(1)
"""
FILE = "workers/domain/small.py"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of another process")
# The mutants as Cosmic Ray would list and make them.
LISTED = [("ReplaceBinaryOperator_Add_Sub", 0, 2, 13), ("NumberReplacer", 5, 7, 13), ("NumberReplacer", 6, 12, 15)]
MUTATED = [
    SOURCE.replace("+ 1", "- 1", 1),
    SOURCE.replace("x -= 1", "x -= 0"),
    SOURCE.replace("def unseen(x):\n    return x + 1", "def unseen(x):\n    return x + 2"),
]
MUTANTS = [
    Mutant(FILE, 2, 2, "ReplaceBinaryOperator_Add_Sub", 0, "return x + 1", 0),
    Mutant(FILE, 7, 7, "NumberReplacer", 5, "x -= 1", 1),
    Mutant(FILE, 12, 12, "NumberReplacer", 6, "return x + 1", 2),
]
UNSEEN = Equivalent(FILE, "NumberReplacer", "return x + 1", "return x + 2", "a reason")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one module and its tests, in which a mutant hangs after a second."""
    monkeypatch.setattr("tests.mutation.__main__.GRACE_S", 1.0)
    monkeypatch.setattr("tests.mutation.__main__.GRACE_FACTOR", 2.0)
    root = tmp_path / "project"
    for name, text in {
        FILE: SOURCE,
        "workers/__init__.py": "",
        "workers/domain/__init__.py": "",
        "tests/workers/domain/test_small.py": TESTS,
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = ["--import-mode=importlib"]\n',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    git(root, "init", "-q")
    git(root, "add", ".")
    return root


@pytest.fixture
def cosmic_ray(tmp_path: Path) -> Path:
    """An interpreter that, whatever script it is given, lists and makes the mutants above."""
    listed = [(FILE, *place, place[2]) for place in LISTED]
    script = f"""\
        #!{sys.executable}
        import json, sys
        if sys.argv[3] == "list":
            print({json.dumps(listed)!r} if sys.argv[4:] else "[]")
        else:
            texts = {{(operator, occurrence): text for (_, operator, occurrence, *_), text in
                     zip(json.loads({json.dumps(listed)!r}), json.loads({json.dumps(MUTATED)!r}))}}
            print(json.dumps([texts[operator, occurrence] for _, operator, occurrence in json.load(sys.stdin)]))
        """
    path = tmp_path / "cosmic-ray"
    path.write_text(textwrap.dedent(script), encoding="utf-8")
    path.chmod(0o755)
    return path


def contents(root: Path) -> dict[str, bytes]:
    return {name: (root / name).read_bytes() for name in tracked_files(root)}


def test_a_mutant_that_no_test_sees_is_reported(
    project: Path, cosmic_ray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(project)
    assert mutate(project, cosmic_ray, MUTANTS, [], 2) == 1
    out = capsys.readouterr().out
    assert out.count("not seen: ") == 1
    assert (
        f"not seen: {FILE}:12 NumberReplacer (tests/workers/domain/test_small.py)\n"
        "-    return x + 1\n"
        "+    return x + 2\n"
    ) in out
    assert "workers/domain: 2 of 3 seen\nall: 2 of 3 seen, 66.7%; 1 of them because they hang\n" in out
    assert out.endswith("too few: at least 90% must be seen\n")
    assert contents(project) == before


def test_an_equivalent_mutant_is_left_out(project: Path, cosmic_ray: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mutate(project, cosmic_ray, MUTANTS, [UNSEEN], 1) == 0
    assert "all: 2 of 2 seen, 100.0%" in capsys.readouterr().out


def test_an_entry_that_matches_no_mutant_is_reported(
    project: Path, cosmic_ray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Equivalent(FILE, "NumberReplacer", "return x + 1", "return x + 7", "a reason")
    gone = Equivalent("workers/gone.py", "NumberReplacer", "return x + 1", "return x + 2", "a reason")
    assert mutate(project, cosmic_ray, MUTANTS[:1], [UNSEEN, old, gone], 1) == 1
    out = capsys.readouterr().out
    assert "all: 1 of 1 seen" in out
    stale = f"stale in equivalents.toml: NumberReplacer makes no mutant of this line in {FILE}:\n"
    assert f"{stale}-return x + 1\n+return x + 7\n" in out
    assert out.count("stale in") == 2


def test_a_module_without_tests_is_not_seen(
    project: Path, cosmic_ray: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "tests/workers/domain/test_small.py").unlink()
    assert mutate(project, cosmic_ray, MUTANTS[:1], [], 1) == 1
    assert "(the module has no tests)" in capsys.readouterr().out


def test_tests_that_fail_without_a_mutation_end_the_run(project: Path, cosmic_ray: Path) -> None:
    (project / "tests/workers/domain/test_small.py").write_text("def test():\n    assert False\n", encoding="utf-8")
    with pytest.raises(
        BrokenTestsError, match="these tests fail without any mutation: tests/workers/domain/test_small"
    ):
        mutate(project, cosmic_ray, MUTANTS, [], 2)


def test_tests_that_fail_once_without_a_mutation_run_again(project: Path, cosmic_ray: Path, tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    flaky = f"import pathlib\n\n\ndef test_flaky():\n    p = pathlib.Path({str(failed)!r})\n"
    flaky += "    before = p.exists()\n    p.touch()\n    assert before\n"
    with (project / "tests/workers/domain/test_small.py").open("a", encoding="utf-8") as file:
        file.write(flaky)
    assert mutate(project, cosmic_ray, MUTANTS[:1], [], 1) == 0


def test_no_mutants_are_all_seen(project: Path, cosmic_ray: Path) -> None:
    assert mutate(project, cosmic_ray, [], [], 2) == 0


def test_an_interrupted_run_leaves_nothing_behind(project: Path, tmp_path: Path) -> None:
    before = contents(project)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    program = f"""\
        import asyncio, pathlib, signal, tests.mutation.running as running
        signal.signal(signal.SIGINT, signal.default_int_handler)
        async def hang():
            with running.WorkTree.copied_from(pathlib.Path({str(project)!r})) as tree:
                with tree.mutated({FILE!r}, {MUTATED[1]!r}):
                    print("running", flush=True)
                    await tree.test(["tests/workers/domain/test_small.py"])
        asyncio.run(hang())
        """
    environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"running\n"
        assert [path.name[:9] for path in temporary.iterdir()] == ["mutation-"]
        running.send_signal(signal.SIGINT)
    assert running.returncode != 0
    assert list(temporary.iterdir()) == []
    assert contents(project) == before


def test_the_tests_see_the_mutated_file_and_then_the_old_one_again(project: Path) -> None:
    async def exit_codes() -> list[int | None]:
        tests = ["tests/workers/domain/test_small.py"]
        with WorkTree.copied_from(project) as tree:
            codes = [(await tree.test(tests)).exit_code]
            for text in (MUTATED[0], MUTATED[2], MUTATED[0]):  # All three have the same size.
                with tree.mutated(FILE, text):
                    codes.append((await tree.test(tests)).exit_code)
            return [*codes, (await tree.test(tests)).exit_code]

    assert asyncio.run(exit_codes()) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("dies", "verdict"),
    [
        ("raise SystemExit", Verdict.SEEN),
        ("os.kill(os.getpid(), 9)", Verdict.SEEN),
        ("os._exit(3)", Verdict.SEEN),
        pytest.param("bytearray(6 * 1024**3)", Verdict.SEEN, marks=ON_LINUX),
        ("None", Verdict.NOT_SEEN),
        ("os._exit(4)", Verdict.SEEN),
        ("os._exit(6)", BrokenTestsError),
    ],
)
def test_a_mutant_that_kills_its_tests_is_seen(project: Path, dies: str, verdict: Verdict | type[Exception]) -> None:
    async def judged() -> Verdict:
        with WorkTree.copied_from(project) as tree:
            suite = suite_of(project, FILE)
            return await judge(tree, MUTANTS[0], f"import os\n{SOURCE}\n{dies}\n", suite, timeout_s=60)

    if isinstance(verdict, Verdict):
        assert asyncio.run(judged()) is verdict
    else:
        with pytest.raises(verdict):
            asyncio.run(judged())


# The configuration.


def test_the_suite_of_each_module_are_found() -> None:
    assert suite_of(ROOT, "workers/domain/cards.py") == (
        "tests/workers/domain/test_cards.py",
        "tests/workers/domain/test_cards_properties.py",
        "tests/workers/domain/test_submissions.py",
    )
    assert suite_of(ROOT, "lambda/verify_cc_and_price.py")[0] == "tests/lambda_/test_verify_cc_and_price.py"
    assert suite_of(ROOT, "workers/no_such_folder/module.py") == ()


def test_a_module_without_tests_of_its_own_has_those_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tests/workers/graph"
    folder.mkdir(parents=True)
    for name in ("test_b.py", "test_a.py", "machines.py"):
        (folder / name).touch()
    tests = ("tests/workers/graph/test_a.py", "tests/workers/graph/test_b.py")
    assert suite_of(tmp_path, "workers/graph/lines.py") == tests
    assert suite_of(tmp_path, "workers/graph/b.py") == tests[1:]


def test_the_tests_named_for_a_module_exist() -> None:
    files = set(tracked_files(ROOT))
    assert MORE_TESTS.keys() <= files
    assert {test for tests in MORE_TESTS.values() for test in tests} <= files
    assert "workers/domain/cards.py" in core_of(files)
    assert "workers/settings.py" not in core_of(files)


def test_each_equivalent_mutant_has_a_reason_and_is_on_a_line_of_its_file() -> None:
    for entry in read(EQUIVALENTS):
        lines = [line.strip() for line in (ROOT / entry.file).read_text(encoding="utf-8").split("\n")]
        assert entry.line in lines, entry
        assert entry.reason


@pytest.mark.skipif(not (ROOT / ".venv-mutation").exists(), reason="`make mutation` installs Cosmic Ray")
def test_cosmic_ray_makes_the_mutants_that_are_given_above(project: Path) -> None:
    found = mutants_of(project, [FILE], PYTHON)
    assert set(MUTANTS) <= set(found)
    assert {mutant.operator for mutant in found} == {
        *("AddNot", "DropStatement", "NumberReplacer", "ReplaceBinaryOperator_Add_Sub"),
        *("ReplaceComparisonOperator_Gt_GtE", "ReplaceComparisonOperator_Gt_LtE"),
    }
    without_spaces = [text.replace(" ", "") for text in MUTATED]
    assert [text.replace(" ", "") for text in mutated_texts(project, MUTANTS, PYTHON)] == without_spaces
