"""What a history says about an execution: the states it visited, what came of each, and the lines it took."""

from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from tests.workers.console.graph.machines import STARTED, History, definition
from workers.console.graph.definition import END, START
from workers.console.graph.path import MAX_CAUSE, Outcome, Path, read_path


def outcomes(path: Path) -> dict[str, str]:
    return {name: str(visit.outcome) for name, visit in path.states.items()}


def test_an_execution_that_succeeds() -> None:
    history = History()
    history.passed("A", "Choice")
    history.task("B", failures=2)
    history.add("ExecutionSucceeded")
    path = read_path(history.events)
    assert (path.outcome, path.started, path.retries) == (Outcome.SUCCEEDED, STARTED, 2)
    assert path.ended == STARTED + timedelta(seconds=len(history.events) - 1)
    assert outcomes(path) == {"A": "succeeded", "B": "succeeded"}
    assert path.lines == {(START, "A"), ("A", "B"), ("B", END)}
    visit = path.states["B"]
    assert (visit.kind, visit.tries, visit.retries, visit.visits, visit.next) == ("Task", 3, 2, 1, None)
    assert (visit.entered, visit.seconds) == (STARTED + timedelta(seconds=3), 9.0)
    assert (visit.error, visit.cause) == (None, None)
    assert path.steps == (path.states["A"], visit)
    assert path.states["A"].next == "B"


def test_an_error_that_is_caught_is_no_failure() -> None:
    history = History()
    history.task("A", failures=2, succeeds=False)
    history.task("B")
    history.add("ExecutionSucceeded")
    path = read_path(history.events)
    assert outcomes(path) == {"A": "caught", "B": "succeeded"}
    assert (path.states["A"].tries, path.states["A"].error) == (2, "Lambda.Down")
    assert ("A", "B") in path.lines


def test_a_fail_state_leads_to_no_end() -> None:
    history = History()
    history.passed("A")
    history.enter("No", "Fail")
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "Refused", "cause": "a < b"})
    path = read_path(history.events)
    assert (path.outcome, path.error, path.cause) == (Outcome.FAILED, "Refused", "a < b")
    assert outcomes(path) == {"A": "succeeded", "No": "failed"}
    assert (path.states["No"].error, path.states["No"].seconds) == ("Refused", 1.0)
    assert path.lines == {(START, "A"), ("A", "No")}


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        ("TaskFailed", "failed"),
        ("TaskTimedOut", "timed_out"),
        ("TaskStartFailed", "failed"),
        ("TaskSubmitFailed", "failed"),
        ("LambdaFunctionFailed", "failed"),
        ("LambdaFunctionTimedOut", "timed_out"),
        ("LambdaFunctionScheduleFailed", "failed"),
        ("ActivityTimedOut", "timed_out"),
        ("EvaluationFailed", "failed"),
    ],
)
def test_a_task_fails_with_its_own_error(failure: str, outcome: str) -> None:
    history = History()
    history.enter("A")
    history.add("TaskScheduled")
    details = f"{failure[0].lower()}{failure[1:]}EventDetails"
    history.add(failure, None, **{details: {"error": "Own", "cause": "why"}})
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "Own"})
    path = read_path(history.events)
    visit = path.states["A"]
    assert (visit.outcome, visit.error, visit.cause) == (outcome, "Own", "why")
    assert visit.left == path.ended


@pytest.mark.parametrize("scheduled", ["TaskScheduled", "LambdaFunctionScheduled", "ActivityScheduled"])
def test_a_try_that_succeeds_ends_what_failed_before(scheduled: str) -> None:
    history = History()
    history.enter("A")
    history.add(scheduled)
    history.add("TaskTimedOut", taskTimedOutEventDetails={"error": "States.Timeout"})
    history.add(scheduled)
    history.add("TaskSucceeded")
    history.exit("A")
    visit = read_path(history.events).states["A"]
    assert (visit.outcome, visit.tries, visit.error) == (Outcome.SUCCEEDED, 2, None)


def test_a_try_that_runs_has_not_failed_as_the_one_before_it() -> None:
    history = History()
    history.enter("A")
    history.add("TaskScheduled")
    history.add("TaskTimedOut", taskTimedOutEventDetails={"error": "States.Timeout"})
    history.add("TaskScheduled")
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "Own"})
    visit = read_path(history.events).states["A"]
    assert (visit.outcome, visit.tries) == (Outcome.FAILED, 2)


def test_a_fail_state_has_failed_before_its_execution_has_ended() -> None:
    history = History()
    history.enter("No", "Fail")
    assert outcomes(read_path(history.events)) == {"No": "failed"}


def test_a_running_execution_has_a_running_state() -> None:
    history = History()
    history.passed("A")
    history.enter("B")
    history.tried(failures=1, succeeds=False)
    path = read_path(history.events)
    assert (path.outcome, path.ended) == (Outcome.RUNNING, None)
    assert outcomes(path) == {"A": "succeeded", "B": "running"}
    assert (path.states["B"].left, path.states["B"].seconds, path.states["B"].error) == (None, None, "Lambda.Down")


@pytest.mark.parametrize(("end", "outcome"), [("ExecutionAborted", "aborted"), ("ExecutionTimedOut", "timed_out")])
def test_an_execution_that_is_stopped_ends_its_open_states(end: str, outcome: str) -> None:
    history = History()
    history.passed("A")
    history.enter("B", "Wait")
    history.add(end)
    path = read_path(history.events)
    assert (path.outcome, outcomes(path)) == (outcome, {"A": "succeeded", "B": outcome})
    assert ("B", END) not in path.lines


def test_a_map_has_the_visits_of_all_its_items() -> None:
    history = History()
    history.enter("Map", "Map")
    started = history.add("MapStateStarted", mapStateStartedEventDetails={"length": 2})
    first = history.iteration("Map", 0, "Started", after=started)
    second = history.iteration("Map", 1, "Started", after=started)
    one = history.enter("Inside", after=first)
    two = history.enter("Inside", after=second)
    # The two items take turns.
    failed = history.add("TaskFailed", history.add("TaskScheduled", two), taskFailedEventDetails={"error": "Busy"})
    one = history.exit("Inside", after=history.add("TaskSucceeded", history.add("TaskScheduled", one)))
    history.iteration("Map", 0, "Succeeded", after=one)
    two = history.exit("Inside", after=history.add("TaskSucceeded", history.add("TaskScheduled", failed)))
    history.iteration("Map", 1, "Succeeded", after=two)
    history.add("MapStateSucceeded")
    history.exit("Map", "Map")
    history.passed("After")
    history.add("ExecutionSucceeded")
    path = read_path(history.events)
    inside = path.states["Inside"]
    assert (inside.visits, inside.tries, inside.retries, inside.outcome) == (2, 3, 1, Outcome.SUCCEEDED)
    assert inside.container == "Map"
    assert inside.left == max(step.left for step in path.steps if step.name == "Inside" and step.left)
    assert (path.states["Map"].tries, path.states["Map"].outcome) == (1, Outcome.SUCCEEDED)
    assert path.lines == {(START, "Map"), (START, "Inside"), ("Inside", END), ("Map", "After"), ("After", END)}


@pytest.mark.parametrize("is_caught", [True, False])
def test_a_map_fails_with_the_error_of_its_item(*, is_caught: bool) -> None:
    history = History()
    history.enter("Map", "Map")
    started = history.add("MapStateStarted")
    open_ = history.enter("Inside", after=history.iteration("Map", 0, "Started", after=started))
    history.enter("Inside", after=history.iteration("Map", 1, "Started", after=started))
    history.tried(failures=1, succeeds=False, error="Busy")
    history.iteration("Map", 1, "Failed")
    history.iteration("Map", 0, "Aborted", after=open_)
    history.add("MapStateFailed", after=len(history.events) - 1)
    if is_caught:
        history.exit("Map", "Map")
        history.passed("After")
        history.add("ExecutionSucceeded")
    else:
        history.add("ExecutionFailed", executionFailedEventDetails={"error": "Busy"})
    path = read_path(history.events)
    assert [(step.name, str(step.outcome), step.error) for step in path.steps[:3]] == [
        ("Map", "caught" if is_caught else "failed", "Busy"),
        ("Inside", "aborted", None),
        ("Inside", "failed", "Busy"),
    ]
    assert path.states["Inside"].outcome == Outcome.FAILED
    failed = next(event for event in history.events if event["type"] == "MapIterationFailed")
    assert path.steps[2].left == failed["timestamp"]
    assert ("Inside", END) not in path.lines


def test_branches_that_run_at_once_are_told_apart() -> None:
    history = History()
    history.enter("Both", "Parallel")
    started = history.add("ParallelStateStarted")
    left = history.exit("Left 1", "Pass", after=history.enter("Left 1", "Pass", after=started))
    right = history.exit("Right 1", "Pass", after=history.enter("Right 1", "Pass", after=started))
    left = history.exit("Left 2", "Pass", after=history.enter("Left 2", "Pass", after=left))
    history.exit("Right 2", "Pass", after=history.enter("Right 2", "Pass", after=right))
    history.add("ParallelStateSucceeded")
    history.exit("Both", "Parallel")
    history.add("ExecutionSucceeded")
    path = read_path(history.events)
    assert set(outcomes(path).values()) == {"succeeded"}
    assert path.lines == {
        (START, "Both"),
        (START, "Left 1"),
        (START, "Right 1"),
        ("Left 1", "Left 2"),
        ("Right 1", "Right 2"),
        ("Left 2", END),
        ("Right 2", END),
        ("Both", END),
    }


def test_a_state_after_no_event_is_the_first_of_its_machine() -> None:
    history = History()
    history.passed("A")
    history.enter("B", "Pass", after=0)
    assert read_path(history.events).lines == {(START, "A"), (START, "B")}


def test_the_end_of_a_parallel_state_is_not_that_of_a_state_inside() -> None:
    history = History()
    history.enter("Both", "Parallel")
    history.enter("Slow", "Wait", after=history.add("ParallelStateStarted"))
    history.exit("Both", "Parallel")
    assert outcomes(read_path(history.events)) == {"Both": "succeeded", "Slow": "running"}


def test_an_item_that_fails_does_not_fail_what_its_map_is_inside() -> None:
    history = History()
    history.enter("Both", "Parallel")
    history.enter("Map", "Map", after=history.add("ParallelStateStarted"))
    history.iteration("Map", 0, "Started", after=history.add("MapStateStarted"))
    history.enter("Bad")
    history.tried(failures=1, succeeds=False)
    history.iteration("Map", 0, "Failed")
    path = read_path(history.events)
    assert outcomes(path) == {"Both": "running", "Map": "running", "Bad": "failed"}
    assert (path.states["Map"].error, path.states["Both"].error) == ("Lambda.Down", None)


def test_an_event_of_a_map_outside_of_any_changes_nothing() -> None:
    history = History()
    history.enter("A")
    history.add("MapStateStarted")
    history.add("ParallelStateSucceeded")
    visit = read_path(history.events).states["A"]
    assert (visit.outcome, visit.tries) == (Outcome.RUNNING, 1)


def test_a_branch_that_fails_aborts_the_others() -> None:
    history = History()
    history.enter("Both", "Parallel")
    started = history.add("ParallelStateStarted")
    history.enter("Slow", "Wait", after=started)
    history.enter("Bad", after=started)
    history.tried(failures=1, succeeds=False, error="Bad.Luck")
    history.add("ParallelStateFailed")
    history.exit("Both", "Parallel")
    history.passed("After")
    path = read_path(history.events)
    assert outcomes(path) == {"Both": "caught", "Slow": "aborted", "Bad": "failed", "After": "succeeded"}
    assert path.states["Both"].error == "Bad.Luck"


def test_a_distributed_map_has_the_error_of_its_run() -> None:
    history = History()
    history.enter("Map", "Map")
    history.add("MapStateStarted")
    history.add("MapRunStarted", mapRunStartedEventDetails={"mapRunArn": "arn"})
    history.add("MapRunFailed", mapRunFailedEventDetails={"error": "States.ItemReaderFailed", "cause": "no such key"})
    history.add("MapStateFailed")
    history.exit("Map", "Map")
    history.passed("Refused")
    path = read_path(history.events)
    visit = path.states["Map"]
    assert (visit.outcome, visit.tries, visit.error) == (Outcome.CAUGHT, 1, "States.ItemReaderFailed")


def test_a_local_aws_shows_nothing_from_inside_a_map() -> None:
    sweep = definition("stuck-order-sweep")
    history = History(is_local=True)
    history.enter("Look for stuck orders", "Map")
    history.tried(failures=3, succeeds=False)  # These are tasks inside it.
    history.exit("Look for stuck orders", "Map")
    history.enter("Sweep failed", "Fail")
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "SweepFailed"})
    visit = read_path(history.events, sweep).states["Look for stuck orders"]
    assert (visit.outcome, visit.tries) == (Outcome.CAUGHT, 1)
    history.events[-2]["stateEnteredEventDetails"]["name"] = "Is an order stuck"
    assert read_path(history.events, sweep).states["Look for stuck orders"].outcome == Outcome.SUCCEEDED


def test_a_state_that_is_visited_again_is_counted() -> None:
    history = History()
    for _ in range(3):
        history.passed("Wait", "Wait")
        history.passed("Done?", "Choice")
    history.passed("End")
    path = read_path(history.events)
    assert (path.states["Wait"].visits, path.states["Wait"].seconds, path.states["Wait"].retries) == (3, 3.0, 0)
    assert path.states["Wait"].entered == STARTED + timedelta(seconds=1)
    assert path.states["Wait"].left == STARTED + timedelta(seconds=10)
    assert path.states["Done?"].next == "End"
    assert path.lines == {(START, "Wait"), ("Wait", "Done?"), ("Done?", "Wait"), ("Done?", "End")}
    assert [step.name for step in path.steps] == ["Wait", "Done?"] * 3 + ["End"]


@pytest.mark.parametrize("enters_again", [True, False])
def test_an_execution_that_is_redriven_goes_on(*, enters_again: bool) -> None:
    history = History()
    history.passed("A")
    history.enter("B")
    history.tried(failures=1, succeeds=False)
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "Lambda.Down"})
    history.add("ExecutionRedriven", executionRedrivenEventDetails={"redriveCount": 1})
    path = read_path(history.events)
    assert (path.outcome, path.ended, path.error, path.cause) == (Outcome.RUNNING, None, None, None)
    if enters_again:
        history.enter("B")
    history.tried(failures=0)
    history.exit("B")
    history.add("ExecutionSucceeded")
    path = read_path(history.events)
    assert (path.outcome, path.error) == (Outcome.SUCCEEDED, None)
    assert path.steps[-1].outcome == Outcome.SUCCEEDED
    assert path.lines == {(START, "A"), ("A", "B"), ("B", END)}


def test_texts_of_a_service_are_on_one_line_masked_and_cut() -> None:
    history = History()
    history.enter("A")
    history.tried(failures=1, succeeds=False, error="Own\x1b", cause="card 4929 1234 1234 5678\n" + "x" * 40_000)
    history.add("ExecutionFailed", executionFailedEventDetails={"error": "Own", "cause": "y" * 40_000})
    path = read_path(history.events)
    visit = path.states["A"]
    assert visit.error == "Own\N{REPLACEMENT CHARACTER}"
    assert visit.cause
    assert visit.cause.startswith("card **** xxx")
    assert [len(cause or "") for cause in (visit.cause, path.cause)] == [MAX_CAUSE, MAX_CAUSE]


@pytest.mark.parametrize("first", range(1, 12))
def test_any_part_of_a_history_can_be_read(first: int) -> None:
    history = History()
    history.task("A", failures=1)
    history.enter("Map", "Map")
    history.iteration("Map", 0, "Started", after=history.add("MapStateStarted"))
    history.task("Inside")
    history.iteration("Map", 0, "Succeeded")
    history.add("MapStateSucceeded")
    history.exit("Map", "Map")
    history.add("ExecutionSucceeded")
    for last in range(first, len(history.events)):
        path = read_path(history.events[first:last])
        assert path.ended is None
        assert len(path.steps) <= 3


def test_times_are_utc() -> None:
    history = History()
    history.passed("A")
    events: list[dict[str, Any]] = [
        event | {"timestamp": event["timestamp"].astimezone(timezone(timedelta(hours=2)))} for event in history.events
    ]
    visit = read_path(events).states["A"]
    assert visit.entered.tzinfo is UTC
    assert read_path(events) == read_path(history.events)


@pytest.mark.parametrize(("end", "outcome"), [("Succeeded", Outcome.SUCCEEDED), ("Failed", Outcome.FAILED)])
def test_an_execution_may_end_before_it_enters_a_state(end: str, outcome: Outcome) -> None:
    history = History()
    history.add(f"Execution{end}")
    path = read_path(history.events)
    assert (path.outcome, path.steps, path.lines) == (outcome, (), frozenset())


def test_an_execution_without_events_is_running() -> None:
    assert read_path([]) == Path()
