"""What has changed: between a git ref and the work tree, and between a file and its mutant."""

import difflib
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HUNK = re.compile(r"@@ -\S+ \+([0-9]+)(?:,([0-9]+))? @@")


@dataclass(frozen=True, slots=True)
class Change:
    """The first changed line, the lines that were there, and those that are there instead."""

    line: int
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def becomes(self) -> str:
        """The new lines as one text, without the spaces around each."""
        return "\n".join(line.strip() for line in self.after)

    @classmethod
    def between(cls, source: str, mutated: str) -> "Change":
        before, after = source.split("\n"), mutated.split("\n")
        changed = [
            opcode
            for opcode in difflib.SequenceMatcher(None, before, after, False).get_opcodes()
            if opcode[0] != "equal"
        ]
        (_, start, _, new_start, _), (_, _, end, _, new_end) = changed[0], changed[-1]
        while start < end - 1 and not before[start].strip():  # Empty lines that go with a decorator.
            start += 1
        return cls(start + 1, tuple(before[start:end]), tuple(after[new_start:new_end]))


def tracked_files(root: Path) -> list[str]:
    """Return the files that belong to the project: those in git, and new ones that are not ignored."""
    found = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted({name for name in found if name and (root / name).is_file()})


def changed_lines(root: Path, ref: str) -> Mapping[str, set[int]]:
    """
    Return the lines of each Python file that are new or different since the branch left *ref*, committed or not.

    Raises:
        subprocess.CalledProcessError: There is no such ref.
    """
    base = _git(root, "merge-base", ref, "HEAD").strip()
    lines: dict[str, set[int]] = {}
    file = ""
    # The options override what a user may have configured.
    options = ("--unified=0", "--no-color", "--no-ext-diff", "--src-prefix=a/", "--dst-prefix=b/")
    for line in _git(root, "diff", *options, base, "--", "*.py").split("\n"):
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif hunk := _HUNK.match(line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(file, set()).update(range(first, first + count))
    for new in _git(root, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py").split("\0"):
        if new:
            lines[new] = set(range(1, (root / new).read_text(encoding="utf-8").count("\n") + 2))
    return lines


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "core.quotePath=false", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
