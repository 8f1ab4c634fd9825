import pytest
from pydantic import BaseModel, ValidationError

from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule
from workers.escalation.rules.tables import RulesFile, RuleTable, SnsTopic, SqsTarget, Webhook

TOPIC = "arn:aws:sns:eu-central-1:123456789012:pager"
ENVIRON = {"CHAT_URL": " https://chat.example/hooks/secret ", "CHAT_AUTHORIZATION": "Bearer abc"}


def test_a_topic_has_its_region_from_its_arn() -> None:
    assert SnsTopic(type="sns", topic_arn=TOPIC).region == "eu-central-1"


def test_a_webhook_takes_its_secrets_from_the_environment() -> None:
    chat = Webhook.model_validate({"type": "webhook", "url_env": "CHAT_URL", "authorization_env": "CHAT_AUTHORIZATION"})
    assert (chat.address(ENVIRON), chat.authorization(ENVIRON)) == ("https://chat.example/hooks/secret", "Bearer abc")
    assert (chat.address({}), chat.authorization({})) == ("", "")


def test_a_webhook_can_have_its_url_in_the_file() -> None:
    local = Webhook.model_validate({"type": "webhook", "url": "http://127.0.0.1:8080/hook"})
    assert (local.address({}), local.authorization({})) == ("http://127.0.0.1:8080/hook", None)


def test_the_url_of_a_webhook_is_not_printed() -> None:
    assert "secret" not in repr(Webhook.model_validate({"type": "webhook", "url": "https://chat.example/secret"}))


def test_a_rule_without_reasons_and_sources_matches_everything() -> None:
    table = RuleTable.model_validate({"severity": Severity.INFO, "channels": ["chat"]})
    assert table.rule() == Rule(severity=Severity.INFO, channels=("chat",))
    assert table.rule().matches_everything
    narrow = RuleTable.model_validate(
        {"severity": Severity.INFO, "reasons": [Reason.INVALID_PRICE], "sources": [Source.WORKFLOW]}
    )
    assert narrow.rule() == Rule(
        severity=Severity.INFO, reasons=frozenset({Reason.INVALID_PRICE}), sources=frozenset({Source.WORKFLOW})
    )


@pytest.mark.parametrize("name", ["log", "", "Pager", "a b", "x" * 33])
def test_a_channel_name_is_short_and_not_log(name: str) -> None:
    queue = {"type": "sqs", "queue": "Settlement"}
    rules = [{"severity": "info"}]
    assert RulesFile.model_validate({"rules": rules, "channels": {"x" * 32: queue}}).channels == {
        "x" * 32: SqsTarget(type="sqs", queue="Settlement")
    }
    with pytest.raises(ValidationError):
        RulesFile.model_validate({"rules": rules, "channels": {name: queue}})


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SnsTopic(type="sns", topic_arn=TOPIC).topic_arn = "other"


@pytest.mark.parametrize(
    ("model", "table"),
    [
        (SnsTopic, {"type": "sns", "topic_arn": f"{TOPIC}.fifo"}),
        (SnsTopic, {"type": "sns", "topic_arn": TOPIC, "more": 1}),
        (SqsTarget, {"type": "sqs", "queue": "a b"}),
        (SqsTarget, {"type": "sqs", "queue": "x" * 81}),
        (SqsTarget, {"type": "sqs", "queue": "Settlement.fifo"}),
        (SqsTarget, {"type": "sqs", "queue": "https://sqs.example/1/Settlement.fifo"}),
        (SqsTarget, {"type": "sqs", "queue": "arn:aws:sqs:eu-west-1:111122223333:Settlement.fifo"}),
        (Webhook, {"type": "webhook", "url_env": "lower"}),
        (Webhook, {"type": "webhook", "authorization_env": "1X"}),
        (RuleTable, {"severity": "info", "reasons": []}),
        (RuleTable, {"severity": "info", "sources": []}),
        (RuleTable, {}),
        (RulesFile, {"rules": []}),
        (RulesFile, {"rules": [{"severity": "info"}], "channels": {"x": {"type": "email"}}}),
    ],
)
def test_a_wrong_table_is_refused(model: type[BaseModel], table: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(table)


@pytest.mark.parametrize(
    ("queue", "region"),
    [
        ("x" * 80, None),
        ("https://sqs.example/1/Queue_1-x", None),
        ("http://127.0.0.1:4566/000/q", None),
        ("arn:aws:sqs:eu-west-1:111122223333:Settlement", "eu-west-1"),
    ],
)
def test_a_queue_is_given_by_name_url_or_arn(queue: str, region: str | None) -> None:
    table = SqsTarget.model_validate({"type": "sqs", "queue": queue})
    assert (table.queue, table.address.region) == (queue, region)
