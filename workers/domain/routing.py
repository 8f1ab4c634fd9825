"""By which rules an escalation gets its severity, and the channels it goes to."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.domain.escalations import Assessment
from workers.domain.reasons import Reason, Severity, Source

LOG_CHANNEL = "log"  # Always there, and always the first: what no other channel takes is still in the log.


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of a reason; without `reasons`, of any, and without `sources`, wherever it comes from."""

    severity: Severity
    channels: tuple[str, ...] = ()
    reasons: frozenset[Reason] = frozenset()
    sources: frozenset[Source] = frozenset()

    @property
    def catches_all(self) -> bool:
        return not self.reasons and not self.sources

    def matches(self, reason: Reason, source: Source | None) -> bool:
        return (not self.reasons or reason in self.reasons) and (not self.sources or source in self.sources)


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Rules in order; the last one catches all.

    Each reason of an escalation goes by the first rule that matches it. The escalation gets the highest severity among
    these, and all of their channels.
    """

    rules: tuple[Rule, ...]

    def assess(self, reasons: Sequence[Reason], source: Source | None) -> Assessment:
        applied = [next(rule for rule in self.rules if rule.matches(reason, source)) for reason in reasons]
        channels = dict.fromkeys(channel for rule in applied for channel in (LOG_CHANNEL, *rule.channels))
        return Assessment(Severity.highest(rule.severity for rule in applied), tuple(channels))
