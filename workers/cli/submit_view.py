"""What `orders submit` prints."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workers.cli.output import note, print_line
from workers.cli.tables import print_table
from workers.operations.forecast import Forecast
from workers.operations.ledger import Entry
from workers.operations.records import BadRecord
from workers.operations.submit import Problems, Summary
from workers.operations.waiting import Ended

_SHOWN_LINES = 5


def report_bad(bad: BadRecord) -> None:
    note(f"{bad.file}:{bad.line}: {f'order {bad.order_id}: ' if bad.order_id else ''}{bad.reason}")


def report_intake(name: str) -> None:
    note(f"intake {name} is started, and goes on without this command: `orders bulk show {name}` follows it")


def report_more(problems: Problems, what: str, rejects: Path | None) -> None:
    """Say how many records with a problem were not shown, and that all are in *rejects*, or how to get them there."""
    all_of_them = "`--rejects FILE` writes all to a file" if rejects is None else f"{rejects} will have all"
    _report_more(problems, what, all_of_them)


def report_more_ended(problems: Problems, what: str) -> None:
    """Say how many orders were not shown that were submitted, and ended with a problem: they are no rejects."""
    _report_more(problems, what, "`--json` has all")


def _report_more(problems: Problems, what: str, where: str) -> None:
    if more := problems.count - len(problems.shown):
        note(f"{more} more {what} are not shown; {where}")


def document(
    summary: Summary,
    ended: Sequence[Ended] | None = None,
    check: Forecast | None = None,
    intake: str | None = None,
) -> dict[str, Any]:
    """Return what `--json` prints: docs/json.md."""
    problems = {"bad": summary.bad, "failed": summary.failed, "different": summary.different}
    return {
        "submitted": summary.submitted,
        "already_submitted": summary.already_submitted,
        **{f"{kind}_count": found.count for kind, found in problems.items()},
        **{kind: found.shown for kind, found in problems.items()},
        "ended": ended,
        "intake": intake,
        "check": None if check is None else _check_document(check),
    }


def _check_document(found: Forecast) -> dict[str, Any]:
    escalated = [
        {"reasons": reasons, "orders": count, "first": [*map(_place, found.first_to_escalate[reasons])]}
        for reasons, count in found.to_start.items()
        if reasons
    ]
    return {
        "refusal": found.refusal,
        "would_submit": found.to_start.total(),
        "would_fulfill": found.to_start[()],
        "would_escalate": escalated,
        "by_status": [{"status": status, "orders": count} for status, count in sorted(found.already_submitted.items())],
        "not_compared": found.not_compared,
    }


def _place(entry: Entry) -> dict[str, Any]:
    return {"line": entry.line, "order_id": entry.order_id, "file": entry.file}


def print_forecast(found: Forecast, *, name_files: bool) -> None:
    """Print what would become of how many orders."""
    if found.refusal:
        print_line("nothing would be submitted; with --anyway:")
    different = f", {found.different.count} different" if found.different.count else ""
    print_line(
        f"{found.to_start.total()} would be submitted, {found.already_submitted.total()} already submitted, "
        f"{found.bad.count} bad{different}; nothing was submitted"
    )
    rows = [
        *(
            (
                "to escalate" if reasons else "to fulfill",
                ", ".join(reasons) or None,
                count,
                _lines(found.first_to_escalate.get(reasons, ()), count, name_files=name_files),
            )
            for reasons, count in sorted(found.to_start.items())
            if count
        ),
        *(
            ("already submitted", f"now {status}", count, None)
            for status, count in sorted(found.already_submitted.items())
        ),
    ]
    columns = 4 if found.first_to_escalate else 3
    if rows:
        table = ("outcome", "reasons", "orders", "lines")[:columns], [row[:columns] for row in rows]
        print_table(*table, right=("orders",))


def _lines(entries: Sequence[Entry], count: int, *, name_files: bool) -> str | None:
    """Return the places of the first of *count* orders."""
    shown = [
        (f"{entry.file}:" if name_files else "")
        + (str(entry.line) if entry.element is None else f"element {entry.element}")
        for entry in entries[:_SHOWN_LINES]
    ]
    return ", ".join([*shown, *(["..."] if count > len(shown) else [])]) if shown else None


def print_ended(ended: Sequence[Ended]) -> None:
    """Print how many orders ended with each outcome and its reasons, in the order of the file."""
    counts = Counter((order.outcome, ", ".join([*order.reasons, *_remarks(order)])) for order in ended)
    rows = [(outcome, reasons or None, count) for (outcome, reasons), count in counts.items()]
    print_table(("outcome", "reasons", "orders"), rows, right=("orders",))


def _remarks(order: Ended) -> list[str]:
    """Return what to say beside an outcome that this submission has not brought about."""
    remarks = {"resubmitted": order.resubmitted, "not of this submission": order.other_submission}
    return [remark for remark, applies in remarks.items() if applies]
