import asyncio
import contextlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.parsers import ResponseParserError

from tests.workers.operations.fakes import STATE_MACHINE, FakeClient, Waits, fake_stack, refused
from workers.backoff import Backoff
from workers.domain.submissions import submission_name
from workers.operations import submit
from workers.operations.errors import OperationError
from workers.operations.order_files import Record
from workers.operations.records import BadRecord
from workers.operations.submit import MAX_UNREADABLE, SAFE, Submission, Summary

AT_ONCE, LONG = Backoff(base_s=0, cap_s=0), Backoff(base_s=1e6, cap_s=1e6)


class Submitting:
    """A submission of *count* records against scripted responses to StartExecution."""

    def __init__(self, count: int, start: Callable[..., Any], backoff: Backoff = AT_ONCE, number: int = 1) -> None:
        self.client = FakeClient(start_execution=start)
        self.warnings: list[str] = []
        self.failed: list[BadRecord] = []
        self.done = 0
        records = [Record(n, f"o-{n}", json.dumps({"n": n})) for n in range(1, count + 1)]
        self.submission = Submission(
            fake_stack(stepfunctions=self.client),
            records,
            Summary(),
            number=number,
            backoff=backoff,
            warn=self.warnings.append,
            failed=self.failed.append,
        )

    async def run(self, concurrency: int = 2) -> Summary:
        await self.submission.run(concurrency=concurrency, progress=self._advance)
        return self.submission.summary

    def _advance(self, done: int) -> None:
        self.done += done

    def attempts(self) -> int:
        return len(self.client.requests)


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
    assert await submitting.run() == Summary(submitted=2)
    assert [request for _, request in submitting.client.requests] == [
        {"stateMachineArn": STATE_MACHINE, "name": submission_name(f"o-{n}", 3), "input": json.dumps({"n": n})}
        for n in (1, 2)
    ]
    assert submitting.done == 2


async def test_an_order_that_was_submitted_before_is_counted_as_such() -> None:
    submitting = Submitting(2, failing(1, refused("ExecutionAlreadyExists")))
    assert await submitting.run() == Summary(submitted=1, already_submitted=1)


@pytest.mark.parametrize("code", ["InvalidExecutionInput", "InvalidName", "ValidationException"])
async def test_a_record_that_step_functions_refuses_is_reported_and_the_rest_submitted(code: str) -> None:
    submitting = Submitting(3, failing(1, refused(code)))
    failed = BadRecord(1, f"Step Functions refused it ({code})", "o-1")
    assert await submitting.run() == Summary(submitted=2, failed=[failed])
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
    submission = Submission(fake_stack(), [Record(3, "o-3", "{}")], Summary(bad=bad), number=1)
    assert submission.so_far() == f"0 submitted, 0 already submitted, 2 bad, 0 failed of 3; {SAFE}"


async def test_the_state_machine_is_looked_up_once_before_the_submissions() -> None:
    async def get_caller_identity() -> dict[str, str]:
        await asyncio.sleep(0)
        return {"Arn": "arn:aws:sts::000000000000:assumed-role/ops/ada"}

    sts, stepfunctions = FakeClient(get_caller_identity=get_caller_identity), FakeClient(start_execution=lambda **_: {})
    records = [Record(n, f"o-{n}", "{}") for n in range(20)]
    submission = Submission(fake_stack("Orders", sts=sts, stepfunctions=stepfunctions), records, Summary(), number=1)
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

    monkeypatch.setattr(submit, "time", SimpleNamespace(monotonic=lambda: now))
    submitting = Submitting(1, start)
    with pytest.raises(OperationError, match="StartExecution"):
        await submitting.run()
    assert submitting.attempts() == 3


@pytest.mark.parametrize(
    ("error", "named"),
    [(refused("ThrottlingException"), "ThrottlingException"), (ResponseParserError(), "ResponseParserError")],
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
    submitting.submission._warn = lambda _: throttled.set()
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
    assert Submission(fake_stack(), [], Summary(), number=1)._backoff == Backoff(base_s=0.2, cap_s=20.0)


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
