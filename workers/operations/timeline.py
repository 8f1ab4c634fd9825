"""Merges all that is known about an order into one list, by time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workers import clock
from workers.domain.ids import execution_name
from workers.domain.orders import OrderStatus
from workers.log_text import readable
from workers.operations.executions import Execution
from workers.operations.history import episodes

_NO_TIME = datetime.min.replace(tzinfo=UTC)
# Fields that the text of a log line omits: they are elsewhere in the entry, or the same in every line of the order.
_OMITTED = {"timestamp", "order_id", "case_id", "execution_arn", "exception"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An event: its time, its source (`execution 1`, `order`, `case`, `log`) and its text."""

    at: str
    source: str
    text: str

    @property
    def time(self) -> datetime:
        try:
            return clock.parse(self.at)
        except ValueError:
            return _NO_TIME


def timeline(
    order: Mapping[str, Any] | None,
    case: Mapping[str, Any] | None,
    executions: Iterable[Execution],
    log_lines: Iterable[Mapping[str, Any]],
) -> list[Entry]:
    """
    Return all entries, sorted by time. Entries without a time come first, then the oldest.

    If entries have the same time, those of executions come first, then those of the order, the case and the log.
    """
    entries = [
        *_of_executions(executions),
        *_of_earlier_records(order or {}, case or {}),
        *_of_order(order or {}),
        *_of_case(case or {}),
        *_of_log(log_lines),
    ]
    return sorted(entries, key=lambda entry: entry.time)


def _of_executions(executions: Iterable[Execution]) -> Iterator[Entry]:
    for number, execution in enumerate(executions, 1):
        for step in execution.steps:
            yield Entry(step.at, f"execution {number}", step.text)


def _of_order(order: Mapping[str, Any]) -> Iterator[Entry]:
    if "CreatedAt" in order:
        yield _recorded(order)
    if "EscalatedAt" in order:
        yield _entry(order["EscalatedAt"], "order", OrderStatus.ESCALATED, _listed(order.get("Reasons")))
    if "FulfilledAt" in order:
        yield _entry(order["FulfilledAt"], "order", OrderStatus.FULFILLED, _labeled("shipment", order, "ShipmentId"))
    if "CancelledAt" in order:
        by = _labeled("by", order, "CancelledBy")
        yield _entry(order["CancelledAt"], "order", OrderStatus.CANCELLED, by, order.get("CancelNote"))
    elif order.get("Status") == OrderStatus.CANCELLED and "UpdatedAt" in order and "ErasedAt" not in order:
        yield _entry(order["UpdatedAt"], "order", OrderStatus.CANCELLED)
    if "ErasedAt" in order:
        yield _entry(order["ErasedAt"], "order", "erased", _labeled("by", order, "ErasedBy"))


def _of_earlier_records(order: Mapping[str, Any], case: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield when earlier executions recorded the order, by the case's copies: the order's item has only the newest."""
    for _, copy in episodes(case):
        if "CreatedAt" in copy and copy.get("ExecutionArn") != order.get("ExecutionArn"):
            yield _recorded(copy)


def _recorded(item: Mapping[str, Any]) -> Entry:
    return _entry(item["CreatedAt"], "order", f"recorded as {OrderStatus.RECEIVED}")


def _of_case(case: Mapping[str, Any]) -> Iterator[Entry]:
    yield from _of_episodes(case)
    for evidence in case.get("Evidence", []):
        source = evidence.get("Source") or "unknown source"
        yield _entry(
            evidence.get("At"),
            "case",
            f"{source} escalates",
            _listed(evidence.get("Reasons")),
            evidence.get("Detail"),
            _labeled("attempts", evidence, "Attempts"),
        )
    for sent in case.get("Routed", []):
        did = "gave up routing" if "GivenUp" in sent else "routed"
        yield _entry(sent.get("At"), "case", f"{did} to {sent.get('Channel')}", sent.get("GivenUp"))
    for resolution in case.get("Resolutions", []):
        yield _entry(
            resolution.get("At"),
            "case",
            f"resolved by {resolution.get('Actor')}, {resolution.get('Action')}",
            resolution.get("Note"),
            _labeled("shipment", resolution, "ShipmentId"),
            f"execution {execution_name(str(resolution['ExecutionArn']))}" if "ExecutionArn" in resolution else None,
        )


def _of_episodes(case: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield when each episode began, and the end of those that nobody has resolved."""
    earlier = case.get("Episodes", [])
    last = [{**case, "Number": case.get("Episode")}] if "OpenedAt" in case else []
    resolved = {resolution.get("Episode") for resolution in case.get("Resolutions", [])}
    all_known = not (case.get("Dropped") or {}).get("Resolutions")
    for before, episode in zip([None, *earlier], [*earlier, *last], strict=False):
        if before is not None and all_known and before.get("Number") not in resolved:
            ended = f"episode {before.get('Number')} ended unresolved"
            yield _entry(episode.get("OpenedAt"), "case", ended, "the order was submitted again")
        yield _opened(case, episode)


def _opened(case: Mapping[str, Any], episode: Mapping[str, Any]) -> Entry:
    """Return when an episode began, and why. Its own reasons and its severity include those of later messages."""
    at, reasons = episode.get("OpenedAt"), episode.get("Reasons")
    opening = [evidence.get("Reasons") for evidence in case.get("Evidence", []) if evidence.get("At") == at]
    severity = episode.get("Severity") if not opening or opening[0] == reasons else None
    shown = _listed(opening[0] if opening else reasons)
    return _entry(at, "case", f"opened, episode {episode.get('Number')}", severity, shown)


def _of_log(lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for fields in lines:
        line = readable({name: value for name, value in fields.items() if name not in _OMITTED})
        text = " ".join(f"{line.level} {line.worker} {line.event} {line.values}".split())
        yield Entry(str(fields.get("timestamp", "")), "log", text)


def _entry(at: object, source: str, event: str, *details: object) -> Entry:
    shown = "; ".join(str(detail) for detail in details if detail)
    return Entry(str(at), source, f"{event}: {shown}" if shown else str(event))


def _labeled(label: str, item: Mapping[str, Any], name: str) -> str | None:
    return f"{label} {item[name]}" if item.get(name) is not None else None


def _listed(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, list) else ""
