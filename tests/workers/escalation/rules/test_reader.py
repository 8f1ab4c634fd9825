import re
import time
from pathlib import Path

import pytest

from tests.docs.pages import blocks, page
from tests.workers.escalation.rules.rules_files import LAST, error_of
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule, Rules
from workers.errors import FatalError
from workers.escalation.rules.reader import DEFAULT_RULES, EscalationRules
from workers.escalation.rules.tables import SnsTopic, SqsTarget, Webhook

TOPIC = "arn:aws:sns:eu-central-1:123456789012:pager"
WHOLE = f"""
[[rules]]
reasons = ["WORKFLOW_FAILED", "VERIFICATION_UNAVAILABLE"]
sources = ["workflow", "eventbridge"]
severity = "critical"
channels = ["pager", "chat"]

[[rules]]
severity = "info"
channels = ["settlement"]

[channels.pager]
type = "sns"
topic_arn = "{TOPIC}"

[channels.settlement]
type = "sqs"
queue = "Settlement"

[channels.chat]
type = "webhook"
url_env = "CHAT_URL"
authorization_env = "CHAT_AUTHORIZATION"

[channels.local]
type = "webhook"
url = "http://127.0.0.1:8080/hook"
"""
ENVIRON = {"CHAT_URL": " https://chat.example/hooks/secret ", "CHAT_AUTHORIZATION": "Bearer abc"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rules.toml"


def test_a_file_defines_rules_and_channels(file: Path) -> None:
    file.write_text(WHOLE, encoding="utf-8")
    read = EscalationRules.read(file, ENVIRON)
    assert read.rules == Rules(
        (
            Rule(
                severity=Severity.CRITICAL,
                channels=("pager", "chat"),
                reasons=frozenset({Reason.WORKFLOW_FAILED, Reason.VERIFICATION_UNAVAILABLE}),
                sources=frozenset({Source.WORKFLOW, Source.EVENTBRIDGE}),
            ),
            Rule(severity=Severity.INFO, channels=("settlement",)),
        )
    )
    chat = {"type": "webhook", "url_env": "CHAT_URL", "authorization_env": "CHAT_AUTHORIZATION"}
    assert read.channels == {
        "pager": SnsTopic(type="sns", topic_arn=TOPIC),
        "settlement": SqsTarget(type="sqs", queue="Settlement"),
        "chat": Webhook.model_validate(chat),
        "local": Webhook.model_validate({"type": "webhook", "url": "http://127.0.0.1:8080/hook"}),
    }


@pytest.mark.parametrize("reason", list(Reason))
def test_by_default_system_faults_are_critical_and_all_goes_to_the_log_only(
    reason: Reason,
) -> None:
    default = EscalationRules.read(None, {})
    assert default.channels == {}
    critical = {"UNDECODABLE_MESSAGE", "WORKFLOW_FAILED", "VERIFICATION_UNAVAILABLE"}
    for source in (None, *Source):
        assessment = default.rules.assess([reason], source)
        assert assessment.severity is (Severity.CRITICAL if reason in critical else Severity.WARNING)
        assert assessment.channels == ("log",)


def test_the_comments_of_the_default_file_are_right(file: Path) -> None:
    text = DEFAULT_RULES.read_text(encoding="utf-8")
    for value in (*Reason, *Source, *Severity):
        assert value in text
    commented = text[text.index("# [channels.pager]") :]
    file.write_text(LAST + re.sub(r"^# ?", "", commented, flags=re.MULTILINE), encoding="utf-8")
    environ = {"CHAT_WEBHOOK_URL": "https://chat.example/", "CHAT_WEBHOOK_AUTH": "Bearer abc"}
    assert list(EscalationRules.read(file, environ).channels) == ["pager", "settlement", "chat"]


def test_the_example_on_the_page_is_right(file: Path, tmp_path: Path) -> None:
    shown = page("docs/routing.md")
    (example,) = blocks(shown, "toml")
    file.write_text(example, encoding="utf-8")
    environ = {"CHAT_WEBHOOK_URL": "https://chat.example/", "CHAT_WEBHOOK_AUTH": "Bearer abc"}
    read = EscalationRules.read(file, environ)
    assert read.rules.assess([Reason.WORKFLOW_FAILED], Source.WORKFLOW).channels == ("log", "pager", "chat")
    assert "rules.toml:3: rules.severity is 'urgent', must be info, warning or critical" in shown
    assert error_of(tmp_path, example.replace('"critical"', '"urgent"', 1)).startswith(
        "F:3: rules.severity is 'urgent', must be info, warning or critical"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[rules]]\nseverity = warning\n", "F:2: Invalid value, must be TOML"),
        ('[[rules]]\nseverity = "info"\nreasons = [\n', "F:3: Invalid value, must be TOML"),
        ("[[rules]]\nseverity = warning\n\n\n# more\n", "F:2: Invalid value, must be TOML"),
        (
            f'[[rules]]\nreasons = [\n"INVALID_PRICE",\n]\ncolour = {"1" * 5000}\n[[rules]]\nseverity = "info"\n',
            "F:5: a number has too many digits, must be TOML",
        ),
        (f"{LAST}severity = 'info'\n", "F:3: Cannot overwrite a value, must be TOML"),
        (b"[[rules]]\n# \xff\n", "F:2: byte 0xff, must be UTF-8"),
        (f"{LAST}colour = {'1' * 5000}\n# end\n", "F:3: a number has too many digits, must be TOML"),
        (f"x = [\n1,\n]\ny = [\n{'1' * 5000},\n]\n", "F:5: a number has too many digits, must be TOML"),
        (
            f"{LAST}colour = {'[' * 5000}{']' * 5000}\n",
            "F: nested too deeply, must be tables of [[rules]] and [channels.NAME]",
        ),
        ("#" * 65537, "F: the file is too large, must be at most 65536 bytes"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    assert error_of(tmp_path, text) == line


def test_every_mistake_is_reported(tmp_path: Path) -> None:
    assert error_of(tmp_path, '[[rules]]\nseverity = "x"\ncolour = 1\n[channels.pager]\ntype = "y"\n') == (
        "F:2: rules.severity is 'x', must be info, warning or critical; "
        "F:3: rules.colour is not a known key, must be one of reasons, sources, severity, channels; "
        "F:5: channels.pager.type is 'y', must be sns, sqs or webhook"
    )


def test_many_mistakes_are_reported_fast(tmp_path: Path) -> None:
    text = '[[rules]]\nseverity = "x"\n' * 2500
    before_s = time.process_time()
    line = error_of(tmp_path, text)
    assert time.process_time() - before_s < 60, "hours if every mistake looks at every line"
    assert line.startswith("F:2: rules.severity is 'x', must be info, warning or critical; F:4: ")
    assert line.count("F:") == 20
    assert line.endswith("; and 2480 more")


def test_an_unreadable_file_is_named_with_its_variable(tmp_path: Path) -> None:
    for path, why in [(tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(FatalError) as raised:
            EscalationRules.read(path, {})
        assert str(raised.value) == f"ESCALATION_RULES is {str(path)!r}, which cannot be read: {why}"


@pytest.mark.parametrize(("mistakes", "more"), [(20, ""), (21, "; and 1 more")])
def test_twenty_mistakes_are_reported_whole(tmp_path: Path, mistakes: int, more: str) -> None:
    line = error_of(tmp_path, '[[rules]]\nseverity = "x"\n' * mistakes)
    assert line.count("F:") == 20
    assert line.endswith(f"must be info, warning or critical{more}")


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(LAST + "#" * (65_536 - len(LAST)), encoding="utf-8")
    assert EscalationRules.read(path, {}).channels == {}
