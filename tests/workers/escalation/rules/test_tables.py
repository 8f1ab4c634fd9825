import pytest
from pydantic import ValidationError

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
