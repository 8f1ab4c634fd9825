"""Submitting in bulk: what is uploaded and started, and how an intake's report becomes the summary of a submission."""

import asyncio
import contextlib
import io
import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import NOW, Waits, refused
from tests.workers.operations.intakes import ARN, BUCKET, INTAKE_ARN, STATE_MACHINE, Intakes
from workers.domain.submissions import submission_name
from workers.domain.text import clean
from workers.operations import bulk_submit
from workers.operations.bulk import (
    Intake,
    ReportedRow,
    find_intake,
    find_place,
    list_intakes,
    reported_rows,
)
from workers.operations.bulk_submit import BulkSubmission
from workers.operations.errors import OperationError
from workers.operations.order_batch import OrderBatch, Source
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.submit import Summary

CARD = "4929123412345678"


def order(number: int) -> dict[str, str]:
    return {"OrderId": f"o-{number}", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}


def stored(number: int, **changes: str) -> dict[str, str]:
    """Return an order as its first submission has recorded it."""
    arn = f"{ARN}:execution:a-OrderFulfillmentStateMachine:{submission_name(f'o-{number}', 1)}"
    return order(number) | {"CC": "************5678", "Status": "FULFILLED", "ExecutionArn": arn} | changes


class Command:
    """A submission in bulk of *count* orders, and what it reports."""

    def __init__(self, aws: Intakes, count: int = 3, number: int = 1, poll_s: float = 0, **more: str) -> None:
        lines = [json.dumps(order(n) | more) for n in range(1, count + 1)]
        data = "\n".join(lines).encode()
        batch = OrderBatch([Source("orders.jsonl", lambda: io.BytesIO(data), len(data))])
        for _ in batch.check():
            pass
        self.begun, self.done = list[str](), list[int]()
        self.failed = list[BadRecord]()
        self.task = BulkSubmission(
            aws.stack(),
            batch.ledger,
            batch.records,
            Summary(),
            number=number,
            retries=Retries(backoff=Waits()),
            failed=self.failed.append,
            begun=self.begun.append,
            poll_s=poll_s,
        )

    async def run(self) -> str:
        await self.task.run(look_s=0, progress=self.done.append)
        return str(self.task.summary)


async def test_orders_are_uploaded_started_and_followed() -> None:
    aws = Intakes(looks=3)
    command = Command(aws, Other="x")
    assert await command.run() == "3 submitted, 0 already submitted, 0 bad, 0 failed"
    ((name, given),) = aws.started.items()
    assert given == {"Key": f"submitted/{name}.jsonl", "Submission": 1}
    assert aws.lines(name) == [order(1), order(2), order(3)], "only the fields of an order"
    assert (command.begun, command.task.intake) == ([name], name)
    assert (command.done, command.failed) == ([0, 1, 2], [])
    assert [entry.started_at for entry in command.task._ledger.entries()] == [NOW] * 3


async def test_a_name_of_an_intake_sorts_by_time_and_is_never_masked() -> None:
    names = set()
    for _ in range(50):
        command = Command(Intakes(), count=1)
        await command.run()
        assert clean(command.begun[0]) == command.begun[0]
        names.add(command.begun[0])
    assert len(names) == 50
    assert all(re.fullmatch(r"bulk-20261122T120000-[a-z]{8}", name) for name in names)


async def test_text_that_looks_like_a_line_end_stays_in_its_line() -> None:
    aws = Intakes()
    command = Command(aws, count=2, Name="a\u2028b\u0085c\n\U0001f6b2")
    await command.run()
    (name,) = aws.started
    assert [line["Name"] for line in aws.lines(name)] == ["a\u2028b\u0085c\n\U0001f6b2"] * 2
    assert aws.objects[f"submitted/{name}.jsonl"].isascii()


async def test_rows_that_an_intake_did_not_start_are_named_with_their_line() -> None:
    rows = [
        {"Row": 2, "Outcome": "rejected", "Fields": ["Price", "CC"]},
        {"Row": 4, "Outcome": "not_started"},
    ]
    command = Command(Intakes(rows=rows), count=5)
    assert await command.run() == "3 submitted, 0 already submitted, 0 bad, 2 failed"
    assert [(bad.line, bad.order_id, bad.reason) for bad in command.failed] == [
        (2, "o-2", "the intake rejected it (Price, CC)"),
        (4, "o-4", "Step Functions was too busy to start it"),
    ]


async def test_orders_that_were_submitted_before_are_compared_with_the_table() -> None:
    rows = [{"Row": number, "Outcome": "already_started"} for number in (1, 2)]
    aws = Intakes(rows=rows, stored={"o-1": stored(1), "o-2": stored(2, Name="Eve")})
    command = Command(aws)
    assert await command.run() == "1 submitted, 1 already submitted, 0 bad, 0 failed, 1 different"
    assert [bad.order_id for bad in command.failed] == ["o-2"]


async def test_a_later_submission_uploads_only_what_may_be_started() -> None:
    statuses = {"o-1": "FULFILLED", "o-2": "ESCALATED"}
    aws = Intakes(
        stored={f"o-{n}": stored(n, Status=statuses[f"o-{n}"]) for n in (1, 2)},
        rows=[{"Row": 2, "Outcome": "not_started"}],
    )
    command = Command(aws, number=2)
    assert await command.run() == "1 submitted, 1 already submitted, 0 bad, 1 failed"
    ((name, given),) = aws.started.items()
    assert given["Submission"] == 2
    assert [line["OrderId"] for line in aws.lines(name)] == ["o-2", "o-3"]
    assert [bad.order_id for bad in command.failed] == ["o-3"], "row 2 of the intake is line 3 of the file"


async def test_nothing_is_started_if_nothing_may_be() -> None:
    aws = Intakes(stored={"o-1": stored(1)})
    command = Command(aws, count=1, number=2)
    assert await command.run() == "0 submitted, 1 already submitted, 0 bad, 0 failed"
    assert (aws.started, aws.objects) == ({}, {})


async def test_a_large_file_is_uploaded_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_submit, "PART_BYTES", 200)
    aws = Intakes()
    command = Command(aws, count=10)
    await command.run()
    (name,) = aws.started
    parts = aws.uploads[f"submitted/{name}.jsonl"]
    assert len(parts) == 4
    assert all(200 <= len(part) < 400 for part in parts[:-1])
    assert aws.lines(name) == [order(number) for number in range(1, 11)]
    assert aws.aborted == []


@pytest.mark.parametrize(("operation", "part_bytes"), [("upload_part", 200), ("put_object", 5_000)])
async def test_a_part_that_is_sent_again_is_sent_from_its_start(
    monkeypatch: pytest.MonkeyPatch, operation: str, part_bytes: int
) -> None:
    monkeypatch.setattr(bulk_submit, "PART_BYTES", part_bytes)
    aws, tries = Intakes(), itertools.count(1)
    send = aws.client.operations[operation]

    def every_other_fails(**request: Any) -> Any:
        if next(tries) % 2:
            request["Body"].read(150)
            raise refused("SlowDown", operation, 503)
        return send(**request)

    aws.client.operations[operation] = every_other_fails
    await Command(aws, count=10).run()
    (name,) = aws.started
    assert aws.lines(name) == [order(number) for number in range(1, 11)]


async def test_a_part_ends_with_the_line_that_makes_it_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    line = len(json.dumps(order(1), separators=(",", ":"))) + 1
    monkeypatch.setattr(bulk_submit, "PART_BYTES", 2 * line)
    aws = Intakes()
    await Command(aws, count=6).run()
    ((parts),) = aws.uploads.values()
    assert [len(part) for part in parts] == [2 * line] * 3


async def test_an_upload_in_one_request_that_fails_leaves_nothing_to_abort() -> None:
    aws = Intakes(failing={"put_object": refused("AccessDenied", "PutObject", 403)})
    with pytest.raises(OperationError, match=r"\(nothing was started; "):
        await Command(aws).run()
    assert aws.aborted == []


async def test_an_upload_that_fails_is_aborted_and_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_submit, "PART_BYTES", 200)
    aws = Intakes(failing={"complete_multipart_upload": refused("AccessDenied", "CompleteMultipartUpload", 403)})
    command = Command(aws, count=10)
    with pytest.raises(OperationError, match=r"\(nothing was started; repeating the command is safe"):
        await command.run()
    assert len(aws.aborted) == 1
    assert aws.started == {}


async def test_a_cancellation_while_the_intake_is_started_says_how_to_find_out() -> None:
    aws, asked = Intakes(), asyncio.Event()
    command = Command(aws)
    start = aws.client.operations["start_execution"]

    async def start_execution(**request: Any) -> None:
        start(**request)
        asked.set()
        await asyncio.Event().wait()  # The answer never comes.

    aws.client.operations["start_execution"] = start_execution
    running = asyncio.create_task(command.run())
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (name,) = aws.started
    assert command.task.so_far().startswith(f"`orders bulk show {name}` says if the intake was started; ")


async def test_a_refused_start_of_the_intake_starts_nothing() -> None:
    aws = Intakes(failing={"start_execution": refused("AccessDenied", "StartExecution", 403)})
    with pytest.raises(OperationError, match=r"\(nothing was started; "):
        await Command(aws).run()


class KilledError(BaseException):
    """A kill -9: nothing of the process runs afterward."""


def kill_at(aws: Intakes, number: int, *, applied: bool) -> list[str]:
    """Let the process end at a call, which is *applied* or not; return the calls before, in which it grows."""
    made = list[str]()

    def killed(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            made.append(name)
            if len(made) == number and applied:
                operation(**request)
            if len(made) >= number:
                raise KilledError
            return operation(**request)

        return call

    operations = dict(aws.client.operations)
    aws.client.operations |= {name: killed(name, operation) for name, operation in operations.items()}
    return made


@pytest.mark.parametrize("applied", [False, True])
async def test_a_command_that_is_killed_at_any_call_is_repeated(
    monkeypatch: pytest.MonkeyPatch, *, applied: bool
) -> None:
    monkeypatch.setattr(bulk_submit, "PART_BYTES", 200)
    every_order = [order(number) for number in range(1, 6)]
    for number in itertools.count(1):
        aws = Intakes()
        alive, made = dict(aws.client.operations), kill_at(aws, number, applied=applied)
        with contextlib.suppress(KilledError):
            await Command(aws, count=5).run()
        if len(made) < number:
            break
        begun = set(aws.started)
        assert begun or "start_execution" not in made[:-1]
        aws.client.operations, aws.looked = alive, 0
        assert await Command(aws, count=5).run() == "5 submitted, 0 already submitted, 0 bad, 0 failed"
        assert len(aws.started) == len(begun) + 1
        for name in aws.started:
            assert aws.lines(name) == every_order, "an intake never reads a part of a file"
    assert {"upload_part", "complete_multipart_upload", "start_execution", "describe_map_run"} <= set(made)


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        ("ABORTED", None, "the intake ended as ABORTED"),
        ("TIMED_OUT", None, "the intake ended as TIMED_OUT"),
        ("FAILED", "FileRefused", "the intake ended as FileRefused"),
    ],
)
async def test_an_intake_that_fails_is_one_line_that_says_how_far_it_came(
    status: str, error: str | None, text: str
) -> None:
    command = Command(Intakes(status=status, error=error))
    with pytest.raises(OperationError) as raised:
        await command.run()
    (name,) = command.begun
    assert str(raised.value) == (
        f"{text} (intake {name}: 3 of 3 rows are done, `orders bulk show {name}` follows it; "
        "repeating the command is safe: it submits nothing twice)"
    )


async def test_rows_that_an_intake_has_lost_are_not_counted_as_submitted() -> None:
    command = Command(Intakes(lost=2))
    with pytest.raises(OperationError, match="the intake does not know what became of 2 of 3 orders"):
        await command.run()
    assert command.task.summary.submitted == 0


async def test_an_intake_that_counts_a_row_twice_misses_none() -> None:
    assert await Command(Intakes(lost=-1)).run() == "3 submitted, 0 already submitted, 0 bad, 0 failed"


async def test_rows_of_an_intake_that_failed_because_of_them_are_named_with_their_line() -> None:
    rows = [{"Row": 2, "Outcome": "not_started"}]
    command = Command(Intakes(rows=rows, status="FAILED", error="RowsNotStarted"))
    assert await command.run() == "2 submitted, 0 already submitted, 0 bad, 1 failed"
    assert [(bad.line, bad.reason) for bad in command.failed] == [(2, "Step Functions was too busy to start it")]


async def test_rows_that_the_report_does_not_list_are_not_counted_as_submitted() -> None:
    aws = Intakes()
    described = aws.client.operations["describe_execution"]

    def unreported(**request: Any) -> Any:
        answer = described(**request)
        if "output" in answer:
            answer["output"] = json.dumps(json.loads(answer["output"]) | {"Unreported": 2})
        return answer

    aws.client.operations["describe_execution"] = unreported
    with pytest.raises(OperationError, match="the intake does not know what became of 2 of 3 orders"):
        await Command(aws).run()


async def test_an_intake_is_looked_at_once_a_second() -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await Command(Intakes(looks=4), poll_s=bulk_submit.POLL_S).run()
    assert loop.time() - began_s == pytest.approx(3, abs=0.1)


def test_parts_of_an_upload_are_as_large_as_s3_wants() -> None:
    assert bulk_submit.PART_BYTES >= 5 * 2**20


async def test_rows_that_the_map_run_does_not_count_are_not_counted_as_submitted() -> None:
    aws = Intakes(lost=2)
    aws.client.operations["list_map_runs"] = lambda **_: {"mapRuns": []}
    with pytest.raises(OperationError, match="the intake does not know what became of 2 of 3 orders"):
        await Command(aws).run()


@pytest.mark.parametrize("numbers", [(1, 3), (2,)])
async def test_rows_whose_report_is_gone_are_not_counted_as_submitted(numbers: Sequence[int]) -> None:
    aws = Intakes(rows=[{"Row": number, "Outcome": "not_started"} for number in numbers])

    def gone(**_: object) -> object:
        raise refused("NoSuchKey", "GetObject")

    aws.client.operations["get_object"] = gone
    with pytest.raises(OperationError, match=rf"^{len(numbers)} rows of the intake's report are gone: it"):
        await Command(aws).run()


async def test_the_first_rows_of_a_report_do_not_stand_for_the_last_ones() -> None:
    aws = Intakes(rows=[{"Row": number, "Outcome": "not_started"} for number in (1, 3)])
    read = aws.client.operations["get_object"]

    def gone(**request: Any) -> Any:
        if request["Key"].endswith("3.json"):
            raise refused("NoSuchKey", "GetObject")
        return read(**request)

    aws.client.operations["get_object"] = gone
    with pytest.raises(OperationError, match=r"^1 rows of the intake's report are gone"):
        await Command(aws).run()


async def test_an_intake_that_aws_never_shows_ends_the_command() -> None:
    aws = Intakes(failing={"describe_execution": refused("ExecutionDoesNotExist")})
    command = Command(aws)
    with pytest.raises(OperationError, match="the intake was started, but AWS does not show it") as raised:
        await command.run()
    assert f"`orders bulk show {command.begun[0]}` follows it" in str(raised.value)
    looks = [operation for operation, _ in aws.client.requests if operation == "describe_execution"]
    assert len(looks) == bulk_submit.MAX_UNKNOWN_POLLS


async def test_after_an_interruption_the_intake_is_named() -> None:
    command = Command(Intakes(looks=1_000_000))
    running = asyncio.ensure_future(command.run())

    def begun(name: str) -> None:
        command.begun.append(name)
        running.cancel()

    command.task._begun = begun
    with pytest.raises(asyncio.CancelledError):
        await running
    assert f"`orders bulk show {command.begun[0]}` follows it" in command.task.so_far()


async def test_more_orders_than_an_intake_takes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bulk_submit.MAX_ROWS == 1_000_000
    monkeypatch.setattr(bulk_submit, "MAX_ROWS", 2)
    aws = Intakes()
    with pytest.raises(OperationError, match="there are 3 orders, more than the 2 of an intake: submit them in parts"):
        await Command(aws).run()
    assert aws.objects == {}
    monkeypatch.setattr(bulk_submit, "MAX_ROWS", 3)
    assert await Command(aws).run() == "3 submitted, 0 already submitted, 0 bad, 0 failed"


async def test_a_stack_without_an_intake_is_named() -> None:
    with pytest.raises(OperationError, match="STATE_MACHINE is Orders: only of a name that ends in Order"):
        await find_place(Intakes().stack(f"{ARN}:stateMachine:Orders"))
    other = STATE_MACHINE.replace(":a-", ":b-")
    with pytest.raises(OperationError, match="there is no state machine b-BulkOrderIntake: deploy the stack"):
        await find_place(Intakes().stack(other))
    with pytest.raises(OperationError, match="has no tag OrderIntakeBucket"):
        await find_place(Intakes(tags=[]).stack())


async def test_intakes_are_listed_with_their_counts() -> None:
    aws = Intakes(rows=[{"Row": 2, "Outcome": "rejected", "Fields": ["CC"]}])
    first, second = Command(aws), Command(aws, count=4)
    for command in (first, second):
        await command.run()
    found = await list_intakes(aws.stack(), 5)
    at, ended_at = "2026-11-22T12:00:00.000000Z", "2026-11-22T12:00:05.000000Z"
    arns = [f"{INTAKE_ARN.replace('stateMachine', 'execution')}:{each.begun[0]}" for each in (second, first)]
    assert found == [
        Intake(second.begun[0], arns[0], "SUCCEEDED", at, ended_at, None, 4, 4, 3, 0, 1, 0, 0),
        Intake(first.begun[0], arns[1], "SUCCEEDED", at, ended_at, None, 3, 3, 2, 0, 1, 0, 0),
    ]
    assert [intake.is_complete for intake in found] == [False, False]
    assert [intake.intake for intake in await list_intakes(aws.stack(), 1)] == second.begun
    assert await find_intake(aws.stack(), "other") is None


@pytest.mark.parametrize("name", ["", "a b", "a/b", "*", "x" * 81, "a\n"])
async def test_a_name_that_no_execution_can_have_is_not_asked_for(name: str) -> None:
    aws = Intakes(failing={"describe_execution": refused("AccessDenied")})
    assert await find_intake(aws.stack(), name) is None


async def test_a_report_is_read_in_the_order_of_the_file_and_ends_when_its_day_is_over() -> None:
    rows = [{"Row": number, "Outcome": "not_started"} for number in (3, 2, 11)]
    aws = Intakes(rows=rows)
    command = Command(aws, count=12)
    await command.run()
    (name,) = command.begun
    found = [row async for row in reported_rows(aws.stack(), BUCKET, name)]
    assert found == [ReportedRow(number, "not_started") for number in (2, 3, 11)]
    for key in [key for key in aws.objects if key.startswith("reports/")]:
        del aws.objects[key]
    assert [row async for row in reported_rows(aws.stack(), BUCKET, name)] == []


async def test_an_error_of_aws_is_not_taken_for_something_missing() -> None:
    rows = [{"Row": 2, "Outcome": "not_started"}]
    aws = Intakes(rows=rows)
    (name,) = (await finished(aws)).begun
    denied = refused("AccessDenied", "any", 403)

    def deny(**_: object) -> object:
        raise denied

    aws.client.operations |= dict.fromkeys(("list_tags_for_resource", "describe_execution", "get_object"), deny)
    for reading in (
        find_place(aws.stack()),
        find_intake(aws.stack(), name),
        anext(reported_rows(aws.stack(), BUCKET, name)),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            await reading


async def finished(aws: Intakes) -> Command:
    command = Command(aws)
    await command.run()
    return command


@pytest.mark.parametrize(
    ("counts", "known", "unknown", "complete"),
    [
        ({}, 0, 0, True),
        ({"started": 0, "rejected": 2, "not_started": 1, "already_started": 0}, 3, 0, False),
        ({"started": 1, "already_started": 2, "rejected": 0, "not_started": 0}, 3, 0, True),
        ({"started": 1, "already_started": 0, "rejected": 0, "not_started": 0}, 1, 2, False),
        ({"started": 2, "already_started": 0, "rejected": 0, "not_started": 1}, 3, 0, False),
        ({"started": 2, "already_started": 0, "rejected": 1, "not_started": 0}, 3, 0, False),
        ({"rows": None, "started": 1, "rejected": 0, "not_started": 0}, 1, 0, True),
        ({"rows": None, "started": 0, "rejected": 0, "not_started": 0}, 0, 0, True),
        ({"status": "FAILED", "started": 3, "rejected": 0, "not_started": 0}, 3, 0, False),
    ],
)
def test_an_intake_is_complete_if_every_row_was_started(
    counts: dict[str, Any], known: int, unknown: int, *, complete: bool
) -> None:
    known_of_it: dict[str, Any] = {
        "intake": "i",
        "execution_arn": "arn",
        "status": "SUCCEEDED",
        "started_at": "",
        "rows": 3,
    }
    intake = Intake(**known_of_it | counts)
    assert (intake.known, intake.unknown, intake.is_complete) == (known, unknown, complete)


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ('{"Key": "dropped/orders.csv"}', "dropped/orders.csv"),
        ('{"Key": "submitted/orders.csv"}', None),
        ('{"Key": 1}', None),
        ("[]", None),
        (None, None),
    ],
)
async def test_an_intake_names_the_file_that_was_dropped(given: str | None, file: str | None) -> None:
    aws = Intakes()
    described = {"status": "RUNNING", "startDate": NOW} | ({} if given is None else {"input": given})
    aws.client.operations["describe_execution"] = lambda **_: described
    intake = await find_intake(aws.stack(), "name")
    assert intake is not None
    assert (intake.file, intake.is_running) == (file, True)
