"""Bulk intake on the local AWS: each good row starts once, each bad one is reported by its row, however often."""

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.local.aws import LocalAws
from deploy.progress import Progress
from deploy.stacks.pipeline import up
from tests.integration.command_line import CARD, CommandLine
from tests.integration.pipeline import Pipeline
from tests.integration.test_cards import holds_card
from tests.support import DeployedStack
from workers.domain.ids import execution_name
from workers.domain.submissions import submission_name

PREFIX = "bulk-"
COUNT, EVERY = 200, 100  # One row of a hundred is bad.
FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")
GIVE_UP_S = 240.0  # An intake of this size takes 5 s on an idle machine.
Reported = list[tuple[int, str, tuple[str, ...]]]


@pytest.fixture(scope="module")
def pipeline(local_aws: LocalAws, aws: Aws) -> Pipeline:
    deployed = up(aws, PREFIX, Progress(quiet=True), given={"TakeDroppedFiles": "true"})
    return Pipeline(DeployedStack(local_aws, PREFIX, deployed.outputs))


@pytest.fixture(scope="module")
def orders(pipeline: Pipeline) -> CommandLine:
    return CommandLine(pipeline.stack)


def rows(prefix: str, count: int = COUNT) -> list[dict[str, Any]]:
    """Return orders, of which one of a hundred is bad."""
    found = []
    for number in range(1, count + 1):
        good = {"OrderId": f"{prefix}-{number}", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
        found.append(good | ({"Name": ""} if number % EVERY == 0 else {}))
    return found


def good(prefix: str, count: int = COUNT) -> list[str]:
    return [f"{prefix}-{number}" for number in range(1, count + 1) if number % EVERY]


def put(pipeline: Pipeline, key: str, body: bytes) -> None:
    pipeline.client("s3").put_object(Bucket=pipeline.stack.outputs["OrderIntakeBucketName"], Key=key, Body=body)


def started(pipeline: Pipeline, prefix: str, count: int = COUNT) -> Counter[str]:
    """Return how many executions of each order there are."""
    names = {submission_name(f"{prefix}-{number}", 1): f"{prefix}-{number}" for number in range(1, count + 1)}
    pages = pipeline.client("stepfunctions").get_paginator("list_executions")
    listed = pages.paginate(stateMachineArn=pipeline.stack.state_machine_arn)
    found = (execution["name"] for page in listed for execution in page["executions"])
    return Counter(names[name] for name in found if name in names)


def ended(pipeline: Pipeline, arn: str) -> dict[str, Any]:
    """Wait until an intake has ended."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        found: dict[str, Any] = pipeline.client("stepfunctions").describe_execution(executionArn=arn)
        if found["status"] != "RUNNING":
            return found
        time.sleep(0.2)
    raise AssertionError(f"the intake has not ended within {GIVE_UP_S} s")


def dropped(pipeline: Pipeline, key: str, body: bytes) -> str:
    """Drop a file, and return the ARN of the intake that it starts."""
    arn = pipeline.stack.outputs["BulkOrderIntakeArn"]
    client = pipeline.client("stepfunctions")

    def intakes() -> set[str]:
        return {e["executionArn"] for e in client.list_executions(stateMachineArn=arn)["executions"]}

    before = intakes()
    put(pipeline, key, body)
    deadline = time.monotonic() + GIVE_UP_S
    while not (new := intakes() - before):
        assert time.monotonic() < deadline, "no intake has started"
        time.sleep(0.1)
    (started_,) = new
    return started_


def shown(orders: CommandLine, arn: str) -> tuple[dict[str, Any], Reported]:
    document = json.loads(orders("bulk", "show", execution_name(arn), "--json").out)
    return document, [(row["row"], row["outcome"], tuple(row["fields"])) for row in document.pop("reported")]


def test_a_file_that_is_dropped_starts_each_good_order_once(pipeline: Pipeline, orders: CommandLine) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, (*FIELDS, "Remark"), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows("drop"))
    file = f"\ufeff{text.getvalue()}".encode()  # As Excel saves it.

    first = dropped(pipeline, "incoming/orders.csv", file)
    assert ended(pipeline, first)["status"] == "SUCCEEDED"
    bad: Reported = [(number, "rejected", ("Name",)) for number in (100, 200)]
    document, reported = shown(orders, first)
    assert reported == bad
    assert [
        document[name] for name in ("rows", "started", "already_started", "rejected", "not_started", "unknown")
    ] == [*(COUNT, COUNT - 2, 0, 2, 0, 0)]
    assert started(pipeline, "drop") == Counter(good("drop"))

    beginning = file[: file.index(b"drop-101,")]  # A file of the same name; fewer rows take less time.
    again = dropped(pipeline, "incoming/orders.csv", beginning)
    assert ended(pipeline, again)["status"] == "SUCCEEDED"
    document, reported = shown(orders, again)
    assert [document[name] for name in ("started", "already_started", "rejected")] == [0, 99, 1]
    assert [row for row in reported if row[1] == "rejected"] == bad[:1]
    assert started(pipeline, "drop") == Counter(good("drop"))


def test_an_intake_that_is_stopped_halfway_and_repeated_starts_each_order_once(
    pipeline: Pipeline, orders: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    count = 40
    file.write_text("\n".join(map(json.dumps, rows("stop", count))), encoding="utf-8")
    client = pipeline.client("stepfunctions")
    with orders.start("submit", file, "--bulk") as process:
        deadline = time.monotonic() + GIVE_UP_S
        while len(started(pipeline, "stop", count)) < count // 10:
            assert time.monotonic() < deadline, "no order has started"
        running = client.list_executions(
            stateMachineArn=pipeline.stack.outputs["BulkOrderIntakeArn"], statusFilter="RUNNING"
        )["executions"]
        for execution in running:  # None, if it was faster.
            client.stop_execution(executionArn=execution["executionArn"])
        out, err = process.communicate(timeout=GIVE_UP_S)
    assert CARD not in (out + err).decode()
    assert (process.returncode == 1) == (b"the intake ended as ABORTED" in err), "it may be faster than the stop"

    again = orders("submit", file, "--bulk")
    assert (again.code, again.out.endswith(" already submitted, 0 bad, 0 failed\n")) == (0, True)
    assert started(pipeline, "stop", count) == Counter(good("stop", count))
    once_more = orders("submit", file)
    assert once_more.out == f"0 submitted, {count} already submitted, 0 bad, 0 failed\n"


def test_ctrl_c_leaves_the_intake_running(pipeline: Pipeline, orders: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    count = 50
    file.write_text("\n".join(map(json.dumps, rows("ctrl", count))), encoding="utf-8")
    with orders.start("submit", file, "--bulk") as process:
        assert process.stderr is not None
        line = b""
        while b"intake bulk-" not in line:
            line = process.stderr.readline()
        name = line.split()[1].decode()
        ran = orders.interrupt(process)
    assert ran.code == 130
    assert f"`orders bulk show {name}` follows it" in ran.err
    arn = f"{pipeline.stack.outputs['BulkOrderIntakeArn'].replace(':stateMachine:', ':execution:')}:{name}"
    assert ended(pipeline, arn)["status"] == "SUCCEEDED"
    assert started(pipeline, "ctrl", count) == Counter(good("ctrl", count))


def test_a_command_that_is_killed_and_repeated_at_once_starts_each_order_once(
    pipeline: Pipeline, orders: CommandLine, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl"
    count = 20
    file.write_text("\n".join(map(json.dumps, rows("kill", count))), encoding="utf-8")
    with orders.start("submit", file, "--bulk") as process:
        assert process.stderr is not None
        line = b""
        while b"intake bulk-" not in line:
            line = process.stderr.readline()
        process.kill()
    again = orders("submit", file, "--bulk", "--json")  # Its intake runs at the same time as the first one.
    document = json.loads(again.out)
    assert (again.code, document["submitted"] + document["already_submitted"]) == (0, count)
    first = line.split()[1].decode()
    arn = f"{pipeline.stack.outputs['BulkOrderIntakeArn'].replace(':stateMachine:', ':execution:')}:{first}"
    assert ended(pipeline, arn)["status"] == "SUCCEEDED"
    assert started(pipeline, "kill", count) == Counter(good("kill", count))


def test_a_folder_that_is_made_is_no_file(pipeline: Pipeline, orders: CommandLine) -> None:
    arn = dropped(pipeline, "incoming/", b"")
    assert ended(pipeline, arn)["status"] == "SUCCEEDED"
    shown_ = orders("bulk", "show", execution_name(arn))
    assert (shown_.code, shown_.err) == (0, "")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.xlsx", b"PK\x03\x04"),
        ("no-json.jsonl", b'{"OrderId": "x"\n'),
        ("latin.csv", "OrderId,Name\n1,J\xfcrgen\n".encode("latin-1")),
    ],
)
def test_any_other_file_is_refused_in_one_report(
    pipeline: Pipeline, orders: CommandLine, name: str, body: bytes
) -> None:
    arn = dropped(pipeline, f"incoming/{name}", body)
    assert ended(pipeline, arn)["error"] == "FileRefused"
    document, reported = shown(orders, arn)
    assert (document["status"], document["error"], reported) == ("FAILED", "FileRefused", [])
    assert orders("bulk", "show", execution_name(arn)).code == 1
    report = json.loads(read(pipeline, f"reports/{execution_name(arn)}/report.json"))
    assert report["Outcome"] == "refused"


def test_a_dropped_file_with_a_row_that_was_not_started_ends_as_failed_and_reports_all_rows(
    pipeline: Pipeline, orders: CommandLine
) -> None:
    good_, odd = rows("odd", 1), '{"OrderId": "odd-2", "Name": 1e400}'  # No expression can take this number.
    arn = dropped(pipeline, "incoming/odd.jsonl", f"{json.dumps(good_[0])}\n{odd}".encode())
    assert ended(pipeline, arn)["error"] == "RowsNotStarted"
    document, reported = shown(orders, arn)
    assert (document["file"], document["started"], document["not_started"]) == ("incoming/odd.jsonl", 1, 1)
    assert reported == [(2, "not_started", ())]


def test_a_dropped_file_without_orders_ends_as_failed(pipeline: Pipeline, orders: CommandLine) -> None:
    arn = dropped(pipeline, "incoming/semicolons.csv", f"OrderId;Name;ItemName;Price;CC\n1;A;B;1;{CARD}\n".encode())
    assert ended(pipeline, arn)["error"] == "EveryRowRejected"
    document, reported = shown(orders, arn)
    assert (document["rejected"], document["unknown"], reported) == (1, 0, [(1, "rejected", FIELDS)])


def read(pipeline: Pipeline, key: str) -> str:
    bucket = pipeline.stack.outputs["OrderIntakeBucketName"]
    text: str = pipeline.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    return text


def objects(pipeline: Pipeline) -> Iterator[str]:
    pages = pipeline.client("s3").get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=pipeline.stack.outputs["OrderIntakeBucketName"]):
        yield from (content["Key"] for content in page.get("Contents", ()))


def test_card_numbers_are_in_files_and_inputs_of_children_and_nowhere_else(pipeline: Pipeline) -> None:
    bad = [
        {"OrderId": CARD, "Name": CARD, "ItemName": "x", "Price": "1", "CC": CARD},
        {"OrderId": "cards-2", "Name": 4929123412345678, "ItemName": "", "Price": "1", "CC": CARD},
        [CARD],
        CARD,
        *rows("cards", 3),
    ]
    arn = dropped(pipeline, "incoming/cards.jsonl", "\n".join(map(json.dumps, bad)).encode())
    assert ended(pipeline, arn)["status"] == "SUCCEEDED"
    client = pipeline.client("stepfunctions")

    history = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    assert any("Rejected" in json.dumps(event, default=str) for event in history), "data is included"
    assert not holds_card(json.dumps(history, default=str))
    assert not holds_card(json.dumps(client.describe_execution(executionArn=arn), default=str))
    (run,) = client.list_map_runs(executionArn=arn)["mapRuns"]
    children = client.list_executions(mapRunArn=run["mapRunArn"])["executions"]
    described = [client.describe_execution(executionArn=child["executionArn"]) for child in children]
    assert {child["status"] for child in described} == {"SUCCEEDED"}
    assert any(holds_card(child["input"]) for child in described), "where card numbers are is on docs/card-numbers.md"
    assert not any(holds_card(child["output"]) for child in described)
    keys = list(objects(pipeline))
    assert {key.partition("/")[0] for key in keys} >= {"incoming", "reports"}
    reports = [key for key in keys if not key.startswith(("incoming/", "submitted/"))]
    assert all(key.startswith("reports/") for key in reports)
    assert not holds_card(json.dumps([read(pipeline, key) for key in reports]))
