import re
import time
from pathlib import Path

import pytest

from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule, Rules
from workers.errors import FatalError
from workers.escalation.rules.reader import SHIPPED, EscalationRules
from workers.escalation.rules.tables import SnsTopic, SqsTarget, Webhook

LAST = '[[rules]]\nseverity = "warning"\n'
TOPIC = "arn:aws:sns:eu-central-1:123456789012:pager"
REASONS = ", ".join(Reason)
URL = "an https URL (http for localhost only) without user, password and fragment"
URL_ENV = f"the name of an environment variable that holds {URL}"
AUTHORIZATION_ENV = "the name of an environment variable that holds 1 to 4096 visible ASCII characters"
NAME = "1 to 32 lower-case letters, digits and dashes, and not log"
CARD = "4929123412345678"

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


def told(file: Path, text: str | bytes) -> str:
    """Return the line that a wrong file ends the worker with; the file is `F` in it."""
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FatalError) as raised:
        EscalationRules.read(file, {"BAD": "a\nb", "EMPTY": "  ", "PLAIN_HTTP": f"http://chat.example/{CARD}"})
    line = str(raised.value)
    assert "\n" not in line
    assert CARD not in line
    return line.replace(str(file), "F")


def test_a_file_says_by_which_rules_and_to_which_channels(file: Path) -> None:
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
    pager, settlement, chat, local = read.channels.values()
    assert isinstance(pager, SnsTopic)
    assert (pager.topic_arn, pager.region) == (TOPIC, "eu-central-1")
    assert isinstance(settlement, SqsTarget)
    assert settlement.queue == "Settlement"
    assert isinstance(chat, Webhook)
    assert (chat.address(ENVIRON), chat.authorization(ENVIRON)) == ("https://chat.example/hooks/secret", "Bearer abc")
    assert isinstance(local, Webhook)
    assert (local.address({}), local.authorization({})) == ("http://127.0.0.1:8080/hook", None)


@pytest.mark.parametrize("reason", list(Reason))
def test_the_file_that_is_shipped_calls_critical_where_the_system_failed_and_sends_to_the_log_only(
    reason: Reason,
) -> None:
    shipped = EscalationRules.read(None, {})
    assert shipped.channels == {}
    critical = {"UNDECODABLE_MESSAGE", "WORKFLOW_FAILED", "VERIFICATION_UNAVAILABLE"}
    for source in (None, *Source):
        assessment = shipped.rules.assess([reason], source)
        assert assessment.severity is (Severity.CRITICAL if reason in critical else Severity.WARNING)
        assert assessment.channels == ("log",)


def test_the_comments_of_the_file_that_is_shipped_hold(file: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    for each in (*Reason, *Source, *Severity):
        assert each in text
    commented = text[text.index("# [channels.pager]") :]
    file.write_text(LAST + re.sub(r"^# ?", "", commented, flags=re.MULTILINE), encoding="utf-8")
    environ = {"CHAT_WEBHOOK_URL": "https://chat.example/", "CHAT_WEBHOOK_AUTH": "Bearer abc"}
    assert list(EscalationRules.read(file, environ).channels) == ["pager", "settlement", "chat"]


def test_the_example_of_the_readme_is_right(file: Path) -> None:
    readme = (SHIPPED.parents[3] / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    file.write_text(example, encoding="utf-8")
    environ = {"CHAT_WEBHOOK_URL": "https://chat.example/", "CHAT_WEBHOOK_AUTH": "Bearer abc"}
    read = EscalationRules.read(file, environ)
    assert read.rules.assess([Reason.WORKFLOW_FAILED], Source.WORKFLOW).channels == ("log", "pager", "chat")
    assert "rules.toml:3: rules.severity is 'urgent', must be info, warning or critical" in readme
    assert told(file, example.replace('"critical"', '"urgent"', 1)).startswith(
        "F:3: rules.severity is 'urgent', must be info, warning or critical"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "F:1: rules is missing, must be one [[rules]] at least"),
        ("rules = []\n", "F:1: rules is [], must be one [[rules]] at least"),
        ('[rules]\nseverity = "info"\n', "F:1: rules is {'severity': 'info'}, must be one [[rules]] at least"),
        ('rules = ["x"]\n', "F:1: rules is 'x', must be a table, [[rules]]"),
        (f"{LAST}[webhooks]\n", "F:3: webhooks is no key here, must be one of rules, channels"),
        (f"channels = 5\n{LAST}", "F:1: channels is 5, must be tables, [channels.NAME]"),
        (
            '# severity = "x"\n[[rules]]\nreasons = ["INVALID_PRICE"]\n\nseverity = "urgent"\n' + LAST,
            "F:5: rules.severity is 'urgent', must be info, warning or critical",
        ),
        ("[[rules]]\nseverity = 1\n", "F:2: rules.severity is 1, must be info, warning or critical"),
        (
            "[[rules]]\nseverity = 2026-11-22\n",
            "F:2: rules.severity is '2026-11-22', must be info, warning or critical",
        ),
        (f'[[rules]]\nseverity = "{CARD}"\n', "F:2: rules.severity is '****', must be info, warning or critical"),
        (
            f'[[rules]]\nseverity = "{"x" * 100}"\n',
            f"F:2: rules.severity is '{'x' * 59}..., must be info, warning or critical",
        ),
        (
            f'{LAST.replace("warning", "info")}reasons = ["INVALID_PRICE"]\n[[rules]]\nchannels = []\n',
            "F:4: rules.severity is missing, must be info, warning or critical",
        ),
        (
            f'[[rules]]\nseverity = "info"\nreasons = [\n  "INVALID_PRICE",\n  "NOPE",\n]\n{LAST}',
            f"F:3: rules.reasons is 'NOPE', must be a list of any of {REASONS}",
        ),
        (
            f'[[rules]]\nreasons = []\nseverity = "info"\n{LAST}',
            f"F:2: rules.reasons is [], must be a list of any of {REASONS}",
        ),
        (
            f'[[rules]]\nreasons = "INVALID_PRICE"\nseverity = "info"\n{LAST}',
            f"F:2: rules.reasons is 'INVALID_PRICE', must be a list of any of {REASONS}",
        ),
        (
            f'[[rules]]\nseverity = "info"\nsources = ["mars"]\n{LAST}',
            "F:3: rules.sources is 'mars', must be a list of any of workflow, fulfillment, eventbridge",
        ),
        (
            '[[rules]]\nseverity = "info"\nchannels = "pager"\n',
            "F:3: rules.channels is 'pager', must be a list of names of channels",
        ),
        (
            '[[rules]]\nseverity = "info"\nchannels = ["log", "pagr"]\n[channels.pager]\ntype = "sqs"\nqueue = "q"\n',
            "F:3: rules.channels is 'pagr', must be a channel that is defined: log, pager",
        ),
        (
            '[[rules]]\nseverity = "info"\ncolour = 5\n',
            "F:3: rules.colour is no key here, must be one of reasons, sources, severity, channels",
        ),
        (
            LAST + LAST,
            "F:1: rules has no reasons and no sources, must have either: only the last rule catches all",
        ),
        (
            '[[rules]]\nseverity = "info"\nreasons = ["INVALID_PRICE"]\n',
            "F:3: rules.reasons is set, must be absent: the last rule catches all",
        ),
        (
            '[[rules]]\nseverity = "info"\nsources = ["workflow"]\n',
            "F:3: rules.sources is set, must be absent: the last rule catches all",
        ),
        (
            'rules = [ { severity = "info", reasons = ["X"] }, { severity = "info" } ]\n',
            f"F:1: rules.reasons is 'X', must be a list of any of {REASONS}",
        ),
        (f"channels.pager = 5\n{LAST}", "F:1: channels.pager is 5, must be a table"),
        (
            f'{LAST}[channels.pager]\nqueue = "q"\n',
            "F:3: channels.pager.type is missing, must be sns, sqs or webhook",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "email"\n',
            "F:4: channels.pager.type is 'email', must be sns, sqs or webhook",
        ),
        (
            f'{LAST}[channels."Pager 1"]\ntype = "sqs"\nqueue = "q"\n',
            f"F:3: channels.'Pager 1': a channel's name must be {NAME}",
        ),
        (
            f'{LAST}[channels.log]\ntype = "sqs"\nqueue = "q"\n',
            f"F:3: channels.log: a channel's name must be {NAME}",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sns"\n',
            "F:3: channels.pager.topic_arn is missing, must be the ARN of a standard SNS topic",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sns"\ntopic_arn = "{TOPIC}.fifo"\n',
            f"F:5: channels.pager.topic_arn is '{TOPIC}.fifo', must be the ARN of a standard SNS topic",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sns"\ntopic_arn = "{TOPIC}"\nurl = "x"\n',
            "F:6: channels.pager.url is no key of type sns, must be one of type, topic_arn",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sqs"\nqueue = "a b"\n',
            "F:5: channels.pager.queue is 'a b', must be the name or the URL of a standard SQS queue",
        ),
        (
            f'{LAST}channels.pager.type = "sqs"\nchannels.pager.queue = "a.fifo"\n',
            # By TOML's rules these are keys of the last rule.
            "F:3: rules.channels is {'pager': {'type': 'sqs', 'queue': 'a.fifo'}}, must be a list of names of channels",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\n',
            f"F:3: channels.chat.url is missing, must be {URL}, or url_env the variable that holds it",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/"\nurl_env = "X"\n',
            f"F:5: channels.chat.url and url_env are both set, must be {URL}, or url_env the variable that holds it",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "http://chat.example/{CARD}"\n',
            f"F:5: channels.chat.url is not shown, must be {URL}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl_env = "NOT_SET"\n',
            f"F:5: channels.chat.url_env is 'NOT_SET', which is not set, must be {URL_ENV}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl_env = "EMPTY"\n',
            f"F:5: channels.chat.url_env is 'EMPTY', which is not set, must be {URL_ENV}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl_env = "PLAIN_HTTP"\n',
            f"F:5: channels.chat.url_env is 'PLAIN_HTTP', whose value is not shown, must be {URL_ENV}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl_env = "https://chat.example/{CARD}"\n',
            f"F:5: channels.chat.url_env is not shown, must be {URL_ENV}, in upper case",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/"\nauthorization_env = "NOT_SET"\n',
            f"F:6: channels.chat.authorization_env is 'NOT_SET', which is not set, must be {AUTHORIZATION_ENV}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/"\nauthorization_env = "BAD"\n',
            f"F:6: channels.chat.authorization_env is 'BAD', whose value is not shown, must be {AUTHORIZATION_ENV}",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/"\nauthorization_env = "Bearer x"\n',
            f"F:6: channels.chat.authorization_env is not shown, must be {AUTHORIZATION_ENV}, in upper case",
        ),
        ("[[rules]]\nseverity = warning\n", "F:2: Invalid value, must be TOML"),
        ('[[rules]]\nseverity = "info"\nreasons = [\n', "F:3: Invalid value, must be TOML"),
        (f"{LAST}severity = 'info'\n", "F:3: Cannot overwrite a value, must be TOML"),
        (b"[[rules]]\n# \xff\n", "F:2: byte 0xff, must be UTF-8"),
        (f"{LAST}colour = {'1' * 5000}\n# end\n", "F:3: a number has too many digits, must be TOML"),
        (
            f"[[rules]]\nseverity = 0x{'f' * 5000}\n",
            "F:2: rules.severity is a number that has too many digits, must be info, warning or critical",
        ),
        (
            f"{LAST}colour = {'[' * 5000}{']' * 5000}\n",
            "F: nested too deeply, must be tables of [[rules]] and [channels.NAME]",
        ),
        ("#" * 65537, "F: the file is too large, must be at most 65536 bytes"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_line_key_and_what_is_allowed(
    file: Path, text: str | bytes, line: str
) -> None:
    assert told(file, text) == line


def test_every_mistake_is_named(file: Path) -> None:
    assert told(file, '[[rules]]\nseverity = "x"\ncolour = 1\n[channels.pager]\ntype = "y"\n') == (
        "F:2: rules.severity is 'x', must be info, warning or critical; "
        "F:3: rules.colour is no key here, must be one of reasons, sources, severity, channels; "
        "F:5: channels.pager.type is 'y', must be sns, sqs or webhook"
    )


def test_a_file_of_many_mistakes_is_told_of_in_no_time(file: Path) -> None:
    text = '[[rules]]\nseverity = "x"\n' * 2500
    before_s = time.process_time()
    line = told(file, text)
    assert time.process_time() - before_s < 60, "it takes hours where every line is looked at for every mistake"
    assert line.startswith("F:2: rules.severity is 'x', must be info, warning or critical; F:4: ")
    assert line.count("F:") == 20
    assert line.endswith("; and 2480 more")


def test_lines_are_counted_as_editors_do(file: Path) -> None:
    text = f'# \u2028 is no line break\n{LAST}[channels.pager]\ntype = """\nx"""\n'
    assert told(file, text) == "F:5: channels.pager.type is 'x', must be sns, sqs or webhook"
    text = f'{LAST}[channels.pager]\ntype = "x"\n'.replace("\n", "\r\n")
    assert told(file, text) == "F:4: channels.pager.type is 'x', must be sns, sqs or webhook"


def test_what_merely_looks_like_the_key_is_not_taken_for_it(file: Path) -> None:
    text = '''[[rules]]
# severity = "urgent"
channels = ["""
severity = "urgent"
""", "log"]
"severity" = "urgent"
'''
    assert told(file, text) == "F:6: rules.severity is 'urgent', must be info, warning or critical"


def test_a_file_that_cannot_be_read_is_named_by_its_variable(tmp_path: Path) -> None:
    for path, why in [(tmp_path / "none.toml", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(FatalError) as raised:
            EscalationRules.read(path, {})
        assert str(raised.value) == f"ESCALATION_RULES is {str(path)!r}, which cannot be read: {why}"


def test_a_secret_is_not_in_what_is_printed_of_a_channel(file: Path) -> None:
    file.write_text(f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/secret"\n', encoding="utf-8")
    assert "secret" not in repr(EscalationRules.read(file, {}))
