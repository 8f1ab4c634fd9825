import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, fake_stack, refused
from workers.domain.submissions import submission_name
from workers.operations.erase import Found
from workers.operations.remains import Remainder, what_remains
from workers.operations.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:test-OrderFulfillmentStateMachine"
NAMED = "arn:aws:states:us-east-1:000000000000:execution:test-OrderFulfillmentStateMachine"
ORDER = {"OrderId": "001", "Status": "FULFILLED", "ExecutionArn": f"{NAMED}:one", "ShipmentId": "S-1"}
ROUTED = [{"Channel": "log"}, {"Channel": "pager"}]
FOUND = Found("001", ORDER, [{"CaseId": "001", "Routed": ROUTED, "ExecutionArns": [f"{NAMED}:two"]}])
ENDS = {
    f"{NAMED}:one": datetime.fromisoformat("2026-11-20T10:00:00+00:00"),
    f"{NAMED}:{submission_name('001', 1)}": datetime.fromisoformat("2026-11-21T10:00:00+00:00"),
}
ITEMS, LINES = "the erased items", "ids, and why the order failed, masked"
MESSAGES = "ids, and what an escalation said, masked"


class Account:
    """An AWS where the calls in `denied` are refused."""

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.ends: dict[str, datetime | None] = dict(ENDS)
        self.recovery: dict[str, Any] = {"PointInTimeRecoveryStatus": "ENABLED", "RecoveryPeriodInDays": 7}
        self.days: int | None = 30

    def stack(self, machine: str = MACHINE) -> Stack:
        policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"})

        def attributes(QueueUrl: str, **_: Any) -> Any:  # noqa: N803 - AWS's name.
            days = 14 if QueueUrl == "DLQ" else 10
            return {"Attributes": {"RedrivePolicy": policy, "MessageRetentionPeriod": str(days * 86400)}}

        def describe_execution(executionArn: str, includedData: str) -> Any:  # noqa: N803 - AWS's names.
            assert includedData == "METADATA_ONLY"
            if executionArn not in self.ends:
                raise refused("ExecutionDoesNotExist", "DescribeExecution")
            end = self.ends[executionArn]
            return {} if end is None else {"stopDate": end}

        def groups(logGroupNamePrefix: str) -> Any:  # noqa: N803 - AWS's name.
            if "/ecs/" not in logGroupNamePrefix:
                return [{"logGroups": []}]
            group = {"logGroupName": f"{logGroupNamePrefix}fulfillment"}
            return [{"logGroups": [group if self.days is None else group | {"retentionInDays": self.days}]}]

        calls: dict[str, Callable[..., Any]] = {
            "describe_continuous_backups": lambda **_: {
                "ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": self.recovery}
            },
            "describe_execution": describe_execution,
            "describe_log_groups": groups,
            "get_queue_attributes": attributes,
            "get_queue_url": lambda QueueName: {"QueueUrl": QueueName},  # noqa: N803 - AWS's name.
        }

        def deny(operation: str) -> Any:
            def refuse(**_: Any) -> Any:
                raise refused("AccessDeniedException", operation)

            return refuse

        client = FakeClient(**{name: deny(name) if name in self.denied else call for name, call in calls.items()})
        return fake_stack(machine, dynamodb=client, stepfunctions=client, logs=client, sqs=client)


async def test_what_others_keep_is_read_from_them() -> None:
    assert await what_remains(Account().stack(), FOUND) == [
        Remainder("execution history", "the whole order, card number included: 2 executions", "2027-02-19"),
        Remainder("recovery of OrderTable", ITEMS, "2026-11-29 (7 days)"),
        Remainder("recovery of EscalationTable", ITEMS, "2026-11-29 (7 days)"),
        Remainder("log group /ecs/test-order-fulfillment/fulfillment", LINES, "30 days after a line was written"),
        Remainder("OrderFulfillmentQueue and its dead letters", MESSAGES, "14 days after a message was sent"),
        Remainder("EscalationQueue and its dead letters", MESSAGES, "14 days after a message was sent"),
        Remainder("channels: pager", "the notifications of its escalations", "as their receivers keep them"),
        Remainder("the provider, if there is one", "the order, as shipment S-1", "as it keeps it"),
    ]


async def test_submissions_are_counted_beyond_those_that_are_named() -> None:
    account = Account()
    first, second = (f"{NAMED}:{submission_name('001', number)}" for number in (1, 2))
    account.ends = dict.fromkeys((first, second))
    (history, *_) = await what_remains(account.stack(), Found("001", {**ORDER, "ExecutionArn": first}, []))
    assert history.what == "the whole order, card number included: 2 executions"
    account.ends = {first: None}
    (history, *_) = await what_remains(account.stack(), Found("001", {**ORDER, "ExecutionArn": first}, []))
    assert history.what == "the whole order, card number included: 1 execution"


async def test_a_repeated_erasure_lists_the_same() -> None:
    kept = {"ShipmentId": "S-1", "Channels": FOUND.channels, "ExecutionArns": sorted(FOUND.executions)}
    marker = {"OrderId": "001", "Status": "FULFILLED", "ExecutionArn": f"{NAMED}:one", "ErasedAt": "then"} | kept
    again = await what_remains(Account().stack(), Found("001", marker, []))
    assert again == await what_remains(Account().stack(), FOUND)


async def test_what_is_not_kept_is_not_listed() -> None:
    account = Account()
    account.ends, account.recovery, account.days = {}, {"PointInTimeRecoveryStatus": "DISABLED"}, None
    rows = await what_remains(account.stack(), Found("001", None, []))
    assert [row.where for row in rows] == [
        "log group /ecs/test-order-fulfillment/fulfillment",
        "OrderFulfillmentQueue and its dead letters",
        "EscalationQueue and its dead letters",
    ]
    assert rows[0].until == "for ever"


async def test_an_execution_that_runs_is_kept_for_90_days_from_now_at_least() -> None:
    account = Account()
    account.ends[f"{NAMED}:one"] = None
    (history, *_) = await what_remains(account.stack(), FOUND)
    assert (NOW.date().isoformat(), history.until) == ("2026-11-22", "2027-02-20")


@pytest.mark.parametrize(
    ("denied", "where"),
    [
        ("describe_execution", ["execution history"]),
        ("describe_continuous_backups", ["recovery of OrderTable", "recovery of EscalationTable"]),
        ("describe_log_groups", ["log groups"]),
        ("get_queue_url", ["messages of OrderFulfillmentQueue", "messages of EscalationQueue"]),
    ],
)
async def test_what_aws_does_not_tell_is_unknown_with_the_reason(denied: str, where: list[str]) -> None:
    account = Account()
    account.denied = {denied}
    unknown = [row for row in await what_remains(account.stack(), FOUND) if row.until.startswith("unknown")]
    assert [row.where for row in unknown] == where
    assert {row.until for row in unknown} == {
        f"unknown: these credentials do not allow {denied} (AccessDeniedException)"
    }


async def test_log_groups_of_a_state_machine_with_another_name_are_unknown() -> None:
    rows = await what_remains(Account().stack(EXECUTION.replace(":execution:", ":stateMachine:")), FOUND)
    (group,) = [row for row in rows if row.where == "log groups"]
    assert group.until == "unknown: the name of the state machine is not that of a stack"
