"""The alarms of the stack that are raised now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.domain.text import clean

if TYPE_CHECKING:
    from workers.operations.stack import Stack

# Without a prefix, an account's other alarms are told from the stack's by their names: those of deploy/pipeline.yaml
# and deploy/workers.yaml. A release's alarms have the release at the end.
NAMES = (
    "BulkOrderIntakeFailed",
    "BulkOrderIntakeTimedOut",
    "CriticalEscalation",
    "EscalationDeadLetters",
    "EscalationHandlingFails",
    "EscalationLost",
    "EscalationNotPolled",
    "EscalationOldMessage",
    "EscalationOutage",
    "EscalationReleaseHandlingFails-",
    "EscalationReleaseWorkerFailed-",
    "EscalationTableThrottled",
    "EscalationWorkerFailed",
    "ExecutionsFailed",
    "ExecutionsThrottled",
    "ExecutionsTimedOut",
    "FulfillmentHandlingFails",
    "FulfillmentOutage",
    "FulfillmentReleaseHandlingFails-",
    "FulfillmentReleaseWorkerFailed-",
    "FulfillmentWorkerFailed",
    "NotificationGivenUp",
    "OrderFulfillmentDeadLetters",
    "OrderFulfillmentNotPolled",
    "OrderFulfillmentOldMessage",
    "OrderTableThrottled",
    "OrdersStuck",
    "SweepFailed",
    "SweepOverdue",
    "VerificationFails",
)
MAX_ALARMS = 100  # CloudWatch: of one answer.


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that is raised; *description* is the template's, with what to do."""

    name: str
    since_at: str | None
    description: str | None
    reason: str | None


async def raised_alarms(stack: "Stack", prefix: str) -> Sequence[Alarm]:
    """Return the stack's alarms that are raised now, the newest first; *prefix* is that of its names."""
    request = {"AlarmNamePrefix": prefix} if prefix else {}
    answer: Any = await stack.cloudwatch.call(
        "describe_alarms", StateValue="ALARM", AlarmTypes=["MetricAlarm"], MaxRecords=MAX_ALARMS, **request
    )
    found = [_alarm(alarm) for alarm in answer.get("MetricAlarms", []) if _is_ours(alarm["AlarmName"], prefix)]
    return sorted(found, key=lambda alarm: alarm.since_at or "", reverse=True)


def _is_ours(name: str, prefix: str) -> bool:
    rest = name.removeprefix(prefix)
    return any(rest == known or (known.endswith("-") and rest.startswith(known)) for known in NAMES)


def _alarm(alarm: Mapping[str, Any]) -> Alarm:
    changed = alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp")
    return Alarm(
        name=clean(alarm["AlarmName"]),
        since_at=None if changed is None else clock.written(changed),
        description=_text(alarm.get("AlarmDescription")),
        reason=_text(alarm.get("StateReason")),
    )


def _text(value: str | None) -> str | None:
    return clean(value) if value else None
