"""Alarms, dashboard and scaling use metrics that exist, and cover everything that should be watched."""

import json
import re
from typing import Any

import pytest

from deploy.check_state_machine import DEFINITIONS
from tests.deploy.cloudwatch import (
    OURS,
    PIPELINE,
    PUBLISHED,
    RESOURCES,
    WORKERS,
    Metric,
    alarmed,
    computed,
    dashboard,
    of_type,
    queried,
    shown,
    text,
)
from tests.docs.pages import first_code, page, rows
from workers.kinds import Worker
from workers.trials import MAX_TRIALS

ALARMS = of_type("AWS::CloudWatch::Alarm")
# An alarm that judges a deployment has the release at the end of its name.
JUDGING = {name: alarm for name, alarm in ALARMS.items() if "Release" in name}
QUEUES = of_type("AWS::SQS::Queue")
POLICIES = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
NEVER_MISSING = {"notBreaching", "breaching"}


def extracted() -> dict[str, set[frozenset[str]]]:
    """Return our own metrics, with the sets of dimensions that the filters give them."""
    found: dict[str, set[frozenset[str]]] = {}
    for properties in of_type("AWS::Logs::MetricFilter").values():
        for transformation in properties["MetricTransformations"]:
            assert text(transformation["MetricNamespace"]) == OURS
            dimensions = frozenset(dimension["Key"] for dimension in transformation.get("Dimensions", []))
            found.setdefault(transformation["MetricName"], set()).add(dimensions)
    # The sweep writes a metric itself.
    sweep = json.loads((DEFINITIONS / "stuck-order-sweep.asl.json").read_text(encoding="utf-8"))
    for metric in sweep["States"]["Count stuck orders"]["Arguments"]["MetricData"]:
        found.setdefault(metric["MetricName"], set()).add(frozenset())
    return found


def assert_exists(metric: Metric) -> None:
    dimensions = frozenset(metric.dimensions)
    if metric.namespace == OURS:
        assert dimensions in extracted()[metric.name]
        assert metric.dimensions.get("Worker", "fulfillment") in set(Worker)
    else:
        source, names, dimension_sets = PUBLISHED[metric.namespace]
        assert metric.name in names, source
        assert dimensions in dimension_sets, source


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_about_metrics_that_exist(name: str) -> None:
    for metric in alarmed(ALARMS[name]):
        assert_exists(metric)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_has_name_description_and_topic(name: str) -> None:
    alarm = ALARMS[name]
    release = "-${WorkerRelease}" if name in JUDGING else ""
    assert alarm["AlarmName"] == {"Fn::Sub": f"${{NamePrefix}}{name}{release}"}
    assert alarm["AlarmDescription"].endswith(".")
    if name == "SweepOverdue":  # Nothing is overdue while the schedule is off.
        assert alarm["TreatMissingData"] == {"Fn::If": ["SweepIsEnabled", "breaching", "notBreaching"]}
    else:
        assert alarm["TreatMissingData"] in NEVER_MISSING
    topic = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert alarm["AlarmActions"] == alarm["OKActions"] == topic


@pytest.mark.parametrize("name", ALARMS)
def test_metric_math_uses_all_its_metrics_and_has_one_result(name: str) -> None:
    queries: list[dict[str, Any]] = ALARMS[name].get("Metrics", [])
    if not queries:
        return
    (expression,) = [query["Expression"] for query in queries if "Expression" in query]
    assert all(name in expression for name in queried(queries))
    assert [query["Id"] for query in queries if query.get("ReturnData", True)] == ["total"]


@pytest.mark.parametrize("name", [name for name, queue in QUEUES.items() if "RedrivePolicy" in queue])
def test_a_queue_has_alarms_for_old_messages_and_missing_polls(name: str) -> None:
    watched = {
        (metric.name, alarm["TreatMissingData"])
        for alarm in ALARMS.values()
        for metric in alarmed(alarm)
        if metric.dimensions == {"QueueName": name}
    }
    assert watched == {
        ("ApproximateAgeOfOldestMessage", "notBreaching"),
        ("NumberOfEmptyReceives", "breaching"),
        ("NumberOfMessagesReceived", "breaching"),
    }


@pytest.mark.parametrize("name", [name for name, queue in QUEUES.items() if "RedrivePolicy" not in queue])
def test_a_dead_letter_queue_has_an_alarm_for_any_message(name: str) -> None:
    (alarm,) = [alarm for alarm in ALARMS.values() if alarmed(alarm)[0].dimensions == {"QueueName": name}]
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"]) == (
        "GreaterThanThreshold",
        0,
        1,
    )


@pytest.mark.parametrize(("name", "table"), of_type("AWS::DynamoDB::Table").items())
def test_a_table_has_a_throttle_alarm_with_all_its_indexes(name: str, table: dict[str, Any]) -> None:
    watched = {(metric.name, *metric.dimensions.values()) for metric in alarmed(ALARMS[f"{name}Throttled"])}
    indexes = {index["IndexName"] for index in table["GlobalSecondaryIndexes"]}
    assert watched == {
        ("ReadThrottleEvents", name),
        ("WriteThrottleEvents", name),
        *(("WriteThrottleEvents", name, index) for index in indexes),
    }


@pytest.mark.parametrize("name", of_type("AWS::DynamoDB::Table"))
def test_a_minute_that_is_not_reported_yet_hides_no_throttles(name: str) -> None:
    """It is filled with 0. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html"""
    alarm = ALARMS[f"{name}Throttled"]
    assert "FILL" in next(query["Expression"] for query in alarm["Metrics"] if "Expression" in query)
    assert alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"] - 1


def test_every_schedule_of_the_sweep_is_shorter_than_the_time_after_which_it_is_overdue() -> None:
    alarm, pattern = ALARMS["SweepOverdue"], PIPELINE["Parameters"]["SweepSchedule"]["AllowedPattern"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["Threshold"]) == ("OrdersStuck", "SampleCount", 1)
    allowed = {
        minutes * number
        for unit, minutes in (("minute", 1), ("hour", 60), ("day", 1440))
        for number in range(1, 2000)
        if re.match(pattern, f"rate({number} {unit}{'s' if number > 1 else ''})")
    }
    assert allowed == set(range(1, 721))
    assert alarm["Period"] * alarm["EvaluationPeriods"] >= 60 * 720 * 2


def test_state_machine_function_and_rule_have_alarms() -> None:
    watched = {(metric.name, *metric.dimensions.values()) for alarm in ALARMS.values() for metric in alarmed(alarm)}
    assert watched >= {
        ("ExecutionsFailed", "BulkOrderIntake"),
        ("ExecutionsTimedOut", "BulkOrderIntake"),
        ("ExecutionsFailed", "OrderFulfillmentStateMachine"),
        ("ExecutionsTimedOut", "OrderFulfillmentStateMachine"),
        ("ExecutionThrottled", "OrderFulfillmentStateMachine"),
        ("ExecutionsFailed", "StuckOrderSweep"),
        ("OrdersStuck",),
        ("Errors", "VerifyCCAndPrice"),
        ("FailedInvocations", "FailedExecutionsRule"),
        ("CriticalEscalations",),
        ("NotificationsGivenUp",),
    }


@pytest.mark.parametrize("name", of_type("AWS::ECS::Service"))
def test_a_deployment_is_rolled_back_if_its_worker_fails_at_its_work(name: str) -> None:
    deployment = RESOURCES[name]["Properties"]["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    alarms = deployment["Alarms"]
    assert (alarms["Enable"], alarms["Rollback"]) == (True, True)
    names = judging(name)
    watched = [metric for name in names for metric in alarmed(ALARMS[name])]
    worker = name.removesuffix("Service").lower()
    assert {metric.dimensions["Worker"] for metric in watched} == {worker}
    assert {metric.name for metric in watched} == {"WorkersFailed", "DeliveriesFailed"}
    # If missing data counted as failure, the first deployment would fail.
    assert {ALARMS[name]["TreatMissingData"] for name in names} == {"notBreaching"}


def judging(service: str) -> list[str]:
    """Return the names of the alarms that roll back a deployment of *service*."""
    alarms = RESOURCES[service]["Properties"]["DeploymentConfiguration"]["Alarms"]
    return [name["Ref"] for name in alarms["AlarmNames"]]


@pytest.mark.parametrize("name", of_type("AWS::ECS::Service"))
def test_only_the_new_release_is_judged(name: str) -> None:
    """Its alarms are new, too: one that rang for the last release must not stop the release that fixes it."""
    assert set(judging(name)) <= set(JUDGING)
    for alarm in judging(name):
        (metric,) = alarmed(ALARMS[alarm])
        assert metric.dimensions["Release"] == "WorkerRelease"
        assert "${WorkerRelease}" in ALARMS[alarm]["AlarmName"]["Fn::Sub"]


def test_every_alarm_that_judges_a_release_rolls_it_back_and_no_other_does() -> None:
    assert sorted(alarm for name in of_type("AWS::ECS::Service") for alarm in judging(name)) == sorted(JUDGING)


@pytest.mark.parametrize("name", of_type("AWS::ECS::Service"))
def test_lines_are_counted_before_a_new_task_writes_any(name: str) -> None:
    metrics = {
        (metric.name, metric.dimensions["Worker"]) for alarm in judging(name) for metric in alarmed(ALARMS[alarm])
    }
    log_group = name.replace("Service", "LogGroup")
    filters = {
        filter_name
        for filter_name, properties in of_type("AWS::Logs::MetricFilter").items()
        if properties["LogGroupName"] == {"Ref": log_group}
        and {"Key": "Release", "Value": "$.release"} in properties["MetricTransformations"][0].get("Dimensions", [])
    }
    assert {of_type("AWS::Logs::MetricFilter")[each]["MetricTransformations"][0]["MetricName"] for each in filters} == {
        metric for metric, _ in metrics
    }
    assert set(RESOURCES[name]["DependsOn"]) - set(of_type("AWS::ECS::Service")) == filters


def test_escalation_workers_are_updated_before_those_that_send_to_them() -> None:
    assert "EscalationService" in RESOURCES["FulfillmentService"]["DependsOn"]


@pytest.mark.parametrize("name", JUDGING)
def test_one_hiccup_cannot_roll_back_a_deployment(name: str) -> None:
    """A hiccup of up to a minute, even one that hits all tasks, lies in at most two periods."""
    alarm = ALARMS[name]
    assert alarm["Period"] == 60
    assert 3 <= alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_the_dashboard_shows_metrics_that_exist() -> None:
    metrics = [metric for widget in dashboard() for metric in shown(widget)]
    assert {metric.name for metric in metrics if metric.namespace == OURS} == set(extracted()) - {
        "CriticalEscalations",  # Shown by its alarm.
        "WorkersFailed",  # The same.
        "DeliveriesFailed",
        "OutagesProlonged",
        "NotificationsGivenUp",
    }
    for metric in metrics:
        assert_exists(metric)


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = [widget for widget in dashboard() if widget["type"] == "alarm"]
    arns = [arn.rpartition(":")[2].removesuffix(".Arn") for arn in widget["properties"]["alarms"]]
    assert sorted(arns) == sorted(ALARMS)


def test_the_dashboards_widgets_do_not_overlap() -> None:
    taken = [
        (x, y)
        for widget in dashboard()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("name", POLICIES)
def test_a_worker_is_scaled_by_the_time_that_its_backlog_takes(name: str) -> None:
    policy = POLICIES[name]["TargetTrackingScalingPolicyConfiguration"]
    queries = policy["CustomizedMetricSpecification"]["Metrics"]
    metrics = queried(queries)
    for metric in metrics.values():
        assert_exists(metric)
    worker = name.removesuffix("ScalingPolicy")
    assert metrics["tasks"] == Metric(
        "ECS/ContainerInsights", "RunningTaskCount", {"ClusterName": "Cluster", "ServiceName": f"{worker}Service"}
    )
    assert metrics["visible"].name == "ApproximateNumberOfMessagesVisible"
    assert metrics["inFlight"].name == "ApproximateNumberOfMessagesNotVisible"
    assert metrics["inFlight"].dimensions == metrics["visible"].dimensions
    (queue,) = metrics["visible"].dimensions.values()
    task = RESOURCES[f"{worker}Task"]["Properties"]["ContainerDefinitions"][0]
    consumed = {"fulfillment": "ORDER_FULFILLMENT_QUEUE", "escalation": "ESCALATION_QUEUE"}[task["Command"][0]]
    environment = {variable["Name"]: variable["Value"] for variable in task["Environment"] if "Name" in variable}
    assert queue == text(environment[consumed])
    ms_per_message = WORKERS["Parameters"][f"{worker}MsPerMessage"]["Default"]
    waiting = load(name, visible=12_000, in_flight=0, tasks=3)
    assert waiting == 12_000 / 3 * ms_per_message / 1000
    assert policy["TargetValue"] == {"Ref": "AcceptableLatencyS"}


def load(policy: str, *, visible: float, in_flight: float, tasks: float) -> float:
    """Return the value that a policy tracks, with the parameters' defaults."""
    specification = POLICIES[policy]["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    defaults = {name: rule.get("Default") for name, rule in WORKERS["Parameters"].items()}
    values = {"visible": visible, "inFlight": in_flight, "tasks": tasks}
    return computed(specification["Metrics"], values, defaults)


TARGET_S = WORKERS["Parameters"]["AcceptableLatencyS"]["Default"]
CONCURRENCY = WORKERS["Parameters"]["WorkerConcurrency"]["Default"]


@pytest.mark.parametrize("name", POLICIES)
def test_busy_tasks_are_not_scaled_in(name: str) -> None:
    """With all handlers busy, the value is the target: neither out nor in, even if no message waits."""
    assert load(name, visible=0, in_flight=3 * CONCURRENCY, tasks=3) == TARGET_S
    assert load(name, visible=10, in_flight=3 * CONCURRENCY, tasks=3) == TARGET_S


@pytest.mark.parametrize("name", POLICIES)
def test_half_busy_tasks_are_scaled_in_by_half(name: str) -> None:
    assert load(name, visible=0, in_flight=5 * CONCURRENCY, tasks=10) == TARGET_S / 2


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("in_flight", [3 * CONCURRENCY + 1, 100 * CONCURRENCY, 120_000])
def test_messages_in_flight_never_add_tasks(name: str, in_flight: int) -> None:
    """Prefetched ones, held ones and those that wait for their next attempt have a task, or need none yet."""
    assert load(name, visible=0, in_flight=in_flight, tasks=3) == TARGET_S


@pytest.mark.parametrize("name", POLICIES)
def test_in_an_outage_only_waiting_messages_add_tasks_up_to_the_maximum(name: str) -> None:
    held = {"in_flight": 3 * CONCURRENCY, "tasks": 3}
    assert load(name, visible=0, **held) == TARGET_S
    assert load(name, visible=1_000_000, **held) == load(name, visible=1_000_000, in_flight=0, tasks=3) > TARGET_S
    target = name.replace("ScalingPolicy", "Scaling")
    assert RESOURCES[target]["Properties"]["MaxCapacity"] == {"Ref": "MaxTasks"}


@pytest.mark.parametrize("name", POLICIES)
def test_an_empty_queue_leaves_the_least_tasks(name: str) -> None:
    assert load(name, visible=0, in_flight=0, tasks=10) == 0
    target = name.replace("ScalingPolicy", "Scaling")
    assert RESOURCES[target]["Properties"]["MinCapacity"] == {"Ref": "MinTasks"}


@pytest.mark.parametrize("name", POLICIES)
def test_scaling_uses_every_metric_and_expression(name: str) -> None:
    specification = POLICIES[name]["TargetTrackingScalingPolicyConfiguration"]["CustomizedMetricSpecification"]
    ids = {query["Id"] for query in specification["Metrics"]}
    words = {
        word
        for query in specification["Metrics"]
        for word in re.findall(r"[A-Za-z]+", text(query.get("Expression", "")))
    }
    assert ids - words == {"load"}


@pytest.mark.parametrize("expression", ["visible ** 2", "MAX(visible, 1)", "visible < 1", "other"])
def test_unsupported_metric_math_is_refused(expression: str) -> None:
    with pytest.raises((KeyError, ValueError)):
        computed([{"Id": "load", "Expression": expression}], {"visible": 1}, {})


def test_no_logical_id_is_in_both_templates() -> None:
    assert not set(PIPELINE["Resources"]) & set(WORKERS["Resources"])


def test_the_runbook_has_a_line_for_every_alarm_and_no_other() -> None:
    lines = list(rows(page("docs/runbook.md")))
    assert sorted(name for cells in lines for name in first_code(cells[0])) == sorted(ALARMS)
    assert all(len(cells) == 4 and all(cells) for cells in lines)


@pytest.mark.parametrize("worker", ["Fulfillment", "Escalation"])
def test_a_single_message_cannot_roll_back_a_deployment(worker: str) -> None:
    most = WORKERS["Parameters"]["WorkerMaxDeliveries"]["MaxValue"] + MAX_TRIALS
    alarm = ALARMS[f"{worker}ReleaseHandlingFails"]
    assert alarm["Threshold"] * alarm["DatapointsToAlarm"] > most
    assert ALARMS[f"{worker}HandlingFails"]["Threshold"] > most


@pytest.mark.parametrize("worker", ["Fulfillment", "Escalation"])
def test_an_outage_rings_and_rolls_nothing_back(worker: str) -> None:
    assert alarmed(ALARMS[f"{worker}Outage"]) == [Metric(OURS, "OutagesProlonged", {"Worker": worker.lower()})]
    assert f"{worker}Outage" not in judging(f"{worker}Service")
    # Lines come every minute. A longer period keeps the alarm from going off and on between two of them.
    assert ALARMS[f"{worker}Outage"]["Period"] > 60
