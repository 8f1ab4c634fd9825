"""Tells what happened to an order, in order of time, from all that is known of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers.cli.executions import Execution
from workers.domain.orders import OrderStatus
from workers.operations.log_lines import readable

_NO_TIME = datetime.min.replace(tzinfo=UTC)
# Told elsewhere in the entry, or the same in each of them.
_NOT_TOLD = {"timestamp", "order_id", "case_id", "execution_arn", "exception"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened: when, who says so (`execution 1`, `order`, `case`, `log`) and what."""

    at: str
    source: str
    text: str

    @property
    def time(self) -> datetime:
        try:
            then = datetime.fromisoformat(self.at)
        except ValueError:
            return _NO_TIME
        return then if then.tzinfo else then.replace(tzinfo=UTC)


def tell(
    order: Mapping[str, Any] | None,
    case: Mapping[str, Any] | None,
    executions: Iterable[Execution],
    log_lines: Iterable[Mapping[str, Any]],
) -> list[Entry]:
    """Return the whole story in order of time; what happened at once, executions first, log lines last."""
    entries = [
        *_of_executions(executions),
        *_of_order(order or {}),
        *_of_case(case or {}),
        *_of_log(log_lines),
    ]
    return sorted(entries, key=lambda each: each.time)


def _of_executions(executions: Iterable[Execution]) -> Iterator[Entry]:
    for number, execution in enumerate(executions, 1):
        for step in execution.steps:
            yield Entry(step.at, f"execution {number}", step.text)


def _of_order(order: Mapping[str, Any]) -> Iterator[Entry]:
    if "CreatedAt" in order:
        yield _entry(order["CreatedAt"], "order", f"recorded as {OrderStatus.RECEIVED}")
    if "EscalatedAt" in order:
        yield _entry(order["EscalatedAt"], "order", OrderStatus.ESCALATED, _listed(order.get("Reasons")))
    if "FulfilledAt" in order:
        yield _entry(order["FulfilledAt"], "order", OrderStatus.FULFILLED, _labelled("shipment", order, "ShipmentId"))
    if order.get("Status") == OrderStatus.CANCELLED and "UpdatedAt" in order:
        yield _entry(order["UpdatedAt"], "order", OrderStatus.CANCELLED)


def _of_case(case: Mapping[str, Any]) -> Iterator[Entry]:
    for each in case.get("Episodes", []):
        yield _opened(each, each.get("Number"))
    if "OpenedAt" in case:
        yield _opened(case, case.get("Episode"))
    for each in case.get("Evidence", []):
        source = each.get("Source") or "somebody"
        said = (_listed(each.get("Reasons")), each.get("Detail"), _labelled("attempts", each, "Attempts"))
        yield _entry(each.get("At"), "case", f"{source} escalates", *said)
    for each in case.get("Routed", []):
        yield _entry(each.get("At"), "case", f"routed to {each.get('Channel')}")
    for each in case.get("Resolutions", []):
        yield _entry(
            each.get("At"),
            "case",
            f"resolved by {each.get('Actor')}, {each.get('Action')}",
            each.get("Note"),
            _labelled("shipment", each, "ShipmentId"),
            None if "ExecutionArn" not in each else f"execution {str(each['ExecutionArn']).rpartition(':')[2]}",
        )


def _opened(episode: Mapping[str, Any], number: object) -> Entry:
    return _entry(
        episode.get("OpenedAt"),
        "case",
        f"opened, episode {number}",
        episode.get("Severity"),
        _listed(episode.get("Reasons")),
    )


def _of_log(lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for fields in lines:
        told = {name: value for name, value in fields.items() if name not in _NOT_TOLD}
        line = readable(told)
        text = " ".join(f"{line.level} {line.worker} {line.event} {line.values}".split())
        yield Entry(str(fields.get("timestamp", "")), "log", text)


def _entry(at: object, source: str, what: str, *details: object) -> Entry:
    given = "; ".join(str(each) for each in details if each)
    return Entry(str(at), source, f"{what}: {given}" if given else str(what))


def _labelled(label: str, item: Mapping[str, Any], name: str) -> str | None:
    return f"{label} {item[name]}" if item.get(name) is not None else None


def _listed(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else ""
