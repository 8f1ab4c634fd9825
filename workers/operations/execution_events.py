"""
Reads an execution and its history for people: what happened, without its data.

Nothing here has an input, an output or the parameters of a call: of each event, only fields that are named here are
read, and AWS is asked to leave its data out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code
from workers.domain.cards import looks_like_card
from workers.domain.ids import execution_arn, execution_name
from workers.domain.text import clean
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError
from workers.operations.workflow import Kind, machine_arn, read_definition

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_EVENTS = 3_000  # Of the begin of a history that is read; an order's has about 20.
MAX_LAST_EVENTS = 200  # Of the end of a longer one.
MAX_MAP_RUNS = 5
MAX_CAUSE_CHARS = 1_000
_PAGE = 1_000
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}
# A name that Step Functions allows, and an ARN with one.
_NAME = re.compile(r'[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}')
# What is shown of an event's details. None of it is data of the execution.
_DETAILS = (
    "resourceType",
    "resource",
    "region",
    "timeoutInSeconds",
    "heartbeatInSeconds",
    "index",
    "length",
    "mapRunArn",
    "redriveCount",
    "location",
)


@dataclass(frozen=True, slots=True)
class Run:
    """An execution without its data. *redrives* counts how often it was redriven."""

    kind: Kind
    arn: str
    status: str
    started: datetime
    ended: datetime | None = None
    error: str | None = None
    cause: str | None = None
    redrives: int = 0
    redriven_at: datetime | None = None
    redrive_status: str | None = None

    @property
    def name(self) -> str:
        return execution_name(self.arn)

    @property
    def is_running(self) -> bool:
        return self.status in {"RUNNING", "PENDING_REDRIVE"}


@dataclass(frozen=True, slots=True)
class Event:
    """
    An event of a history, cleaned. *visit* is the id of the event that entered its *state*.

    None for events outside of a state. *details* are names and values, none of them data.
    """

    id: int
    at: datetime
    type: str
    state: str | None = None
    visit: int | None = None
    error: str | None = None
    cause: str | None = None
    details: tuple[tuple[str, str], ...] = ()

    @property
    def time(self) -> str:
        """Its time of day in UTC, with milliseconds."""
        return f"{self.at.astimezone(UTC):%H:%M:%S.%f}"[:-3]


@dataclass(frozen=True, slots=True)
class History:
    """
    The events of an execution.

    *raw* has the first ones as AWS returned them, for the graph. *is_cut*: the history is longer than what was read;
    then *last* has the events at its end.
    """

    raw: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Event] = ()
    last: Sequence[Event] = ()
    is_cut: bool = False

    @property
    def all(self) -> list[Event]:
        return [*self.events, *self.last]


@dataclass(frozen=True, slots=True)
class MapRun:
    """A run of a distributed map, whose children are executions of their own."""

    arn: str
    status: str
    started: datetime
    ended: datetime | None
    items: Mapping[str, int]
    executions: Mapping[str, int]

    @property
    def label(self) -> str:
        """The label of its state, which its ARN has: `...:mapRun:Machine/Label:id`."""
        return self.arn.rpartition("/")[2].partition(":")[0] if "/" in self.arn else ""


async def find_run(stack: "Stack", given: str, kind: Kind | None = None) -> Run | None:
    """
    Return the execution that *given* is the name or the ARN of; None if there is none, or no longer.

    A name is looked for in the state machine *kind*, without it in each of the stack. An ARN of another stack's machine
    is not looked up.
    """
    is_arn = given.startswith("arn:")
    name = execution_name(given)
    if looks_like_card(given) or not _NAME.fullmatch(name):
        return None
    for each in [kind] if kind else list(Kind):
        with suppress(OperationError):  # The order workflow has a name of its own, so the others are not known.
            arn = execution_arn(await machine_arn(stack, each), name)
            if (arn == given or not is_arn) and (run := await read_run(stack, each, arn)):
                return run
    return None


async def read_run(stack: "Stack", kind: Kind, arn: str) -> Run | None:
    """Return an execution; None if it does not exist, or no longer."""
    try:
        found = await stack.stepfunctions.call("describe_execution", executionArn=arn, includedData="METADATA_ONLY")
    except ClientError as error:
        if error_code(error) in _GONE or error_code(error) == "StateMachineDoesNotExist":
            return None
        raise
    return Run(
        kind,
        arn,
        clean(found["status"]),
        found["startDate"],
        found.get("stopDate") if found["status"] != "RUNNING" else None,
        _text(found.get("error")),
        _text(found.get("cause")),
        int(found.get("redriveCount") or 0),
        found.get("redriveDate"),
        _text(found.get("redriveStatus")),
    )


async def read_own_definition(stack: "Stack", arn: str) -> dict[str, Any]:
    """Return the definition that an execution was started with. The state machine may have another one by now."""
    answer = await stack.stepfunctions.call("describe_state_machine_for_execution", executionArn=arn)
    return read_definition(answer["definition"])


async def read_history(stack: "Stack", arn: str, *, at_most: int = MAX_EVENTS) -> History | None:
    """Return the history of an execution; None if it does not exist, or no longer."""
    raw, token = list[Mapping[str, Any]](), None
    try:
        while len(raw) < at_most:
            answer = await _history(stack, arn, {"nextToken": token} if token else {})
            raw += answer["events"]
            if (token := answer.get("nextToken")) is None:
                return History(raw, events_of(raw))
        last = (await _history(stack, arn, {"reverseOrder": True, "maxResults": MAX_LAST_EVENTS}))["events"]
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise
    known = {event["id"] for event in raw}
    return History(raw, events_of(raw), events_of([each for each in reversed(last) if each["id"] not in known]), True)


async def _history(stack: "Stack", arn: str, request: dict[str, Any]) -> Any:
    return await stack.stepfunctions.call(
        "get_execution_history", **{"executionArn": arn, "includeExecutionData": False, "maxResults": _PAGE} | request
    )


def events_of(raw: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Return the events of a history, each with the state that it belongs to."""
    # AWS names the event before each one, so that parallel branches can be told apart. A local AWS does not.
    owners, last = dict[int, tuple[str, int] | None](), None
    events = []
    for event in raw:
        previous = event.get("previousEventId")
        owner = owners.get(previous, last) if previous else last
        if entered := event.get("stateEnteredEventDetails"):
            owner = (clean(entered["name"]), event["id"])
        elif left := event.get("stateExitedEventDetails"):
            name = clean(left["name"])
            owner = owner if owner and owner[0] == name else (name, event["id"])
        owners[event["id"]] = last = owner  # Also after an event of the execution itself, such as a redrive.
        events.append(_event(event, None if event["type"].startswith("Execution") else owner))
    return events


def _event(event: Mapping[str, Any], owner: tuple[str, int] | None) -> Event:
    details: Mapping[str, Any] = next((value for key, value in event.items() if key.endswith("EventDetails")), {})
    return Event(
        event["id"],
        event["timestamp"],
        clean(event["type"]),
        owner[0] if owner else None,
        owner[1] if owner else None,
        _text(details.get("error")),
        _text(details.get("cause")),
        tuple((name, clean(details[name])) for name in _DETAILS if details.get(name) is not None),
    )


async def read_map_runs(stack: "Stack", arn: str) -> list[MapRun]:
    """Return the runs of an execution's distributed maps, the newest first; at most five."""
    answer = await stack.stepfunctions.call("list_map_runs", executionArn=arn)
    newest = sorted(answer["mapRuns"], key=lambda run: run["startDate"], reverse=True)[:MAX_MAP_RUNS]
    found = [await stack.stepfunctions.call("describe_map_run", mapRunArn=run["mapRunArn"]) for run in newest]
    return [
        MapRun(
            clean(run["mapRunArn"]),
            clean(run["status"]),
            run["startDate"],
            run.get("stopDate"),
            _counts(run["itemCounts"]),
            _counts(run["executionCounts"]),
        )
        for run in found
    ]


def _counts(counts: Mapping[str, Any]) -> dict[str, int]:
    names = {"succeeded": "succeeded", "failed": "failed", "timedOut": "timed out", "aborted": "aborted"}
    names |= {"running": "running", "pending": "pending", "total": "total"}
    return {shown: int(counts.get(name) or 0) for name, shown in names.items()}


def _text(value: object) -> str | None:
    """Return a text of a service as it may be shown: cleaned, and not endless."""
    if not value:
        return None
    text = clean(value)
    return text if len(text) <= MAX_CAUSE_CHARS else f"{text[: MAX_CAUSE_CHARS - 1]}…"
