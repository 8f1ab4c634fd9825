"""Bulk intake starts what `orders submit` starts, under the same name, and its report has no values."""

import itertools
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.statemachine.bulk import DEFINITION, MAPS, child_states, evaluate, load, row_states
from tests.statemachine.test_definition import PROPER
from tests.statemachine.test_grammar import generated_orders
from tests.strategies import unicode_text
from workers.domain.submissions import malformed_fields, submission_name
from workers.operations.bulk import EVERY_ROW_REJECTED, ROWS_NOT_STARTED
from workers.operations.bulk_submit import MAX_ROWS

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")
STARTED = "started"


def outcome_of(item: object, row: int = 0, **variables: object) -> Any:
    """Walk a row through its states; return its report, or the arguments with which its order is started."""
    states, state = row_states(), row_states()["Take the order"]
    taken = {"input": {"Row": row, "Intake": "bulk-1", "Submission": 1, "Order": item}}
    known = {"until": time.time() * 1000 + 60_000, **evaluate(state["Assign"], taken), **variables}
    order = {"input": evaluate(state["Output"], taken)}
    choice = states["Is it an order"]
    following = next(
        (option["Next"] for option in choice["Choices"] if evaluate(option["Condition"], order, **known)),
        choice["Default"],
    )
    state = states[following]
    return evaluate(state["Arguments" if state["Type"] == "Task" else "Output"], order, **known)


@given(unicode_text, st.integers(min_value=1, max_value=999_999))
def test_an_intake_names_executions_as_submit_does(order_id: str, submission: int) -> None:
    order_id = order_id.encode("utf-8", "replace").decode()
    arguments = row_states()["Start the order"]["Arguments"]

    name = evaluate(arguments["Name"], {"input": {"OrderId": order_id}}, submission=submission)

    assert name == submission_name(order_id, submission)
    assert re.fullmatch(r"submission-[a-p]{26}-[0-9]+", name)


def test_an_intake_accepts_and_rejects_the_orders_that_submit_does() -> None:
    started = 0
    for order in itertools.islice(generated_orders(), 0, None, 9):  # All are compared in test_grammar.py.
        fields, outcome = malformed_fields(order), outcome_of(order, row=4)
        if fields:
            assert outcome == {"Row": 5, "Outcome": "rejected", "Fields": fields}, order
        else:
            assert outcome["Input"] == {field: order[field] for field in FIELDS}
            started += 1
    assert started > 10


@pytest.mark.parametrize("item", ["text", 5, None, True, [], [PROPER], [[PROPER]]])
def test_a_row_that_is_not_an_object_is_rejected(item: object) -> None:
    assert outcome_of(item) == {"Row": 1, "Outcome": "rejected", "Fields": [*FIELDS]}


def test_other_columns_and_a_byte_order_mark_are_not_part_of_an_order() -> None:
    row = {"\ufeffOrderId": "001", **{field: PROPER[field] for field in FIELDS[1:]}, "Other": "x"}
    assert outcome_of(row)["Input"] == PROPER


def test_a_row_for_which_there_is_no_time_is_reported_and_not_started() -> None:
    assert outcome_of(PROPER, until=0) == {"Row": 1, "Outcome": "not_started"}


def longest_s(task: dict[str, Any]) -> int:
    """Return how long a task takes at most, if each of its tries takes as long as it may."""
    found = task["TimeoutSeconds"]
    retry = task["Retry"][-1]
    for number in range(retry["MaxAttempts"]):
        wait_s = min(retry["IntervalSeconds"] * retry["BackoffRate"] ** number, retry["MaxDelaySeconds"])
        found += wait_s + task["TimeoutSeconds"]
    return int(found)


def test_a_child_reports_its_rows_within_the_5_minutes_of_an_express_execution() -> None:
    states = child_states()
    until_ms = evaluate(states["Take the rows"]["Assign"]["until"], {}) - time.time() * 1000
    tasks = row_states()["Start the order"], states["Report the rows"]
    assert round(until_ms / 1000) + sum(map(longest_s, tasks)) < 300


def test_a_report_without_counts_has_none() -> None:
    for name, outcome in (("File is refused", "refused"), ("Intake failed", "failed")):
        assert load()["States"][name]["Output"] == {"Outcome": outcome}, "rows may be started"


def test_both_kinds_of_files_have_the_same_children_and_results() -> None:
    lines, csv = (load()["States"][name] for name in MAPS)
    different = {"ItemReader", "Label"}
    assert {name: lines[name] for name in lines.keys() - different} == {
        name: csv[name] for name in csv.keys() - different
    }
    assert (lines["ItemReader"]["ReaderConfig"], csv["ItemReader"]["ReaderConfig"]) == (
        {"InputType": "JSONL"},
        {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
    )


def test_a_batch_of_aws_and_a_row_of_the_local_aws_are_the_same_to_a_child() -> None:
    row, state = {"Row": 6, "Intake": "bulk-1", "Order": PROPER}, child_states()["Take the rows"]
    after = row | {"Row": 7}
    for given_, rows in (({"Items": [row, after]}, [row, after]), ({"Items": [row]}, [row]), (row, [row])):
        assert evaluate(state["Output"], {"input": given_}) == {"Rows": rows}
        assert evaluate(state["Assign"], {"input": given_})["part"] == "reports/bulk-1/rows/000000007.json"


REJECTED = {"Row": 7, "Outcome": "rejected", "Fields": ["Price"]}
EXISTING = {"Row": 8, "Outcome": "already_started"}
LATE = {"Row": 9, "Outcome": "not_started"}


@pytest.mark.parametrize(
    ("results", "rows", "counts"),
    [
        ([STARTED], [], {"s": 1}),
        ([STARTED] * 200, [], {"s": 200}),
        ([REJECTED], [REJECTED], {"r": 1}),
        ([STARTED, REJECTED, STARTED, EXISTING, LATE], [REJECTED, EXISTING, LATE], {"s": 2, "r": 1, "a": 1, "n": 1}),
    ],
)
def test_a_child_reports_the_rows_that_it_did_not_start(
    results: list[object], rows: list[object], counts: dict[str, int]
) -> None:
    states = child_states()
    state = states["Start each order"]
    given_ = {"input": {"Rows": [{"Row": 6, "Intake": "bulk-1"}]}, "result": results}

    output = evaluate(state["Output"], given_)

    assert output["Rows"] == rows
    is_done = states["Are there rows to report"]["Choices"][0]["Condition"]
    assert evaluate(is_done, {"input": output}) is (not rows)
    assert evaluate(states["Report the rows"]["Arguments"]["Body"], {"input": output}) == {"Rows": rows}
    assert evaluate(states["Rows are done"]["Output"], {"input": output["Counts"]}) == counts


@pytest.mark.parametrize("count", [1, 3])
def test_rows_of_a_batch_that_an_expression_ends_are_reported_as_not_started(count: int) -> None:
    (catch,) = child_states()["Start each order"]["Catch"]
    rows = [{"Row": 6 + number, "Intake": "bulk-1", "Order": PROPER} for number in range(count)]
    given_ = {"input": {"Rows": rows}}

    output = evaluate(catch["Output"], given_)

    assert output["Rows"] == [{"Row": 7 + number, "Outcome": "not_started"} for number in range(count)]
    assert output["Counts"] == {"s": 0, "a": 0, "r": 0, "n": count}


def test_the_results_of_the_largest_intake_fit_into_a_state() -> None:
    state = load()["States"][MAPS[0]]
    batches = MAX_ROWS // state["ItemBatcher"]["MaxItemsPerBatch"]
    largest = json.dumps({"s": 49, "a": 49, "r": 49, "n": 49, "u": 151}, separators=(",", ":"))
    assert batches * (len(largest) + 1) < 262_144


@pytest.mark.parametrize(("rows", "unknown"), [(400, 0), (600, 200), (399, 0)])
def test_the_batches_counts_are_added_up_and_rows_without_a_count_are_unknown(rows: int, unknown: int) -> None:
    counts = {"Started": [200, 198], "AlreadyStarted": [], "Rejected": [1], "NotStarted": [1], "Unreported": []}
    total = {"Started": 398, "AlreadyStarted": 0, "Rejected": 1, "NotStarted": 1, "Unknown": unknown, "Unreported": 0}
    output = load()["States"]["Sum up"]["Output"]
    assert evaluate(output, {"input": counts}, rows=rows) == {"Outcome": "complete", **total}


def test_the_rows_are_those_of_the_last_map_run() -> None:
    find, count = (load()["States"][name] for name in ("Find the map run", "Count the rows"))
    runs = [{"MapRunArn": f"run-{second}", "StartDate": f"2026-11-26T21:15:0{second}.312Z"} for second in (1, 3, 2)]
    for found, last in ((runs, "run-3"), (runs[:1], "run-1")):
        assert evaluate(find["Assign"], {"result": {"MapRuns": found}}) == {"mapRun": last}
    assert evaluate(find["Arguments"], {"context": {"Execution": {"Id": "arn"}}}) == {"ExecutionArn": "arn"}
    assert evaluate(count["Arguments"], {}, mapRun="run-3") == {"MapRunArn": "run-3"}
    assert evaluate(count["Assign"], {"result": {"ItemCounts": {"Total": 7}}}) == {"rows": 7}
    for state in (find, count):
        assert evaluate(state["Output"], {"input": {"Started": [1]}}) == {"Started": [1]}
        assert [catch["Next"] for catch in state["Catch"]] == ["Intake failed"], "without counts, nothing is complete"
    assert {load()["States"][name]["Next"] for name in MAPS} == {"Find the map run"}


COMPLETE = {"Outcome": "complete", "Started": 0, "AlreadyStarted": 0, "Rejected": 0, "NotStarted": 0, "Unknown": 0}


@pytest.mark.parametrize(
    ("report", "following"),
    [
        (COMPLETE, "Done"),  # An empty file.
        (COMPLETE | {"Started": 1, "Rejected": 5}, "Done"),
        (COMPLETE | {"AlreadyStarted": 1, "Rejected": 5}, "Done"),
        (COMPLETE | {"Started": 5, "NotStarted": 1}, "Rows are not started"),
        (COMPLETE | {"Started": 5, "Unknown": 1}, "Rows are not started"),
        (COMPLETE | {"Rejected": 5, "Unknown": 1}, "Rows are not started"),
        (COMPLETE | {"Rejected": 5}, "Every row is rejected"),
        ({"Outcome": "refused"}, "Refused"),
        ({"Outcome": "failed"}, "Failed"),
    ],
)
def test_an_intake_fails_if_rows_are_not_started_or_none_is_an_order(report: dict[str, object], following: str) -> None:
    state = load()["States"]["How did it end"]
    found = (choice["Next"] for choice in state["Choices"] if evaluate(choice["Condition"], {"input": report}))
    assert next(found, state["Default"]) == following


@pytest.mark.parametrize(
    ("name", "error"),
    [("Rows are not started", ROWS_NOT_STARTED), ("Every row is rejected", EVERY_ROW_REJECTED)],
)
def test_the_counts_of_an_intake_that_fails_are_its_cause(name: str, error: str) -> None:
    state = load()["States"][name]
    assert (state["Error"], json.loads(evaluate(state["Cause"], {"input": COMPLETE}))) == (error, COMPLETE)


@pytest.mark.parametrize(
    ("given_", "following"),
    [
        ({"Key": "incoming/a.jsonl"}, MAPS[0]),
        ({"Key": "incoming/A.NDJSON", "Submission": 2}, MAPS[0]),
        ({"Key": "incoming/a.Csv"}, MAPS[1]),
        ({"Key": "incoming/a.json"}, "File is refused"),
        ({"Key": "incoming/csv"}, "File is refused"),
        ({"Key": "incoming/"}, "Done"),
        ({"Key": "incoming/a.csv/"}, "Done"),
        ({"Key": 5}, "File is refused"),
        ({}, "File is refused"),
    ],
)
def test_a_file_is_read_as_its_name_says(given_: dict[str, object], following: str) -> None:
    state, states = load()["States"]["Look at the file"], {"input": given_}
    found = [choice for choice in state["Choices"] if evaluate(choice["Condition"], states)]
    assert [choice["Next"] for choice in found] == ([] if following == "File is refused" else [following])
    for choice in found if following in MAPS else ():
        assert evaluate(choice["Output"], states) == {"Key": given_["Key"], "Submission": given_.get("Submission", 1)}
    assert state["Default"] == "File is refused"


def test_the_grammar_of_an_order_is_not_stored_a_second_time() -> None:
    text = DEFINITION.read_text(encoding="utf-8")
    assert text.count("${MalformedFields}") == 2 * len(MAPS)
    assert "looks_like_card" not in text
