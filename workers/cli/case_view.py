"""A case on one screen."""

from collections.abc import Sequence
from datetime import datetime

from workers.cli.output import print_line, print_table
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order
from workers.operations.ages import format_age as written
from workers.operations.ages import seconds_since as since


def show_case(case: Case, order: Order | None, now: datetime) -> None:
    """Print *case*, and what its order is *now*."""
    _fields(_head(case, order, now))
    if case.order is not None:
        copy = case.order
        print_line()
        print_line(f"The order as it was when it was escalated ({copy.status})")
        _fields(
            [
                ("Name", copy.name),
                ("ItemName", copy.item_name),
                ("Price", copy.price),
                ("CC", copy.cc),
                ("Created", copy.created_at),
                ("Attempts", copy.attempts),
            ]
        )
    _evidence(case)
    _routing(case)
    _history(case)
    print_line()
    print_line("Ids")
    _fields(
        [
            *(("Execution", arn) for arn in case.execution_arns),
            *(("Refused by provider", arn) for arn in case.rejected_executions),
            *(("Message", message_id) for message_id in case.message_ids),
        ]
    )


def _head(case: Case, order: Order | None, now: datetime) -> list[tuple[str, object]]:
    status = "not in the table" if order is None else f"{order.status} now"
    if order is not None and order.shipment_id is not None:
        status += f", shipment {order.shipment_id}"
    claim = case.claim
    begun = claim is not None and case.state is CaseState.OPEN and not case.has_resubmission(claim.execution_arn)
    return [
        ("Case", case.case_id),
        ("State", f"{case.state}, episode {case.episode}"),
        ("Severity", case.severity),
        ("Reasons", ", ".join(case.reasons)),
        ("Sources", ", ".join(case.sources) or None),
        ("Order", f"{case.order_id} ({status})" if case.order_id else None),
        ("Opened", _when(case.opened_at, now)),
        ("Last heard of", _when(case.last_seen_at, now)),
        ("Attempts", case.attempts),
        *([("Begun", f"a resubmission by {claim.actor} at {_at(claim.at)}")] if begun and claim else []),
    ]


def _evidence(case: Case) -> None:
    print_line()
    print_line("What was said")
    print_table(
        ("at", "source", "reasons", "detail", "execution"),
        [
            (_at(each.at), each.source, ", ".join(each.reasons), each.detail, _execution(each.execution_arn))
            for each in case.evidence
        ],
    )


def _routing(case: Case) -> None:
    print_line()
    print_line("Whom it was sent to")
    sent = [(each.episode, each.channel, _at(each.at)) for each in case.routed]
    missing = [(case.episode, each, "not yet") for each in case.unrouted] if case.state is CaseState.OPEN else []
    print_table(("episode", "channel", "at"), [*sent, *missing], right=("episode",))


def _history(case: Case) -> None:
    if case.episodes:
        print_line()
        print_line("Earlier episodes")
        print_table(
            ("episode", "opened", "last heard of", "severity", "reasons"),
            [
                (each.number, _at(each.opened_at), _at(each.last_seen_at), each.severity, ", ".join(each.reasons))
                for each in case.episodes
            ],
            right=("episode",),
        )
    if case.resolutions:
        print_line()
        print_line("How it was settled")
        print_table(
            ("at", "episode", "by", "action", "note", "shipment or execution"),
            [
                (
                    _at(each.at),
                    each.episode,
                    each.actor,
                    each.action,
                    each.note,
                    each.shipment_id or _execution(each.execution_arn),
                )
                for each in case.resolutions
            ],
            right=("episode",),
        )


def _fields(fields: Sequence[tuple[str, object]]) -> None:
    width = max((len(name) for name, value in fields if value is not None), default=0)
    for name, value in fields:
        if value is not None:
            print_line(f"  {name:<{width}}  {value}")


def _when(at: str, now: datetime) -> str:
    age = written(since(at, now))
    return f"{_at(at)} ({age} ago)" if age else _at(at)


def _at(at: str) -> str:
    """Return a time without what tells machines more than people."""
    return at.replace("T", " ")[:19]


def _execution(arn: str | None) -> str | None:
    return None if arn is None else arn.rpartition(":")[2]
