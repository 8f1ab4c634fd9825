"""The rules that give an escalation its severity and its channels."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.domain.cases import LOG_CHANNEL
from workers.domain.escalations import Assessment
from workers.domain.reasons import Reason, Severity, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The severity and channels for some reasons from some sources; an empty set matches every reason or source."""

    severity: Severity
    channels: tuple[str, ...] = ()
    reasons: frozenset[Reason] = frozenset()
    sources: frozenset[Source] = frozenset()

    @property
    def matches_everything(self) -> bool:
        return not self.reasons and not self.sources

    def matches(self, reason: Reason, source: Source | None) -> bool:
        return (not self.reasons or reason in self.reasons) and (not self.sources or source in self.sources)


@dataclass(frozen=True, slots=True)
class Rules:
    """
    An ordered list of rules. The last one matches everything.

    For each reason of an escalation, the first matching rule applies. The escalation gets the highest severity of these
    rules, and all of their channels.
    """

    rules: tuple[Rule, ...]

    def assess(self, reasons: Sequence[Reason], source: Source | None) -> Assessment:
        applied = [next(rule for rule in self.rules if rule.matches(reason, source)) for reason in reasons]
        channels = dict.fromkeys(channel for rule in applied for channel in (LOG_CHANNEL, *rule.channels))
        return Assessment(Severity.highest(rule.severity for rule in applied), tuple(channels))
