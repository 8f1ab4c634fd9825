"""The figures of deploy/README.md add up and match the templates."""

import itertools
import json
import re

import pytest

from deploy.local.aws import ROOT
from tests.deploy.cloudwatch import PIPELINE, RESOURCES, WORKERS, alarmed, computed, of_type, queried
from tests.statemachine import bulk
from workers.kinds import Worker

TEXT = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
# The states of an intake, in their order.
ENTERED = {
    *("Look at the file", bulk.MAPS[0], "Find the map run", "Count the rows"),
    *("Sum up", "Write the report", "How did it end", "Done"),
}
OUTCOMES = 4  # Of a released message: transient, unexpected_error, timed_out, stopping.


def table(title: str) -> list[list[str]]:
    """Return the cells of the table that follows the line `title`, without its header."""
    lines = TEXT.partition(title)[2].lstrip("\n").splitlines()
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.split("|")[1:-1]])
    return rows[2:]


def number(cell: str) -> float:
    return float(cell.strip("*").replace(",", ""))


def row(title: str, start: str) -> list[str]:
    (found,) = [cells for cells in table(title) if cells[0].startswith(start)]
    return found


PER_MILLION = "Per million valid orders that are fulfilled:\n"
IN_BULK = "submitted [in bulk](../docs/operating.md#submitting-in-bulk), in addition:\n"
PER_MONTH = "Per month, busy or not (730 hours):\n"


@pytest.mark.parametrize("title", [PER_MILLION, IN_BULK, PER_MONTH])
def test_costs_are_quantity_times_price_and_add_up(title: str) -> None:
    *rows, total = table(title)
    assert rows
    for what, quantity, price, cost in rows:
        assert round(number(quantity) * number(price), 2) == number(cost), what
    assert round(sum(number(cost) for *_, cost in rows), 2) == number(total[-1])


def test_the_paid_states_are_those_that_a_valid_order_enters() -> None:
    definition = json.loads((ROOT / "statemachine" / "order-fulfillment.asl.json").read_text(encoding="utf-8"))
    path = [
        "Check the order",
        "Update the order table",
        "Are details Proper",
        "Put message in Queue",
        "Put message in OrderFulfillment Queue",
    ]
    for before, after in itertools.pairwise(path):
        state = definition["States"][before]
        assert after in {state.get("Next"), *(choice["Next"] for choice in state.get("Choices", []))}
    assert definition["StartAt"] == path[0]
    assert definition["States"][path[-1]]["End"] is True
    assert number(row(PER_MILLION, "Step Functions")[1]) == len(path)


def test_the_paid_children_of_an_intake_are_its_batches() -> None:
    (batch,) = {bulk.load()["States"][name]["ItemBatcher"]["MaxItemsPerBatch"] for name in bulk.MAPS}
    batches = 1_000_000 / batch
    requests, seconds, transitions, writes = (number(cells[1]) for cells in table(IN_BULK)[:-1])
    assert (requests * 1000, writes * 1000) == (batches, batches)
    assert seconds == batches * 0.0625 * batch * 0.05
    assert transitions * 1000 == batches + len({*bulk.load()["States"]} & ENTERED)
    total = number(table(PER_MILLION)[-1][-1]) + number(table(IN_BULK)[-1][-1])
    assert f"a million orders cost ${total:.2f}," in TEXT


def test_the_paid_metrics_are_those_of_the_templates() -> None:
    alarms = sum(len(alarmed(alarm)) for alarm in of_type("AWS::CloudWatch::Alarm").values())
    configurations = [
        policy["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
        for policy in of_type("AWS::ApplicationAutoScaling::ScalingPolicy").values()
    ]
    # AWS creates two alarms for each policy, to scale out and in. Both use all of its metrics.
    scaling = 2 * sum(len(queried(configuration["Metrics"])) for configuration in configurations)
    what, quantity, *_ = row(PER_MONTH, "CloudWatch, metrics that alarms look at")
    assert re.findall("[0-9]+", what) == [str(alarms), str(scaling)]
    assert number(quantity) == alarms + scaling
    released = [name for name in of_type("AWS::Logs::MetricFilter") if "Released" in name]
    extracted = len(of_type("AWS::Logs::MetricFilter")) + len(released) * (OUTCOMES - 1)
    assert number(row(PER_MONTH, "CloudWatch, metrics from the log lines")[1]) == extracted


def test_the_paid_sweeps_are_those_of_the_schedule() -> None:
    """A sweep that finds nothing enters every state once but those about orders, and one for each shard."""
    assert PIPELINE["Parameters"]["SweepSchedule"]["Default"] == "rate(1 hour)"
    states = json.loads((ROOT / "statemachine" / "stuck-order-sweep.asl.json").read_text(encoding="utf-8"))["States"]
    entered, name = 0, "Ask for ages and outages"
    while name:
        state = states[name]
        entered += 1 + (len(state["Items"]) if state["Type"] == "Map" else 0)
        name = state.get("Next") or state.get("Default", "")
    what, thousands, *_ = row(PER_MONTH, "Step Functions, thousand state transitions")
    assert f"a sweep of {entered} states every hour" in what
    assert number(thousands) == entered * 730 / 1000
    asked = states["Ask for ages and outages"]["Arguments"]["MetricDataQueries"]
    assert number(row(PER_MONTH, "CloudWatch, thousand metrics that sweeps read")[1]) == len(asked) * 730 / 1000
    written = states["Count stuck orders"]["Arguments"]["MetricData"]
    assert number(row(PER_MONTH, "CloudWatch, metrics from the sweep")[1]) == len(written)


def test_the_paid_tasks_are_those_that_run() -> None:
    parameters = WORKERS["Parameters"]
    cpu = int(parameters["TaskCpu"]["Default"]) / 1024
    memory_gb = int(WORKERS["Mappings"]["MemoryMb"][parameters["TaskCpu"]["Default"]]["Memory"]) / 1024
    what, hours, price, _ = row(PER_MONTH, "Fargate")
    vcpu_price, gb_price = (float(price) for price in re.findall(r"0\.0[0-9]+", what))
    assert number(hours) == 730 * parameters["MinTasks"]["Default"] * len(Worker)
    assert number(price) == pytest.approx(cpu * vcpu_price + memory_gb * gb_price)
    seconds, million = (number(cell) for cell in row(PER_MILLION, "Fargate")[1:3])
    assert seconds == parameters["FulfillmentMsPerMessage"]["Default"] / 1000
    assert million == round(number(price) / 3600 * 1e6, 4)


def test_the_scaling_examples_follow_the_scaling_policy() -> None:
    parameters = WORKERS["Parameters"]
    ms, latency_s = parameters["FulfillmentMsPerMessage"]["Default"], parameters["AcceptableLatencyS"]["Default"]
    rows = table("provider's response time / `WorkerConcurrency`: 300 ms / 150 = 2 ms.\n")
    assert rows
    for waiting, running, seconds, wanted in rows:
        assert number(waiting) / number(running) * ms / 1000 == number(seconds)
        assert -(-number(waiting) * ms / 1000 // latency_s) == number(wanted)


def test_the_examples_with_messages_in_flight_follow_the_scaling_policy() -> None:
    parameters = {name: rule.get("Default") for name, rule in WORKERS["Parameters"].items()}
    policy = RESOURCES["FulfillmentScalingPolicy"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    rows = table("and each probes the provider with one order at a time.\n")
    assert rows
    for waiting, in_flight, running, seconds, wanted in rows:
        values = {"visible": number(waiting), "inFlight": number(in_flight), "tasks": number(running)}
        load_s = computed(policy["CustomizedMetricSpecification"]["Metrics"], values, parameters)
        assert load_s == number(seconds)
        assert -(-number(running) * load_s // parameters["AcceptableLatencyS"]) == number(wanted)


def test_the_growth_table_follows_the_defaults_and_the_index() -> None:
    tasks, ms = (
        WORKERS["Parameters"]["MaxTasks"]["Default"],
        WORKERS["Parameters"]["FulfillmentMsPerMessage"]["Default"],
    )
    rows = {cells[1].split(":")[0]: cells for cells in table("has lower ones.\n")}
    assert number(rows["`MaxTasks`"][0]) == tasks * 1000 / ms
    assert any(
        index["IndexName"] == "OpenOrders" for index in RESOURCES["OrderTable"]["Properties"]["GlobalSecondaryIndexes"]
    )
    assert number(rows["the index `OpenOrders`"][0]) == 16 * 1000 / 2
