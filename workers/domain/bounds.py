"""Bounds what grows on a case: it stays below DynamoDB's 400 KB per item, even with four bytes per character."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter, le
from typing import Any, TypeVar

from workers.domain.cases import Case, Dropped, SentNotification

MAX_EVIDENCE = 30
MAX_MESSAGE_IDS = 100  # In practice, SQS's retention has ended for a message whose id was dropped.
MAX_EXECUTIONS = 100
MAX_REJECTED = 100
MAX_ROUTED = 200  # 10 channels in each of 20 episodes.
MAX_RESOLUTIONS = 20
MAX_EPISODES = 20
MAX_EPISODE_ORDERS = 5  # Of the newest earlier episodes, the copies of the order.

_LIMITS = {
    "evidence": MAX_EVIDENCE,
    "message_ids": MAX_MESSAGE_IDS,
    "execution_arns": MAX_EXECUTIONS,
    "rejected_executions": MAX_REJECTED,
    "routed": MAX_ROUTED,
    "resolutions": MAX_RESOLUTIONS,
    "episodes": MAX_EPISODES,
}
_lists_of = attrgetter(*_LIMITS)
_T = TypeVar("_T")


def bounded(case: Case) -> Case:
    """
    Return *case* with at most as many entries in each list as allowed. `dropped` counts those that are gone.

    The first entry and the newest ones stay: they show when the trouble began, and how things are. So does the evidence
    that opened the episode, which notifications quote.
    """
    case = _without_repeated_notifications(case)
    if all(map(le, map(len, _lists_of(case)), _LIMITS.values())):
        return case
    over = {name: len(getattr(case, name)) - limit for name, limit in _LIMITS.items()}
    over = {name: number for name, number in over.items() if number > 0}
    opening = [number for number, item in enumerate(case.evidence) if item.message_id == case.opened_by][:1]
    kept: dict[str, Any] = {
        name: _first_and_newest(getattr(case, name), _LIMITS[name], opening if name == "evidence" else ())
        for name in over
    }
    dropped = case.dropped or Dropped()
    counted = replace(dropped, **{name: getattr(dropped, name) + number for name, number in over.items()})
    return replace(case, dropped=counted, **kept)


def _first_and_newest(entries: Sequence[_T], limit: int, pinned: Sequence[int]) -> tuple[_T, ...]:
    kept = {0, *pinned}
    for number in reversed(range(len(entries))):
        if len(kept) == limit:
            break
        kept.add(number)
    return tuple(entries[number] for number in sorted(kept))


def _without_repeated_notifications(case: Case) -> Case:
    """Return *case* with one record for each notification: two workers may have sent, and recorded, the same one."""
    once = dict[tuple[str, int], SentNotification]()
    for sent in case.routed:
        once.setdefault((sent.channel, sent.episode), sent)
    return case if len(once) == len(case.routed) else replace(case, routed=tuple(once.values()))
