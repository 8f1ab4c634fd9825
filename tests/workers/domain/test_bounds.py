from dataclasses import replace

from tests.workers.domain.examples import THEN, case, evidence
from tests.workers.fakes import EXECUTION, NOW
from workers.domain.bounds import (
    MAX_EPISODES,
    MAX_EVIDENCE,
    MAX_EXECUTIONS,
    MAX_MESSAGE_IDS,
    MAX_REJECTED,
    MAX_RESOLUTIONS,
    MAX_ROUTED,
    bounded,
)
from workers.domain.cases import Dropped, Episode, Resolution, SentNotification
from workers.domain.reasons import Severity


def test_a_case_within_its_bounds_stays_as_it_is() -> None:
    assert bounded(case()) is not None
    assert bounded(case()) == case()


def test_the_first_and_the_newest_entries_stay_and_the_others_are_counted() -> None:
    ids = tuple(f"m{n}" for n in range(MAX_MESSAGE_IDS + 5))
    arns = tuple(f"{EXECUTION}-{n}" for n in range(MAX_EXECUTIONS + 3))
    rejected = tuple(f"{EXECUTION}-{n}" for n in range(MAX_REJECTED + 2))
    said = tuple(evidence(f"m{n}", THEN) for n in range(MAX_EVIDENCE + 4))
    sent = tuple(SentNotification(channel="log", episode=n, at=THEN) for n in range(MAX_ROUTED + 6))
    ended = tuple(
        Episode(number=n, opened_at=THEN, last_seen_at=THEN, severity=Severity.INFO, reasons=(), sources=())
        for n in range(MAX_EPISODES + 7)
    )
    done = tuple(
        Resolution(action="cancel", episode=n, actor="a", note="b", at=THEN) for n in range(MAX_RESOLUTIONS + 8)
    )
    full = case(
        message_ids=ids,
        execution_arns=arns,
        rejected_executions=rejected,
        evidence=said,
        routed=sent,
        episodes=ended,
        resolutions=done,
        opened_by="m2",
    )
    kept = bounded(full)
    assert kept.message_ids == (ids[0], *ids[6:])
    assert kept.execution_arns == (arns[0], *arns[4:])
    assert kept.rejected_executions == (rejected[0], *rejected[3:])
    assert kept.evidence == (said[0], said[2], *said[6:])  # The second one opened the episode.
    assert kept.routed == (sent[0], *sent[7:])
    assert kept.episodes == (ended[0], *ended[8:])
    assert kept.resolutions == (done[0], *done[9:])
    assert kept.dropped == Dropped(
        message_ids=5, execution_arns=3, rejected_executions=2, evidence=4, routed=6, episodes=7, resolutions=8
    )
    again = bounded(replace(kept, message_ids=(*kept.message_ids, "new")))
    assert again.dropped == replace(kept.dropped, message_ids=6)
    assert again.message_ids[-1] == "new"


def test_a_notification_that_two_workers_recorded_is_kept_once() -> None:
    first, second = (SentNotification(channel="chat", episode=1, at=at) for at in (THEN, NOW))
    log = SentNotification(channel="log", episode=1, at=THEN)
    assert bounded(case(channels=("log", "chat"), routed=(log, first, second))).routed == (log, first)


def test_the_bounds_are_those_that_the_page_about_cases_names() -> None:
    assert (MAX_EVIDENCE, MAX_MESSAGE_IDS, MAX_EXECUTIONS, MAX_REJECTED) == (30, 100, 100, 100)
    assert (MAX_ROUTED, MAX_RESOLUTIONS, MAX_EPISODES) == (200, 20, 20)


def test_a_list_that_is_exactly_full_loses_nothing() -> None:
    ids = tuple(f"m{n}" for n in range(MAX_MESSAGE_IDS))
    over = tuple(f"{EXECUTION}-{n}" for n in range(MAX_EXECUTIONS + 1))
    kept = bounded(case(message_ids=ids, execution_arns=over))
    assert (kept.message_ids, kept.dropped) == (ids, Dropped(execution_arns=1))
    assert len(kept.execution_arns) == MAX_EXECUTIONS


def test_a_notification_that_two_workers_have_recorded_is_kept_once() -> None:
    sent = SentNotification(channel="log", episode=1, at=THEN)
    twice = case(channels=("log", "chat"), routed=(sent, replace(sent, at=NOW), replace(sent, channel="chat")))
    assert bounded(twice).routed == (sent, replace(sent, channel="chat"))


def test_a_notification_recorded_twice_is_kept_once_also_while_another_channel_waits() -> None:
    sent = SentNotification(channel="log", episode=1, at=THEN)
    assert bounded(case(channels=("log", "chat"), routed=(sent, replace(sent, at=NOW)))).routed == (sent,)
