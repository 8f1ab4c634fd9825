import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.parsers import ResponseParserError

from tests.workers.operations.fakes import EXECUTION, NOW, STATE_MACHINE, FakeClient, Waits, fake_stack, refused
from workers import clock
from workers.aws.items import to_item
from workers.backoff import Backoff
from workers.domain.submissions import submission_name
from workers.operations import retries, submit
from workers.operations.errors import OperationError
from workers.operations.ledger import Ledger, State
from workers.operations.order_record import Record
from workers.operations.records import BadRecord
from workers.operations.retries import MAX_UNREADABLE, Retries
from workers.operations.submit import SAFE, Problems, Submission, Summary

AT_ONCE, LONG = Backoff(base_s=0, cap_s=0), Backoff(base_s=1e6, cap_s=1e6)
STARTED = {"startDate": NOW, "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(NOW, usegmt=True)}}}


class Submitting:
    """
    A submission of *count* orders against scripted responses to StartExecution.

    `stored` is what the order table holds, by OrderId: at first the same orders, recorded by these submissions.
    """

    def __init__(self, count: int, start: Callable[..., Any], backoff: Backoff = AT_ONCE, number: int = 1) -> None:
        async def answer(**request: Any) -> Any:
            answer = start(**request)
            return (await answer if hasattr(answer, "__await__") else answer) or STARTED

        self.client = FakeClient(start_execution=answer)
        self.table = FakeClient(batch_get_item=self._stored)
        self.warnings: list[str] = []
        self.failed: list[BadRecord] = []
        self.done = 0
        orders = [order(f"o-{n}") for n in range(1, count + 1)]
        self.stored = {one["OrderId"]: stored(one, number) for one in orders}
        records = [Record(n, one["OrderId"], json.dumps(one), "x") for n, one in enumerate(orders, 1)]
        self.ledger = ledger_of(records)
        self.submission = Submission(
            fake_stack(stepfunctions=self.client, dynamodb=self.table),
            self.ledger,
            lambda: records,
            Summary(),
            number=number,
            retries=Retries(backoff=backoff, warn=self.warnings.append),
            warn=self.warnings.append,
            failed=self.failed.append,
        )

    async def run(self, concurrency: int = 2) -> Summary:
        await self.submission.run(concurrency=concurrency, look_s=0, progress=self._advance)
        return self.submission.summary

    def _advance(self, done: int) -> None:
        self.done += done

    def _stored(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {table: [to_item(self.stored[key]) for key in ids if key in self.stored]}}

    def attempts(self) -> int:
        return len(self.client.requests)


def ledger_of(records: Sequence[Record]) -> Ledger:
    ledger = Ledger()
    assert all(ledger.add(record) is None for record in records)
    return ledger


def problems(*records: BadRecord) -> Problems:
    return Problems(len(records), list(records))


def order(order_id: str) -> dict[str, str]:
    return {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": "4929123412345678"}


def stored(given: dict[str, str], number: int = 1, **changes: Any) -> dict[str, Any]:
    """Return the item that submission *number* of an order has recorded."""
    arn = f"{EXECUTION}:{submission_name(given['OrderId'], number)}"
    recorded = {"CC": "************5678", "Status": "FULFILLED", "ExecutionArn": arn, "StartedAt": clock.written(NOW)}
    return given | recorded | changes


def failing(times: int, error: Exception) -> Callable[..., dict[str, str]]:
    left = times

    def start(**_: Any) -> dict[str, str]:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        return {}

    return start


async def test_each_order_is_an_execution_named_by_its_id_and_the_submission() -> None:
    submitting = Submitting(2, lambda **_: {}, number=3)
    submitting.stored.clear()
    assert await submitting.run() == Summary(submitted=2)
    assert [request for _, request in submitting.client.requests] == [
        {"stateMachineArn": STATE_MACHINE, "name": submission_name(f"o-{n}", 3), "input": json.dumps(order(f"o-{n}"))}
        for n in (1, 2)
    ]
    assert submitting.done == 2


async def test_a_first_submission_does_not_read_the_table() -> None:
    submitting = Submitting(200, lambda **_: {})
    assert await submitting.run() == Summary(submitted=200)
    assert submitting.table.requests == []


def started(submitting: Submitting) -> list[str]:
    return [json.loads(request["input"])["OrderId"] for _, request in submitting.client.requests]


OTHER = f"{EXECUTION}:other"


async def test_a_later_submission_starts_only_orders_that_the_workflow_would_start_over() -> None:
    submitting = Submitting(8, lambda **_: {}, number=2)
    submitting.stored["o-1"] |= {"ExecutionArn": OTHER}
    submitting.stored["o-2"] |= {"ExecutionArn": OTHER, "Status": "CANCELLED"}
    submitting.stored["o-3"] |= {"ExecutionArn": OTHER, "Status": "RECEIVED"}
    submitting.stored["o-4"] |= {"ExecutionArn": OTHER, "Status": "ESCALATED", "Price": "-1"}
    del submitting.stored["o-5"]
    submitting.stored["o-6"] |= {"Status": "RECEIVED"}  # In progress in this submission's own execution.
    submitting.stored["o-7"] = {"OrderId": "o-7", "Status": "FULFILLED", "ErasedAt": "2026-11-26T10:00:00Z"}
    assert await submitting.run() == Summary(submitted=3, already_submitted=5)
    assert sorted(started(submitting)) == ["o-4", "o-5", "o-6"]
    taken = submitting.ledger.entries(having=State.TAKEN)
    assert [entry.order_id for entry in taken] == ["o-1", "o-2", "o-3", "o-7", "o-8"]
    assert submitting.done == 8
    assert len(submitting.table.requests) == 1
    assert submitting.failed == []
    assert submitting.warnings == [
        (
            "not compared: an order submitted before but erased, the first in x:7; "
            "`orders show o-7` shows what became of it"
        )
    ]


async def test_a_later_submission_names_taken_orders_that_differ() -> None:
    submitting = Submitting(3, lambda **_: {}, number=2)
    submitting.stored["o-1"] |= {"ExecutionArn": OTHER, "Price": "9"}
    submitting.stored["o-3"] |= {"ExecutionArn": OTHER, "Status": "RECEIVED", "Name": "Grace"}
    by_other = "skipped: the stored order, recorded by execution other, is"
    different = [
        BadRecord(1, f"{by_other} FULFILLED and differs in Price; a new order needs an OrderId of its own", "o-1", "x"),
        BadRecord(3, f"{by_other} RECEIVED and differs in Name, in progress; see `orders show o-3`", "o-3", "x"),
    ]
    assert await submitting.run() == Summary(already_submitted=1, different=problems(*different))
    assert submitting.failed == different
    assert [submitting.ledger.problem(f"o-{n}") for n in (1, 2, 3)] == [different[0].reason, None, different[1].reason]
    assert started(submitting) == []


async def test_a_later_submission_reads_the_table_in_batches_of_a_hundred() -> None:
    submitting = Submitting(1001, lambda **_: {}, number=2)
    assert await submitting.run() == Summary(already_submitted=1001)
    assert [request["RequestItems"]["OrderTable"]["ConsistentRead"] for _, request in submitting.table.requests] == (
        [True] * 11
    )


async def test_an_order_that_was_submitted_before_is_counted_as_such() -> None:
    submitting = Submitting(2, failing(1, refused("ExecutionAlreadyExists")))
    assert await submitting.run() == Summary(submitted=1, already_submitted=1)
    assert (submitting.warnings, submitting.failed) == ([], [])


@pytest.mark.parametrize("code", ["InvalidExecutionInput", "InvalidName", "ValidationException"])
async def test_a_record_that_step_functions_refuses_is_reported_and_the_rest_submitted(code: str) -> None:
    submitting = Submitting(3, failing(1, refused(code)))
    failed = BadRecord(1, f"Step Functions refused it ({code})", "o-1", "x")
    assert await submitting.run() == Summary(submitted=2, failed=problems(failed))
    assert submitting.failed == [failed]


@pytest.mark.parametrize(
    "error",
    [refused("ThrottlingException"), refused("ExecutionLimitExceeded"), refused("InternalError", status=500)],
    ids=str,
)
async def test_throttling_and_outages_are_retried_and_reported_once(error: Exception) -> None:
    submitting = Submitting(3, failing(7, error))
    assert await submitting.run() == Summary(submitted=3)
    assert submitting.attempts() == 10
    (warning,) = submitting.warnings
    assert warning.startswith("StartExecution: ")
    assert warning.endswith("; continuing more slowly")


async def test_any_other_error_ends_it_with_the_outcome_so_far() -> None:
    submitting = Submitting(9, failing(1, refused("AccessDeniedException")))
    with pytest.raises(OperationError) as raised:
        await submitting.run(concurrency=1)
    assert str(raised.value) == (
        "these credentials do not allow StartExecution (AccessDeniedException)"
        f" (0 submitted, 0 already submitted, 0 bad, 0 failed of 9; {SAFE})"
    )


async def test_an_internal_error_is_not_taken_for_an_answer_of_aws() -> None:
    with pytest.raises(KeyError, match="bug"):
        await Submitting(1, failing(1, KeyError("bug"))).run()


async def test_the_outcome_counts_bad_records_too() -> None:
    bad = [BadRecord(1, "is not JSON"), BadRecord(2, "is not JSON")]
    records = [Record(3, "o-3", json.dumps(order("o-3")))]
    submission = Submission(fake_stack(), ledger_of(records), lambda: records, Summary(bad=problems(*bad)), number=1)
    assert submission.so_far() == f"0 submitted, 0 already submitted, 2 bad, 0 failed of 3; {SAFE}"


async def test_the_state_machine_is_looked_up_once_before_the_submissions() -> None:
    async def get_caller_identity() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"Arn": "arn:aws:sts::000000000000:assumed-role/ops/ada"}

    sts, stepfunctions = (
        FakeClient(get_caller_identity=get_caller_identity),
        FakeClient(start_execution=lambda **_: STARTED),
    )
    records = [Record(n, f"o-{n}", json.dumps(order(f"o-{n}"))) for n in range(20)]
    stack = fake_stack("Orders", sts=sts, stepfunctions=stepfunctions)
    submission = Submission(stack, ledger_of(records), lambda: records, Summary(), number=1)
    await submission.run()
    assert (len(sts.requests), len(stepfunctions.requests)) == (1, 20)


async def test_waits_grow_with_each_attempt_at_a_record() -> None:
    waits = Waits()
    await Submitting(2, failing(3, refused("ThrottlingException")), backoff=waits).run(concurrency=1)
    assert waits.attempts == [1, 2, 3]


async def test_a_throttled_record_is_given_up_after_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def start(**_: Any) -> None:
        nonlocal now
        now += 100
        raise refused("ThrottlingException")

    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: now))
    submitting = Submitting(1, start)
    with pytest.raises(OperationError, match="StartExecution"):
        await submitting.run()
    assert submitting.attempts() == 3


@pytest.mark.parametrize(
    ("error", "named"),
    [(refused("ThrottlingException"), "ThrottlingException"), (ResponseParserError(), "response parser error")],
)
async def test_the_warning_names_what_slows_the_submission_down(error: Exception, named: str) -> None:
    submitting = Submitting(1, failing(1, error))
    await submitting.run()
    assert submitting.warnings == [f"StartExecution: {named}; continuing more slowly"]


UNREACHABLE = EndpointConnectionError(endpoint_url="http://nowhere")


async def test_unreachable_is_retried_only_after_a_first_success() -> None:
    with pytest.raises(OperationError, match="AWS cannot be reached"):
        await Submitting(9, failing(1, UNREACHABLE)).run(concurrency=1)
    first = True

    def start(**_: Any) -> dict[str, str]:
        nonlocal first
        first = not first
        if first:
            raise UNREACHABLE
        return {}

    assert await Submitting(9, start).run(concurrency=1) == Summary(submitted=9)


async def test_unreadable_responses_are_retried_but_not_without_end() -> None:
    assert await Submitting(3, failing(MAX_UNREADABLE, ResponseParserError())).run() == Summary(submitted=3)
    submitting = Submitting(3, failing(10**6, ResponseParserError()))
    with pytest.raises(OperationError, match="an AWS response cannot be read"):
        await submitting.run()
    assert submitting.attempts() <= MAX_UNREADABLE + 2


@pytest.mark.parametrize(("unreadable", "attempts"), [(50, 51), (51, 51)])
async def test_fifty_unreadable_responses_are_tolerated_before_a_first_success(unreadable: int, attempts: int) -> None:
    submitting = Submitting(1, failing(unreadable, ResponseParserError()))
    with contextlib.suppress(OperationError):
        await submitting.run(concurrency=1)
    assert (submitting.attempts(), submitting.done) == (attempts, attempts - unreadable)


@pytest.mark.parametrize("first", [None, refused("ExecutionAlreadyExists")])
async def test_after_a_first_answer_unreadable_responses_are_retried_without_end(first: Exception | None) -> None:
    outcomes = iter([first, *[ResponseParserError()] * 200])

    def start(**_: Any) -> None:
        if (error := next(outcomes, None)) is not None:
            raise error

    submitting = Submitting(2, start)
    await submitting.run(concurrency=1)
    assert (submitting.done, submitting.attempts()) == (2, 202)


async def test_cancelled_it_counts_the_requests_in_flight_and_starts_no_other() -> None:
    two_in_flight, release = asyncio.Event(), asyncio.Event()

    async def start(**_: Any) -> dict[str, str]:
        if submitting.attempts() == 2:
            two_in_flight.set()
        await release.wait()
        return {}

    submitting = Submitting(9, start)
    running = asyncio.create_task(submitting.run(concurrency=2))
    await two_in_flight.wait()
    running.cancel()
    release.set()
    await asyncio.wait([running])
    assert running.cancelled()
    assert submitting.attempts() == 2
    assert submitting.submission.so_far() == f"2 submitted, 0 already submitted, 0 bad, 0 failed of 9; {SAFE}"


async def test_cancelled_it_does_not_wait_for_a_retry() -> None:
    submitting = Submitting(9, failing(1, refused("ThrottlingException")), backoff=LONG)
    throttled = asyncio.Event()
    submitting.submission._retries._warn = lambda _: throttled.set()
    running = asyncio.create_task(submitting.run(concurrency=1))
    await throttled.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    assert submitting.attempts() == 1


async def test_an_error_of_the_sdk_itself_is_not_retried_after_a_first_success() -> None:
    outcomes = iter([None, NoCredentialsError()])

    def start(**_: Any) -> None:
        if (error := next(outcomes, None)) is not None:
            raise error

    submitting = Submitting(3, start)
    with pytest.raises(OperationError, match="no AWS credentials"):
        await submitting.run(concurrency=1)
    assert submitting.attempts() == 2


def test_the_limits_of_a_submission() -> None:
    assert (submit.DEFAULT_CONCURRENCY, submit.MAX_CONCURRENCY, submit.MAX_SUBMISSION) == (10, 100, 999_999)
    assert Submission(fake_stack(), Ledger(), list, Summary(), number=1)._retries._backoff == Backoff(
        base_s=0.2, cap_s=20.0
    )


async def test_ten_requests_run_at_once_by_default() -> None:
    running, most = 0, 0

    async def start(**_request: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await Submitting(50, start).submission.run()
    assert most == 10


async def test_after_a_bug_in_the_report_the_requests_in_flight_are_waited_for() -> None:
    release = asyncio.Event()

    async def start(**_: Any) -> None:
        if submitting.attempts() > 1:
            await release.wait()

    def fail(_done: int) -> None:
        raise ZeroDivisionError

    submitting = Submitting(9, start)
    running = asyncio.create_task(submitting.submission.run(concurrency=2, progress=fail))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not running.done()
    release.set()
    with pytest.raises(ZeroDivisionError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


def answered(at: datetime, *, started: datetime) -> dict[str, Any]:
    return {"startDate": started, "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(at, usegmt=True)}}}


@pytest.mark.parametrize(
    ("started_s", "summary"),
    [
        (0.9, Summary(submitted=1)),  # An HTTP date has no fractions of a second.
        (-0.9, Summary(submitted=1)),  # Another server's clock is a little behind.
        (-60.0, Summary(already_submitted=1)),
    ],
)
async def test_an_order_whose_execution_still_runs_is_already_submitted(started_s: float, summary: Summary) -> None:
    submitting = Submitting(1, lambda **_: answered(NOW, started=NOW + timedelta(seconds=started_s)))
    assert await submitting.run() == summary
    assert submitting.table.requests == []  # AWS has compared the input.
    assert [entry.started_at for entry in submitting.ledger.entries()] == [NOW + timedelta(seconds=started_s)]


@pytest.mark.parametrize("hours", [-5, 5])
async def test_a_wrong_clock_of_this_machine_does_not_matter(hours: int) -> None:
    aws_time = NOW + timedelta(hours=hours)  # `NOW` is what this machine's clock shows.
    answers = iter([aws_time, aws_time - timedelta(minutes=1)])
    submitting = Submitting(2, lambda **_: answered(aws_time, started=next(answers)))
    assert await submitting.run(concurrency=1) == Summary(submitted=1, already_submitted=1)


@pytest.mark.parametrize("headers", [{}, {"date": "today"}, {"date": ""}])
async def test_without_a_usable_date_in_the_response_this_machines_clock_counts(headers: dict[str, str]) -> None:
    metadata = {"HTTPHeaders": headers}
    starts = iter([NOW, NOW - timedelta(minutes=1)])
    submitting = Submitting(2, lambda **_: {"startDate": next(starts), "ResponseMetadata": metadata})
    assert await submitting.run(concurrency=1) == Summary(submitted=1, already_submitted=1)


async def test_a_request_that_took_long_is_compared_with_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter([0.0, 90.0])
    monkeypatch.setattr(submit, "elapsed_s", lambda: next(now_s))
    submitting = Submitting(1, lambda **_: answered(NOW, started=NOW - timedelta(seconds=89)))
    assert await submitting.run() == Summary(submitted=1)


@pytest.mark.parametrize(("before_s", "summary"), [(0, Summary(submitted=1)), (1e-6, Summary(already_submitted=1))])
async def test_an_execution_started_no_earlier_than_the_request_is_this_commands(
    monkeypatch: pytest.MonkeyPatch, before_s: float, summary: Summary
) -> None:
    monkeypatch.setattr(submit, "elapsed_s", lambda: 0.0)
    first = NOW - submit.CLOCK_TOLERANCE - timedelta(seconds=before_s)
    assert await Submitting(1, lambda **_: answered(NOW, started=first)).run() == summary
    errors = lost_and_then_there(0)

    def start(**_: Any) -> None:
        raise next(errors)

    submitting = Submitting(1, start)
    submitting.stored["o-1"]["StartedAt"] = clock.written(first)
    assert await submitting.run() == summary


def test_the_first_hundred_problems_are_shown_and_all_are_counted() -> None:
    found = Problems()
    shown = [found.add(BadRecord(n, "why")) for n in range(submit.MAX_SHOWN + 2)]
    assert shown == [True] * submit.MAX_SHOWN + [False] * 2
    assert (found.count, len(found.shown)) == (submit.MAX_SHOWN + 2, submit.MAX_SHOWN)


@pytest.mark.parametrize("kind", ["bad", "failed", "different"])
def test_one_record_with_a_problem_makes_a_summary_incomplete(kind: str) -> None:
    assert Summary(submitted=1, already_submitted=1).complete
    problem: dict[str, Any] = {kind: Problems(1)}
    assert not Summary(**problem).complete


def lost_and_then_there(retried_by_the_sdk: int) -> Iterator[Exception]:
    if not retried_by_the_sdk:
        yield ResponseParserError()
    error = refused("ExecutionAlreadyExists")
    error.response["ResponseMetadata"]["RetryAttempts"] = retried_by_the_sdk
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"date": format_datetime(NOW, usegmt=True)}
    yield error


@pytest.mark.parametrize("retried_by_the_sdk", [0, 1])
@pytest.mark.parametrize(
    ("item", "summary"),
    [
        ({}, Summary(submitted=1)),
        ({"StartedAt": clock.written(NOW - timedelta(minutes=1))}, Summary(already_submitted=1)),
        ({"ExecutionArn": f"{EXECUTION}:other"}, Summary(already_submitted=1)),
    ],
)
async def test_an_order_whose_first_response_was_lost_is_submitted_by_this_command(
    item: dict[str, Any], summary: Summary, retried_by_the_sdk: int
) -> None:
    errors = lost_and_then_there(retried_by_the_sdk)

    def start(**_: Any) -> None:
        raise next(errors)

    submitting = Submitting(1, start)
    submitting.stored["o-1"] |= item
    assert await submitting.run() == summary


async def test_without_a_retry_an_existing_execution_is_never_this_commands() -> None:
    submitting = Submitting(1, failing(1, refused("ExecutionAlreadyExists")))
    assert await submitting.run() == Summary(already_submitted=1)


ALWAYS_THERE = failing(10**9, refused("ExecutionAlreadyExists"))


async def test_a_different_order_under_a_used_id_is_reported_with_its_fields() -> None:
    submitting = Submitting(5, ALWAYS_THERE)
    submitting.stored["o-2"] |= {"Price": "9", "CC": "************1111"}
    submitting.stored["o-4"] |= {"Name": "Grace", "Status": "ESCALATED"}
    different = [
        BadRecord(
            2,
            "skipped: the stored order is FULFILLED and differs in Price, CC; a new order needs an OrderId of its own",
            "o-2",
            "x",
        ),
        BadRecord(
            4,
            "skipped: the stored order is ESCALATED and differs in Name; "
            "to start this one in its place, use --submission 2",
            "o-4",
            "x",
        ),
    ]
    assert await submitting.run() == Summary(already_submitted=3, different=problems(*different))
    assert submitting.failed == different
    assert str(submitting.submission.summary) == "0 submitted, 3 already submitted, 0 bad, 0 failed, 2 different"


async def test_orders_are_compared_in_batches_of_a_hundred() -> None:
    submitting = Submitting(345, ALWAYS_THERE)
    assert await submitting.run(concurrency=100) == Summary(already_submitted=345)
    assert len(submitting.table.requests) == 4


async def test_only_orders_that_were_submitted_before_are_compared() -> None:
    submitting = Submitting(9, failing(1, refused("ExecutionAlreadyExists")))
    await submitting.run(concurrency=1)
    ((_, request),) = submitting.table.requests
    assert request["RequestItems"]["OrderTable"]["Keys"] == [{"OrderId": {"S": "o-1"}}]


async def test_orders_that_are_in_no_table_are_counted_and_not_compared() -> None:
    submitting = Submitting(4, ALWAYS_THERE)
    del submitting.stored["o-2"], submitting.stored["o-3"]
    submitting.stored["o-4"]["Name"] = "Grace"
    summary = await submitting.run()
    assert (summary.already_submitted, [record.order_id for record in summary.different.shown]) == (3, ["o-4"])
    (warning,) = submitting.warnings
    assert warning == (
        "not compared: 2 orders submitted before but not in the table, the first in x:2; "
        "`orders show o-2` shows what became of it"
    )


async def test_erased_orders_are_counted_and_not_compared() -> None:
    submitting = Submitting(3, ALWAYS_THERE)
    submitting.stored["o-2"] = {"OrderId": "o-2", "Status": "CANCELLED", "ErasedAt": "2026-11-26T10:00:00Z"}
    assert await submitting.run() == Summary(already_submitted=3)
    assert submitting.warnings == [
        (
            "not compared: an order submitted before but erased, the first in x:2; "
            "`orders show o-2` shows what became of it"
        )
    ]


async def test_a_throttled_comparison_is_retried() -> None:
    submitting = Submitting(1, ALWAYS_THERE)
    throttled = iter([refused("ThrottlingException", "BatchGetItem")] * 3)

    def batch_get_item(**request: Any) -> dict[str, Any]:
        if (error := next(throttled, None)) is not None:
            raise error
        return submitting._stored(**request)

    submitting.table.operations["batch_get_item"] = batch_get_item
    assert await submitting.run() == Summary(already_submitted=1)
    assert submitting.warnings == ["BatchGetItem: ThrottlingException; continuing more slowly"]


async def test_cancelled_it_does_not_wait_for_the_retry_of_a_comparison() -> None:
    def batch_get_item(**_: Any) -> None:
        raise refused("ThrottlingException", "BatchGetItem")

    submitting, throttled = Submitting(1, ALWAYS_THERE, backoff=LONG), asyncio.Event()
    submitting.table.operations["batch_get_item"] = batch_get_item
    submitting.submission._retries._warn = lambda _: throttled.set()
    running = asyncio.create_task(submitting.run())
    await throttled.wait()
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_a_comparison_that_is_not_allowed_ends_with_the_outcome_so_far() -> None:
    submitting = Submitting(1, ALWAYS_THERE)

    def batch_get_item(**_: Any) -> None:
        raise refused("AccessDeniedException", "BatchGetItem")

    submitting.table.operations["batch_get_item"] = batch_get_item
    with pytest.raises(OperationError) as raised:
        await submitting.run()
    assert str(raised.value) == (
        "these credentials do not allow BatchGetItem (AccessDeniedException)"
        f" (0 submitted, 1 already submitted, 0 bad, 0 failed of 1; {SAFE})"
    )
