"""The expressions of the sweep, with what AWS answers and the local AWS never does."""

import json
from typing import Any

import pytest
from jsonata import Jsonata

from deploy.check_state_machine import DEFINITIONS

STATES = json.loads((DEFINITIONS / "stuck-order-sweep.asl.json").read_text(encoding="utf-8"))["States"]
ASKED, LIMIT, READ = STATES["Ask for ages and outages"], STATES["Work out the limit"], STATES["Read the orders"]
LOOK = STATES["Look for stuck orders"]
NOW = "2026-11-22T12:00:00.000Z"


def value(expression: str, state: str = "ENABLED", **variables: Any) -> Any:
    """Return the value of an expression of the definition. Its substitutions are replaced."""
    text = expression[2:-2].replace("${OrderTableName}", "Orders").replace("${StuckAfterMinutes}", "360")
    text = text.replace("${SweepState}", state)
    compiled = Jsonata(text)
    for name, variable in variables.items():
        compiled.assign(name, variable)
    return compiled.evaluate(None)


def metrics(age: object, outages: object = (), status: str = "Complete") -> dict[str, Any]:
    """Return an answer of CloudWatch to all four questions."""
    values = {"fulfillmentAge": age, "escalationAge": [], "fulfillmentOutages": [], "escalationOutages": outages}
    results = [{"Id": name, "StatusCode": status, "Values": given} for name, given in values.items()]
    return {"result": {"MetricDataResults": results}}


@pytest.mark.parametrize(
    ("values", "age"), [([], None), ("", None), ([5], 5), ([5.5, 1799.0, 2], 1799), (["77.5"], 77.5), (["3", "20"], 20)]
)
def test_an_age_is_the_greatest_of_the_last_minutes_in_numbers_or_texts(values: object, age: float | None) -> None:
    assert value(ASKED["Assign"]["fulfillmentAge"], states=metrics(values)) == age


@pytest.mark.parametrize(("values", "outages"), [([], 0), ("", 0), ([1.0, 1.0], 2), (["1.0"], 1)])
def test_outages_of_both_workers_are_counted(values: object, outages: float) -> None:
    assert value(ASKED["Assign"]["outages"], states=metrics([], values)) == outages


@pytest.mark.parametrize(("status", "complete"), [("Complete", True), ("PartialData", False), ("InternalError", False)])
def test_an_answer_of_cloudwatch_that_is_not_complete_is_not_used(status: str, complete: bool) -> None:
    assert value(ASKED["Assign"]["isComplete"], states=metrics([5], status=status)) is complete


@pytest.mark.parametrize(
    ("ages", "messages", "seen", "limit"),
    [
        ((None, None), (0, 0), (True, 0), (None, 0, "2026-11-22T06:00:00.000Z")),
        ((1800.2, 5), (9, 9), (True, 0), (None, 1801, "2026-11-22T05:29:59.000Z")),
        ((5, 1800), (0, 0), (True, 0), (None, 1800, "2026-11-22T05:30:00.000Z")),
        ((None, 60), (0, 3), (True, 0), (None, 60, "2026-11-22T05:59:00.000Z")),
        ((0, 0), (3, 3), (True, 0), (None, 0, "2026-11-22T06:00:00.000Z")),
        ((None, 60), (1, 0), (True, 0), ("AGE_UNKNOWN", None, None)),
        ((60, None), (0, 1), (True, 0), ("AGE_UNKNOWN", None, None)),
        ((60, 60), (0, 0), (False, 0), ("AGE_UNKNOWN", None, None)),
        ((None, None), (0, 0), (False, 0), ("AGE_UNKNOWN", None, None)),
        ((60, 60), (0, 0), (True, 1), ("OUTAGE", 60, "2026-11-22T05:59:00.000Z")),
        ((None, 60), (1, 0), (False, 1), ("OUTAGE", None, None)),
    ],
)
def test_the_limit_is_known_only_if_every_age_is(
    ages: tuple[float | None, float | None],
    messages: tuple[int, int],
    seen: tuple[bool, int],
    limit: tuple[str | None, int | None, str | None],
) -> None:
    found = value(
        LIMIT["Assign"]["limit"],
        states={"context": {"State": {"EnteredTime": NOW}}},
        fulfillmentAge=ages[0],
        escalationAge=ages[1],
        fulfillmentMessages=messages[0],
        escalationMessages=messages[1],
        isComplete=seen[0],
        outages=seen[1],
    )
    deferred, age_s, before = limit
    assert found == {"Deferred": deferred, "LimitSeconds": 21600, "QueueAgeSeconds": age_s, "Before": before}


@pytest.mark.parametrize(("state", "deferred"), [("PENDING", "PENDING"), ("ENABLED", None), ("DISABLED", None)])
def test_while_older_workers_may_run_nothing_is_escalated(state: str, deferred: str | None) -> None:
    known = {"fulfillmentAge": 0, "escalationAge": 0, "isComplete": True, "outages": 0}
    counts = {"fulfillmentMessages": 0, "escalationMessages": 0}
    context = {"context": {"State": {"EnteredTime": NOW}}}
    found = value(LIMIT["Assign"]["limit"], state, states=context, **known, **counts)
    assert found["Deferred"] == deferred


def test_items_that_nobody_can_escalate_take_no_places_of_others() -> None:
    """They were edited by hand: such an id is in no message, and such a time has a space."""
    times = {"not an id": "2020", "é": "2021", "behind": "2026-11-22T01:00:00.000Z", "spaced": "2026-11-22 01:00:00"}
    items = [{"UpdatedAt": {"S": time}, "OrderId": {"S": order_id}} for order_id, time in times.items()]
    found = value(
        LOOK["ItemProcessor"]["States"]["Query a shard"]["Output"]["Found"], states={"result": {"Items": items}}
    )
    shards = [{"Found": found}, {"Found": []}, {"Found": found[:1]}]  # The last one: its key in the index has changed.
    assert value(LOOK["Assign"]["found"], states={"result": shards}) == {"Count": 2, "OrderIds": ["spaced", "behind"]}


def test_only_orders_that_the_table_still_has_as_stuck_are_escalated() -> None:
    """The index lags behind the table."""
    arn = "arn:aws:states:us-east-1:000000000000:execution:Machine:of-"
    stuck = {"OrderId": "stuck", "Status": "RECEIVED", "UpdatedAt": "2026-11-22T01:00:00.000Z"}
    orders = [
        stuck | {"ExecutionArn": f"{arn}stuck"},
        stuck | {"OrderId": "of-no-execution"},
        stuck | {"OrderId": "edited", "ExecutionArn": "x"},
        stuck | {"OrderId": "resubmitted", "UpdatedAt": "2026-11-22T11:00:00.000Z"},
        stuck | {"OrderId": "fulfilled", "Status": "FULFILLED"},
    ]
    items = [{name: {"S": text} for name, text in order.items()} for order in orders]
    found = value(
        READ["Assign"]["stuck"],
        states={"result": {"Responses": {"Orders": items}, "UnprocessedKeys": {}}},
        limit={"Before": "2026-11-22T06:00:00.000Z"},
    )
    since = {"Since": stuck["UpdatedAt"]}
    assert found == [
        {"OrderId": "stuck", **since, "ExecutionArn": f"{arn}stuck"},
        {"OrderId": "of-no-execution", **since},
        {"OrderId": "edited", **since},
    ]


@pytest.mark.parametrize(
    ("unprocessed", "unread"), [({}, False), ({"Orders": {"Keys": [{"OrderId": {"S": "1"}}]}}, True)]
)
def test_orders_that_dynamodb_did_not_read_are_left_to_the_next_sweep(unprocessed: object, unread: bool) -> None:
    states = {"result": {"Responses": {"Orders": []}, "UnprocessedKeys": unprocessed}}
    assert value(READ["Assign"]["unread"], states=states) is unread
