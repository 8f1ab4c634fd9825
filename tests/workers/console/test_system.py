"""What is read beside the status, and how often."""

from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import FakeClient, refused
from tests.workers.operations.status_world import FULFILLMENT, World, busy, case
from workers.console.system import NEWEST_CASES, SystemReader
from workers.errors import UnreadableOrderError
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

SWEEP = "arn:aws:states:us-east-1:000000000000:execution:StuckOrderSweep:s1"


def world(**stepfunctions: Any) -> World:
    made = World()
    made.clients |= {
        "stepfunctions": FakeClient(
            **{
                "list_executions": lambda **_: {"executions": [{"executionArn": SWEEP}]},
                "describe_execution": lambda **_: {"status": "SUCCEEDED", "output": '{"Escalated": []}'},
            }
            | stepfunctions
        ),
        "cloudwatch": FakeClient(
            get_metric_data=lambda **_: {"MetricDataResults": []},
            describe_alarms=lambda **_: {"MetricAlarms": [{"AlarmName": "OrdersStuck"}]},
        ),
    }
    return made


def reader(at: World, *, has_alarms: bool = True) -> SystemReader:
    return SystemReader(at.stack(), [FULFILLMENT], has_alarms=has_alarms, fetch=at.fetch, read_cases=at.read_cases)


def called(at: World, service: str, operation: str) -> int:
    return sum(name == operation for name, _ in at.clients[service].requests)


async def test_the_newest_cases_come_with_the_status() -> None:
    at = world()
    at.cases = [case(f"c{hours}", hours=hours) for hours in range(1, NEWEST_CASES + 3)]
    system = reader(at)
    status = await system.read()
    assert status.open_cases == NEWEST_CASES + 2
    assert [each.case_id for each in system.newest_cases] == [f"c{hours}" for hours in range(1, NEWEST_CASES + 1)]


async def test_the_first_reading_does_not_wait_for_rates() -> None:
    at = world()
    at.workers_run()
    before = at.now
    await reader(at).read()
    assert at.now == before  # Its time passes only in waits.


async def test_sweep_and_alarms_are_read_once_a_minute() -> None:
    at = world()
    system = reader(at)
    for seconds in (0, 30, 29):
        at.now += timedelta(seconds=seconds)
        await system.read()
    assert (called(at, "stepfunctions", "list_executions"), called(at, "cloudwatch", "describe_alarms")) == (1, 1)
    assert system.sweep is not None
    assert system.sweep.execution_arn == SWEEP
    assert [alarm.name for alarm in system.alarms or ()] == ["OrdersStuck"]
    at.now += timedelta(seconds=1)
    await system.read()
    assert called(at, "cloudwatch", "describe_alarms") == 2


async def test_without_alarms_and_sweep_the_status_is_still_read() -> None:
    def no_access(**_: Any) -> Any:
        raise refused("AccessDeniedException", "X")

    at = world(list_executions=no_access)
    at.clients["cloudwatch"] = FakeClient(
        get_metric_data=lambda **_: {"MetricDataResults": []}, describe_alarms=no_access
    )
    system = reader(at)
    await system.read()
    assert (system.sweep, system.alarms) == (None, None)
    assert system.alarms_problem is not None
    assert "AccessDenied" in system.alarms_problem


@pytest.mark.parametrize("error", [UnreadableOrderError("odd"), OperationError("odd")])
async def test_what_cannot_be_read_once_is_read_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    at = world()
    system = reader(at)
    await system.read()
    assert (system.sweep is None, system.alarms is None, system.alarms_problem) == (False, False, None)

    async def fail(*_: object) -> Any:
        raise error

    for name in ("newest", "raised_alarms"):
        monkeypatch.setattr(f"workers.console.system.{name}", fail)
    at.now += timedelta(minutes=1)
    await system.read()
    assert (system.sweep, system.alarms, system.alarms_problem) == (None, None, "odd")
    monkeypatch.undo()
    at.now += timedelta(minutes=1)
    await system.read()
    assert (system.sweep is None, system.alarms is None, system.alarms_problem) == (False, False, None)


async def test_each_reading_is_in_the_history() -> None:
    at = world()
    system = reader(at)
    for _ in range(2):
        await system.read()
    assert len(system.history.of_queue("OrderFulfillmentQueue", lambda queue: queue.depth)) == 2


async def test_a_stack_whose_alarms_are_unknown_is_not_asked_for_them() -> None:
    at = world()
    system = SystemReader(
        Stack({"ORDER_FULFILLMENT_QUEUE": "Others"}, now=lambda: at.now, session=at.stack()._session),
        [],
        has_alarms=True,
        fetch=at.fetch,
        read_cases=at.read_cases,
    )
    await system._read_alarms()
    assert (system.alarms, called(at, "cloudwatch", "describe_alarms")) == (None, 0)


async def test_a_local_aws_is_not_asked_for_alarms() -> None:
    at = world()
    system = reader(at, has_alarms=False)
    await system.read()
    assert (system.alarms, system.alarms_problem, called(at, "cloudwatch", "describe_alarms")) == (None, None, 0)


async def test_what_only_a_second_reading_shows_names_no_option_of_a_command() -> None:
    at = busy()
    at.clients["stepfunctions"] = world().clients["stepfunctions"]
    status = await reader(at, has_alarms=False).read()
    reasons = [unknown.reason for unknown in status.unknown]
    assert any(reason.startswith("it was looked at only once") for reason in reasons)
    assert not [reason for reason in reasons if "--" in reason]
