"""The alarms of the stack that are raised."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.workers.operations.fakes import NOW, FakeClient, FakeSession
from workers.operations.alarms import NAMES, raised_alarms
from workers.operations.stack import Stack

TEMPLATES = [Path("deploy/pipeline.yaml"), Path("deploy/workers.yaml")]


def stack(*alarms: dict[str, Any]) -> tuple[Stack, FakeClient]:
    client = FakeClient(describe_alarms=lambda **_: {"MetricAlarms": list(alarms)})
    return Stack({}, now=lambda: NOW, session=FakeSession({"cloudwatch": client})), client


def alarm(name: str, minutes: int = 1, **more: Any) -> dict[str, Any]:
    return {"AlarmName": name, "StateTransitionedTimestamp": NOW - timedelta(minutes=minutes), **more}


def test_all_alarms_of_the_templates_are_known_by_name() -> None:
    found = [
        re.findall(r"AlarmName: !Sub \$\{NamePrefix\}(\S+)", path.read_text(encoding="utf-8")) for path in TEMPLATES
    ]
    assert sorted({name.removesuffix("${WorkerRelease}") for names in found for name in names}) == sorted(NAMES)


async def test_raised_alarms_come_newest_first_with_what_to_do() -> None:
    what = {"AlarmDescription": "See the runbook.", "StateReason": "1 datapoint was\ngreater"}
    at, client = stack(alarm("a-OrdersStuck", 9), alarm("a-SweepFailed", 2, **what))
    newest, oldest = await raised_alarms(at, "a-")
    assert (newest.name, newest.description, newest.reason) == (
        "a-SweepFailed",
        "See the runbook.",
        "1 datapoint was greater",
    )
    assert newest.since_at == "2026-11-22T11:58:00.000000Z"
    assert (oldest.name, oldest.description, oldest.reason) == ("a-OrdersStuck", None, None)
    ((_, asked),) = client.requests
    assert (asked["StateValue"], asked["AlarmNamePrefix"]) == ("ALARM", "a-")


async def test_alarms_of_others_are_left_out() -> None:
    ours = ["OrdersStuck", "FulfillmentReleaseWorkerFailed-r7"]
    others = ["OrdersStuckAtSea", "MyOrdersStuck", "OrdersStuck2", "CpuHigh"]
    at, client = stack(*map(alarm, ours + others))
    assert [each.name for each in await raised_alarms(at, "")] == ours
    assert "AlarmNamePrefix" not in client.requests[0][1]  # CloudWatch refuses an empty one.


async def test_an_alarm_without_a_transition_has_the_time_of_its_last_change() -> None:
    updated = datetime(2026, 11, 21, tzinfo=UTC)
    at, _ = stack({"AlarmName": "SweepFailed", "StateUpdatedTimestamp": updated}, {"AlarmName": "SweepOverdue"})
    assert [each.since_at for each in await raised_alarms(at, "")] == ["2026-11-21T00:00:00.000000Z", None]
