"""Rules files of any content: read, or refused in one line that names the line and the key."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import digit_text, json_values, matching, text, unicode_text
from workers.domain.cards import looks_like_card
from workers.domain.cases import LOG_CHANNEL
from workers.domain.escalations import Assessment
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules

SECRET = "SECRET-4711"
ENVIRON = {"URL": f"https://chat.example/{SECRET}", "BAD_URL": SECRET, "KEY": SECRET, "BAD_KEY": f"{SECRET}\n"}
VALID = """
[[rules]]
reasons = ["INVALID_PRICE",
  "INVALID_CARD_NUMBER"]
sources = ["workflow"]
severity = "critical"
channels = ["pager", "chat"]

[[rules]]
severity = "info"
channels = ["log", "settlement"]

[channels.pager]
type = "sns"
topic_arn = "arn:aws:sns:eu-central-1:123456789012:pager"

[channels.settlement]
type = "sqs"
queue = "Settlement"

[channels]
chat = { type = "webhook", url_env = "URL", authorization_env = "KEY" }
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules") / "F"


def read(file: Path, content: str | bytes) -> EscalationRules | str:
    """Return the rules, or the line that says what is wrong with the file, without the path in front of `F`."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        return EscalationRules.read(file, ENVIRON)
    except FatalError as error:
        return str(error).replace(str(file), "F")


def assert_read_or_refused(file: Path, content: str | bytes) -> None:
    found = read(file, content)
    if isinstance(found, EscalationRules):
        assert found.rules.assess([Reason.UNSPECIFIED], None).severity in Severity
        return
    place = re.match(r"F(?::([0-9]+))?: (.+),? must be ", found)
    assert place is not None, found
    assert "\n" not in found
    assert SECRET not in found
    assert not looks_like_card(re.sub(r"[0-9A-Fa-f:T+ -]*\.\.\.", "...", found))  # What is cut may be half of a UUID.
    lines = content.count("\n") if isinstance(content, str) else content.count(b"\n")
    assert 1 <= int(place[1] or 1) <= lines + 1


WORDS = st.sampled_from([*Reason, *Source, *Severity, "log", "pager", "sns", "sqs", "webhook", "URL", "BAD_KEY", "Q"])
VALUES = WORDS | st.lists(WORDS, max_size=3) | st.integers() | json_values
NAMES = st.sampled_from(["reasons", "sources", "severity", "channels", "rules"]) | text
CHANNEL_KEYS = st.sampled_from(["type", "topic_arn", "queue", "url", "url_env", "authorization_env"]) | text
RULES = st.dictionaries(NAMES, VALUES, max_size=4)
CHANNELS = st.dictionaries(WORDS | text, VALUES | st.dictionaries(CHANNEL_KEYS, VALUES, max_size=4), max_size=3)
DOCUMENTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {}, optional={"rules": st.lists(RULES, max_size=3) | VALUES, "channels": CHANNELS | VALUES, "x": VALUES}
)


def toml(value: Any) -> str:
    """Return *value* as TOML. Only texts of the Unicode that JSON and TOML escape alike come out valid."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case None:
            return "1979-05-27T07:32:00"
        case _:
            return json.dumps(value)


def lines_of(document: dict[str, Any], with_headers: bool) -> str:
    rules = document.get("rules")
    if not with_headers or not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in document.items())
    others = "".join(f"{key} = {toml(value)}\n" for key, value in document.items() if key != "rules")
    tables = ("".join(f"{json.dumps(key)} = {toml(item)}\n" for key, item in rule.items()) for rule in rules)
    return others + "".join(f"[[rules]]\n{table}" for table in tables)


@given(st.builds(lines_of, DOCUMENTS, st.booleans()))
def test_any_document_is_read_or_refused(file: Path, content: str) -> None:
    assert_read_or_refused(file, content)


@given(
    st.integers(0, len(VALID)),
    st.integers(0, 30),
    digit_text | unicode_text | st.sampled_from(['"', "'", "[", "{", "\r", "=", "#", '"""', "[channels.x]"]),
)
def test_any_edit_of_a_file_is_read_or_refused(file: Path, place: int, length: int, inserted: str) -> None:
    assert_read_or_refused(file, VALID[:place] + inserted + VALID[place + length :])


@given(st.binary() | text.map(str.encode))
@example(b"\xff" * 70_000)
@example(b"rules = " + b"[" * 10_000)
@example(b"a = " + b"1" * 5_000)
@example(b"rules = 0x" + b"f" * 5_000)
def test_any_bytes_are_read_or_refused(file: Path, content: bytes) -> None:
    if len(content) > 64 * 1024:
        assert read(file, content) == "F: the file is too large, must be at most 65536 bytes"
    else:
        assert_read_or_refused(file, content)


EDITS = {
    'reasons = ["INVALID_PRICE",': ("rules.reasons", ["reasons = 5 # [", 'reasons = ["NOPE",']),
    'sources = ["workflow"]': ("rules.sources", ["sources = []", 'sources = ["mars"]', 'sources = "workflow"']),
    'severity = "critical"': ("rules.severity", ['severity = "urgent"', "severity = 1", "severity = []"]),
    'channels = ["log", "settlement"]': ("rules.channels", ["channels = 1", 'channels = ["pagr"]']),
    'type = "sns"': ("channels.pager.type", ['type = "sms"', "type = 1"]),
    'topic_arn = "arn:aws:sns:eu-central-1:123456789012:pager"': (
        "channels.pager.topic_arn",
        ['topic_arn = "pager"', "topic_arn = []"],
    ),
    'queue = "Settlement"': ("channels.settlement.queue", ['queue = ""', 'queue = "a b"', "queue = 1.5"]),
    'chat = { type = "webhook", url_env = "URL", authorization_env = "KEY" }': (
        "channels.chat.url_env",
        ['chat = { type = "webhook", url_env = "BAD_URL" }', 'chat = { type = "webhook", url_env = "NOT_SET" }'],
    ),
}


@given(st.sampled_from(sorted(EDITS)), st.integers(0, 2), st.lists(st.sampled_from(["", "# [x]", " "]), max_size=3))
def test_a_mistake_is_reported_with_its_line_and_key(file: Path, line: str, choice: int, before: list[str]) -> None:
    key, replacements = EDITS[line]
    replacement = replacements[choice % len(replacements)]
    if "#" in replacement:
        replacement = replacement.replace("# [", "\n# ")
        edited = VALID.replace(f'{line}\n  "INVALID_CARD_NUMBER"]', replacement)
    else:
        edited = VALID.replace(line, replacement)
    content = "".join(f"{more}\n" for more in before) + edited
    number = content[: content.index(replacement)].count("\n") + 1
    found = read(file, content)
    assert isinstance(found, str)
    assert found.startswith((f"F:{number}: {key} is ", f"F:{number}: {key} "))
    assert ", must be " in found


WEBHOOKS = st.fixed_dictionaries(
    {"type": st.just("webhook")},
    optional=dict.fromkeys(
        ("url", "url_env", "authorization_env"),
        st.sampled_from([SECRET, f"https://{SECRET}@x", f"https://x/#{SECRET}", [SECRET], "BAD_URL", "BAD_KEY", "URL"]),
    ),
)


@given(WEBHOOKS | st.just(f"https://x/{SECRET}"))
def test_the_secrets_of_a_webhook_are_never_shown(file: Path, webhook: dict[str, Any] | str) -> None:
    assert_read_or_refused(file, lines_of({"rules": [{"severity": "info"}], "channels": {"chat": webhook}}, True))


NAMES_OF_CHANNELS = matching(r"[a-z0-9-]{1,32}", fullmatch=True).filter(lambda name: name != LOG_CHANNEL)


@given(
    st.lists(NAMES_OF_CHANNELS, max_size=3, unique=True),
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(Reason), min_size=1, max_size=3),
            st.sampled_from(Severity),
            st.lists(st.integers(0, 3)),
        ),
        max_size=3,
    ),
    st.sampled_from(Severity),
    st.lists(st.sampled_from(Reason), min_size=1, max_size=3),
)
def test_the_first_rule_that_matches_each_reason_is_applied(
    file: Path,
    names: list[str],
    rules: list[tuple[list[Reason], Severity, list[int]]],
    otherwise: Severity,
    reasons: list[Reason],
) -> None:
    defined = [LOG_CHANNEL, *names]
    tables = [(of, severity, [defined[n % len(defined)] for n in numbers]) for of, severity, numbers in rules]
    document: dict[str, Any] = {
        "rules": [{"reasons": of, "severity": severity, "channels": channels} for of, severity, channels in tables]
        + [{"severity": otherwise}],
        "channels": {name: {"type": "sqs", "queue": name} for name in names},
    }
    found = read(file, lines_of(document, False))
    assert isinstance(found, EscalationRules), found
    assert list(found.channels) == names
    everything: tuple[list[Reason], Severity, list[str]] = ([*Reason], otherwise, [])
    applied = [next(table for table in (*tables, everything) if reason in table[0]) for reason in reasons]
    channels = [LOG_CHANNEL, *(name for _, _, channels in applied for name in channels)]
    assert found.rules.assess(reasons, None) == Assessment(
        Severity.highest(severity for _, severity, _ in applied), tuple(dict.fromkeys(channels))
    )
