from collections.abc import Sequence

import pytest

from workers.domain.escalations import Assessment
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import Rule, Rules

PRICE, CARD, FAILED, REJECTED = (
    Reason.INVALID_PRICE,
    Reason.INVALID_CARD_NUMBER,
    Reason.WORKFLOW_FAILED,
    Reason.FULFILLMENT_REJECTED,
)
RULES = Rules(
    (
        Rule(severity=Severity.INFO, channels=("chat",), reasons=frozenset({PRICE})),
        Rule(
            severity=Severity.CRITICAL,
            channels=("pager", "chat"),
            reasons=frozenset({FAILED}),
            sources=frozenset({Source.EVENTBRIDGE}),
        ),
        Rule(severity=Severity.CRITICAL, channels=("mail",), reasons=frozenset({PRICE})),
        Rule(severity=Severity.INFO, channels=("shop",), sources=frozenset({Source.FULFILLMENT})),
        Rule(severity=Severity.WARNING),
    )
)


@pytest.mark.parametrize(
    ("reasons", "source", "severity", "channels"),
    [
        ([PRICE], Source.WORKFLOW, Severity.INFO, ["log", "chat"]),  # The first rule, not the third.
        ([PRICE], None, Severity.INFO, ["log", "chat"]),
        ([FAILED], Source.EVENTBRIDGE, Severity.CRITICAL, ["log", "pager", "chat"]),
        ([FAILED], Source.WORKFLOW, Severity.WARNING, ["log"]),  # The source does not match.
        ([FAILED], None, Severity.WARNING, ["log"]),
        ([REJECTED], Source.FULFILLMENT, Severity.INFO, ["log", "shop"]),  # Any reason, of that source.
        ([CARD], Source.WORKFLOW, Severity.WARNING, ["log"]),
        ([PRICE, CARD], Source.WORKFLOW, Severity.WARNING, ["log", "chat"]),  # The highest, and all channels.
        ([PRICE, FAILED], Source.EVENTBRIDGE, Severity.CRITICAL, ["log", "chat", "pager"]),  # Each channel once.
    ],
)
def test_the_first_matching_rule_applies_to_each_reason(
    reasons: Sequence[Reason], source: Source | None, severity: Severity, channels: Sequence[str]
) -> None:
    assert RULES.assess(reasons, source) == Assessment(severity, tuple(channels))


def test_every_escalation_goes_to_the_log_once() -> None:
    rules = Rules((Rule(severity=Severity.INFO, channels=("chat", "log")),))
    assert rules.assess([PRICE], None).channels == ("log", "chat")


@pytest.mark.parametrize(
    ("reasons", "sources", "everything"),
    [
        (frozenset(), frozenset(), True),
        (frozenset({PRICE}), frozenset(), False),
        (frozenset(), frozenset({Source.WORKFLOW}), False),
        (frozenset({PRICE}), frozenset({Source.WORKFLOW}), False),
    ],
)
def test_a_rule_without_reasons_and_sources_matches_everything(
    reasons: frozenset[Reason], sources: frozenset[Source], everything: bool
) -> None:
    rule = Rule(severity=Severity.INFO, reasons=reasons, sources=sources)
    assert rule.matches_everything is everything
