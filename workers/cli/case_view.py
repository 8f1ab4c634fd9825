"""Prints everything about one case."""

import shlex
from datetime import datetime

from workers.cli.output import print_line
from workers.cli.tables import print_fields, print_table
from workers.domain.cases import Case, CaseState, OrderCopy, SentNotification
from workers.domain.ids import execution_name
from workers.domain.orders import Order
from workers.operations.ages import format_age, seconds_since
from workers.operations.next_step import next_step_of_case


def print_case(case: Case, order: Order | None, now: datetime, *, wide: bool = False) -> None:
    """Print *case* and the current state of its *order*; rows on one line and whole ARNs only if *wide*."""
    print_fields(_head(case, order, now))
    if case.order is not None:
        copy = case.order
        print_line()
        print_line(f"The order when it was escalated ({copy.status})")
        print_fields(
            [
                ("Name", copy.name),
                ("ItemName", copy.item_name),
                ("Price", copy.price),
                ("CC", copy.cc),
                ("Created", copy.created_at),
                ("Attempts", copy.attempts),
            ]
        )
    _print_evidence(case, wide=wide)
    _print_notifications(case)
    _print_history(case, wide=wide)
    print_line()
    print_line("Ids")
    print_fields(
        [
            *(("Execution", arn if wide else execution_name(arn)) for arn in case.execution_arns),
            *(("Refused by provider", arn if wide else execution_name(arn)) for arn in case.rejected_executions),
            *(("Message", message_id) for message_id in case.message_ids),
        ]
    )


def _head(case: Case, order: Order | None, now: datetime) -> list[tuple[str, object]]:
    status = "not in the table" if order is None else f"{order.status} now"
    if order is not None and order.shipment_id is not None:
        status += f", shipment {order.shipment_id}"
    return [
        ("Case", case.case_id),
        ("State", f"{case.state}, episode {case.episode}"),
        ("Severity", case.severity),
        ("Reasons", ", ".join(case.reasons)),
        ("Sources", ", ".join(case.sources) or None),
        ("Order", f"{case.order_id} ({status})" if case.order_id else None),
        ("Resubmitted", _resubmitted_as(case)),
        ("Opened", _time_and_age(case.opened_at, now)),
        ("Last message", _time_and_age(case.last_seen_at, now)),
        ("Attempts", case.attempts),
        ("Begun", _begun_resubmission(case)),
        ("Merged into", case.merged_into),
        ("Not kept", _dropped(case)),
        ("Next", next_step_of_case(case, order, now)),
    ]


def _dropped(case: Case) -> str | None:
    """Say what the lists below leave out. They have the first and the newest entries."""
    if case.dropped is None:
        return None
    counted = {
        "messages": case.dropped.evidence,
        "ids of messages": case.dropped.message_ids,
        "executions": case.dropped.execution_arns,
        "refused executions": case.dropped.rejected_executions,
        "notifications": case.dropped.routed,
        "resolutions": case.dropped.resolutions,
        "episodes": case.dropped.episodes,
    }
    return ", ".join(f"{number} {what}" for what, number in counted.items() if number) or None


def _resubmitted_as(case: Case) -> str | None:
    """Name the order that was resubmitted from a case without one."""
    claim = case.claim
    if case.order_id is not None or claim is None or not case.has_resubmission(claim.execution_arn):
        return None
    return f"as order {claim.order_id}: `orders show {shlex.quote(claim.order_id)}`"


def _begun_resubmission(case: Case) -> str | None:
    """Describe a resubmission that has begun but is not recorded on the case yet."""
    claim = case.claim
    if claim is None or case.state is not CaseState.OPEN or case.has_resubmission(claim.execution_arn):
        return None
    return f"a resubmission by {claim.actor} at {_time(claim.at)}"


def _print_evidence(case: Case, *, wide: bool) -> None:
    print_line()
    print_line("Messages")
    print_table(
        ("at", "source", "reasons", "detail", "execution"),
        [
            (
                _time(evidence.at),
                evidence.source,
                ", ".join(evidence.reasons),
                evidence.detail,
                _execution(evidence.execution_arn),
            )
            for evidence in case.evidence
        ],
        text=("reasons", "detail"),
        wide=wide,
    )


def _print_notifications(case: Case) -> None:
    print_line()
    print_line("Notifications")
    ended = [(notification.episode, notification.channel, _ended(notification)) for notification in case.routed]
    unsent = [(case.episode, channel, "not yet") for channel in case.unrouted] if case.state is CaseState.OPEN else []
    print_table(("episode", "channel", "at"), [*ended, *unsent], right=("episode",), text=("at",))


def _ended(notification: SentNotification) -> str:
    at = _time(notification.at)
    return at if notification.given_up is None else f"{at}, given up: {notification.given_up}"


def _print_history(case: Case, *, wide: bool) -> None:
    if case.episodes:
        print_line()
        print_line("Earlier episodes")
        print_table(
            ("episode", "opened", "last message", "severity", "reasons", "order at that time"),
            [
                (
                    episode.number,
                    _time(episode.opened_at),
                    _time(episode.last_seen_at),
                    episode.severity,
                    ", ".join(episode.reasons),
                    _copied(episode.order),
                )
                for episode in case.episodes
            ],
            right=("episode",),
            text=("reasons", "order at that time"),
            wide=wide,
        )
    if case.resolutions:
        print_line()
        print_line("Resolutions")
        print_table(
            ("at", "episode", "by", "action", "note", "shipment or execution"),
            [
                (
                    _time(resolution.at),
                    resolution.episode,
                    resolution.actor,
                    resolution.action,
                    resolution.note,
                    resolution.shipment_id or _execution(resolution.execution_arn),
                )
                for resolution in case.resolutions
            ],
            right=("episode",),
            text=("note",),
            wide=wide,
        )


def _copied(order: OrderCopy | None) -> str | None:
    return None if order is None else "; ".join(filter(None, (order.name, order.item_name, order.price)))


def _time_and_age(at: str, now: datetime) -> str:
    age = format_age(seconds_since(at, now))
    return f"{_time(at)} ({age} ago)" if age else _time(at)


def _time(at: str) -> str:
    """Return a time in readable form, to the second."""
    return at.replace("T", " ")[:19]


def _execution(arn: str | None) -> str | None:
    return None if arn is None else execution_name(arn)
