import subprocess
from pathlib import Path

import pytest

from tests.mutation.changes import Change, changed_lines, tracked_files

pytestmark = pytest.mark.process


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / ".gitignore").write_text("ignored.py\n", encoding="utf-8")
    (tmp_path / "a.py").write_text("".join(f"x{number} = {number}\n" for number in range(1, 11)), encoding="utf-8")
    (tmp_path / "gone.py").write_text("x = 1\n", encoding="utf-8")
    (tmp_path / "note.md").write_text("x\n", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for before, after in changes:
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")


def test_lines_changed_on_the_branch_and_not_yet_committed_count(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "mine")
    edit(repository / "a.py", ("x2 = 2\n", "x2 = 0\n"), ("x5 = 5\n", ""), ("x8 = 8\n", "x8 = 8\ny = 1\nz = 1\n"))
    git(repository, "commit", "-q", "-a", "-m", "second")
    edit(repository / "a.py", ("x10 = 10", "x10 = 0"))
    edit(repository / "note.md", ("x", "y"))
    (repository / "gone.py").unlink()
    (repository / "new \u5f20.py").write_text("x = 1\ny = 1\n", encoding="utf-8")
    (repository / "ignored.py").write_text("x = 1\n", encoding="utf-8")
    found = changed_lines(repository, "main")
    assert {file: sorted(lines) for file, lines in found.items() if lines} == {
        "a.py": [2, 8, 9, 11],
        "new \u5f20.py": [1, 2, 3],
    }
    assert tracked_files(repository) == [".gitignore", "a.py", "new \u5f20.py", "note.md"]


def test_what_others_changed_on_the_ref_does_not_count(repository: Path) -> None:
    git(repository, "checkout", "-q", "-b", "mine")
    git(repository, "checkout", "-q", "main")
    edit(repository / "a.py", ("x2 = 2", "x2 = 0"))
    git(repository, "commit", "-q", "-a", "-m", "others")
    git(repository, "checkout", "-q", "mine")
    assert changed_lines(repository, "main") == {}


def test_an_unknown_ref_is_an_error(repository: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        changed_lines(repository, "no-such-ref")
    assert "no-such-ref" in error.value.stderr


@pytest.mark.parametrize(
    ("mutated", "change"),
    [
        ("a\n  b + 2\nc\n", Change(2, ("  b",), ("  b + 2",))),
        ("a\nc\n", Change(2, ("  b",), ())),
        ("a\n  B\nC\n", Change(2, ("  b", "c"), ("  B", "C"))),
    ],
)
def test_a_change_is_the_lines_that_differ(mutated: str, change: Change) -> None:
    assert Change.between("a\n  b\nc\n", mutated) == change


def test_the_empty_lines_that_go_with_a_decorator_are_not_shown() -> None:
    assert Change.between("a\n\n\n@x\ndef f\n", "a\ndef f\n") == Change(4, ("@x",), ())


def test_lines_are_compared_without_the_spaces_around_them() -> None:
    assert Change(1, (), ("  a = 1", "    b")).becomes == "a = 1\nb"
