from pathlib import Path

import pytest

from tests.workers.escalation.rules.rules_files import LAST, error_of
from workers.escalation.rules.toml_lines import KeyPath, line_of, statement_ends

TEXT = """title = "x"

[[rules]]
reasons = [
  "A",
  "B",
]
[[rules]]
severity.level = 1
[channels]
chat = { type = "x" }
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 1),
        (("rules",), 3),
        (("rules", 0), 3),
        (("rules", 0, "reasons"), 4),
        (("rules", 0, "reasons", 1), 4),
        (("rules", 1), 8),
        (("rules", 1, "severity", "level"), 9),
        (("channels", "chat", "type"), 11),
        (("rules", 0, "missing"), 3),
        (("missing", "too"), 1),
        (("channels", "chat", "missing"), 11),
        (("channels", "chat", "type", "too", "deep"), 11),
        (("channels", 0), 10),
        (("rules", 2), 3),
        (("rules", "severity"), 3),
        (("title", "x"), 1),
        ((), 1),
    ],
)
def test_a_key_is_found_in_any_notation(path: KeyPath, line: int) -> None:
    assert line_of(TEXT, statement_ends(TEXT), path) == line


def test_lines_are_counted_as_editors_do(tmp_path: Path) -> None:
    text = f'# \u2028 does not break a line\n{LAST}[channels.pager]\ntype = """\nx"""\n'
    assert error_of(tmp_path, text) == "F:5: channels.pager.type is 'x', must be sns, sqs or webhook"
    text = f'{LAST}[channels.pager]\ntype = "x"\n'.replace("\n", "\r\n")
    assert error_of(tmp_path, text) == "F:4: channels.pager.type is 'x', must be sns, sqs or webhook"


def test_text_that_only_looks_like_the_key_is_ignored(tmp_path: Path) -> None:
    text = '''[[rules]]
# severity = "urgent"
channels = ["""
severity = "urgent"
""", "log"]
"severity" = "urgent"
'''
    assert error_of(tmp_path, text) == "F:6: rules.severity is 'urgent', must be info, warning or critical"


def test_the_last_line_needs_no_line_end() -> None:
    text = "a = 1\nb = 2"
    assert statement_ends(text) == [1, 2]
    assert [line_of(text, [1, 2], (key,)) for key in "ab"] == [1, 2]


def test_the_end_of_a_statement_does_not_depend_on_those_before_it() -> None:
    assert statement_ends("a = 1\na = [\n  2,\n]\nb = 3") == [1, 4, 5]
