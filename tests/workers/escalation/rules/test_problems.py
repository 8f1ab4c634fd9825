from pathlib import Path

import pytest

from tests.workers.escalation.rules.rules_files import CARD, LAST, error_of
from workers.domain.reasons import Reason
from workers.escalation.rules.problems import contradictions
from workers.escalation.rules.tables import RulesFile
from workers.queue_address import QUEUE

TOPIC = "arn:aws:sns:eu-central-1:123456789012:pager"
REASONS = ", ".join(Reason)
URL = "an https URL (http for localhost only) without user, password and fragment"
URL_ENV = f"the name of an environment variable that holds {URL}"
AUTHORIZATION_ENV = "the name of an environment variable that holds 1 to 4096 visible ASCII characters"
NAME = "1 to 32 lower-case letters, digits and dashes, and not log"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "F:1: rules is missing, must be at least one [[rules]]"),
        ("rules = []\n", "F:1: rules is [], must be at least one [[rules]]"),
        ('[rules]\nseverity = "info"\n', "F:1: rules is {'severity': 'info'}, must be at least one [[rules]]"),
        ('rules = ["x"]\n', "F:1: rules is 'x', must be a table, [[rules]]"),
        (f"{LAST}[webhooks]\n", "F:3: webhooks is not a known key, must be one of rules, channels"),
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
            "F:3: rules.sources is 'mars', must be a list of any of workflow, fulfillment, eventbridge, sweep",
        ),
        (
            '[[rules]]\nseverity = "info"\nchannels = "pager"\n',
            "F:3: rules.channels is 'pager', must be a list of names of channels",
        ),
        (
            '[[rules]]\nseverity = "info"\nchannels = ["log", "pagr"]\n[channels.pager]\ntype = "sqs"\nqueue = "q"\n',
            "F:3: rules.channels is 'pagr', must be a defined channel: log, pager",
        ),
        (
            '[[rules]]\nseverity = "info"\ncolour = 5\n',
            "F:3: rules.colour is not a known key, must be one of reasons, sources, severity, channels",
        ),
        (
            LAST + LAST,
            "F:1: rules has no reasons and no sources, must have one of them: only the last rule matches everything",
        ),
        (
            '[[rules]]\nseverity = "info"\nreasons = ["INVALID_PRICE"]\n',
            "F:3: rules.reasons is set, must be absent: the last rule matches everything",
        ),
        (
            '[[rules]]\nseverity = "info"\nsources = ["workflow"]\n',
            "F:3: rules.sources is set, must be absent: the last rule matches everything",
        ),
        (
            'rules = [ { severity = "info", reasons = ["X"] }, { severity = "info" } ]\n',
            f"F:1: rules.reasons is 'X', must be a list of any of {REASONS}",
        ),
        (f"channels.pager = 5\n{LAST}", "F:1: channels.pager is 5, must be a table"),
        (f'channels.chat = "https://x/key"\n{LAST}', "F:1: channels.chat is not shown, must be a table"),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = ["https://x/key"]\n',
            f"F:5: channels.chat.url is not shown, must be {URL}",
        ),
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
            "F:6: channels.pager.url is not a key of type sns, must be one of type, topic_arn",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sqs"\nqueue = "a b"\n',
            f"F:5: channels.pager.queue is 'a b', must be {QUEUE}",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sqs"\nqueue = "Pager.fifo"\n',
            f"F:5: channels.pager.queue is 'Pager.fifo', must be {QUEUE}",
        ),
        (
            f'{LAST}[channels.pager]\ntype = "sqs"\nqueue = "https://me:secret@sqs.example/1/Pager"\n',
            f"F:5: channels.pager.queue is not shown (it has a user or password), must be {QUEUE}",
        ),
        (
            f'{LAST}channels.pager.type = "sqs"\nchannels.pager.queue = "a.fifo"\n',
            # In TOML these are keys of the last rule.
            "F:3: rules.channels is {'pager': {'type': 'sqs', 'queue': 'a.fifo'}}, must be a list of names of channels",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\n',
            f"F:3: channels.chat.url is missing, must be {URL}, or set url_env to the variable that holds it",
        ),
        (
            f'{LAST}[channels.chat]\ntype = "webhook"\nurl = "https://chat.example/"\nurl_env = "X"\n',
            "F:5: channels.chat.url and url_env are both set, must be only one of them",
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
        (
            f"[[rules]]\nseverity = 0x{'f' * 5000}\n",
            "F:2: rules.severity is a number that has too many digits, must be info, warning or critical",
        ),
    ],
)
def test_a_mistake_is_described_with_file_line_key_and_allowed_values(tmp_path: Path, text: str, line: str) -> None:
    assert error_of(tmp_path, text) == line


def test_a_valid_file_has_no_contradictions() -> None:
    chat = {"type": "webhook", "url_env": "CHAT_URL", "authorization_env": "CHAT_AUTH"}
    file = RulesFile.model_validate(
        {
            "rules": [{"severity": "info", "sources": ["workflow"], "channels": ["log", "chat"]}, {"severity": "info"}],
            "channels": {"chat": chat, "local": {"type": "webhook", "url": "http://localhost/"}},
        }
    )
    environ = {"CHAT_URL": "https://chat.example/", "CHAT_AUTH": "Bearer abc"}
    assert list(contradictions(file, environ)) == []
    assert [where for where, _ in contradictions(file, {})] == [
        ("channels", "chat", "url_env"),
        ("channels", "chat", "authorization_env"),
    ]
