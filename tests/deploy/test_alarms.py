"""Alarms, dashboard and scaling ask for metrics that there are, and for all that should be watched."""

import re
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.deploy.cloudwatch import (
    OURS,
    PIPELINE,
    PUBLISHED,
    RESOURCES,
    WORKERS,
    Metric,
    alarmed,
    dashboard,
    of_type,
    queried,
    shown,
    text,
)
from workers.fulfillment.handler import MAX_TRIALS
from workers.settings import Worker

ALARMS = of_type("AWS::CloudWatch::Alarm")
QUEUES = of_type("AWS::SQS::Queue")
POLICIES = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
NEVER_MISSING = {"notBreaching", "breaching"}


def extracted() -> dict[str, set[frozenset[str]]]:
    """Return the metrics of our own, with the sets of dimensions that the filters give them."""
    found: dict[str, set[frozenset[str]]] = {}
    for properties in of_type("AWS::Logs::MetricFilter").values():
        for transformation in properties["MetricTransformations"]:
            assert text(transformation["MetricNamespace"]) == OURS
            dimensions = frozenset(each["Key"] for each in transformation.get("Dimensions", []))
            found.setdefault(transformation["MetricName"], set()).add(dimensions)
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
def test_an_alarm_says_what_it_is_and_whom_it_tells(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmName"] == {"Fn::Sub": f"${{NamePrefix}}{name}"}
    assert alarm["AlarmDescription"].endswith(".")
    assert alarm["TreatMissingData"] in NEVER_MISSING
    tells = {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}
    assert alarm["AlarmActions"] == alarm["OKActions"] == tells


@pytest.mark.parametrize("name", ALARMS)
def test_what_an_alarm_computes_with_it_has(name: str) -> None:
    """Each metric is used, and one result is what the alarm looks at."""
    queries: list[dict[str, Any]] = ALARMS[name].get("Metrics", [])
    if not queries:
        return
    (expression,) = [each["Expression"] for each in queries if "Expression" in each]
    assert all(each in expression for each in queried(queries))
    assert [each["Id"] for each in queries if each.get("ReturnData", True)] == ["total"]


@pytest.mark.parametrize("name", [name for name, queue in QUEUES.items() if "RedrivePolicy" in queue])
def test_a_queue_is_watched_for_age_and_for_being_polled(name: str) -> None:
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
def test_a_dead_letter_queue_is_watched_for_holding_anything(name: str) -> None:
    (alarm,) = [alarm for alarm in ALARMS.values() if alarmed(alarm)[0].dimensions == {"QueueName": name}]
    assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"
    assert (alarm["ComparisonOperator"], alarm["Threshold"], alarm["EvaluationPeriods"]) == (
        "GreaterThanThreshold",
        0,
        1,
    )


@pytest.mark.parametrize(("name", "table"), of_type("AWS::DynamoDB::Table").items())
def test_a_table_is_watched_for_throttles_with_all_its_indexes(name: str, table: dict[str, Any]) -> None:
    watched = {(metric.name, *metric.dimensions.values()) for metric in alarmed(ALARMS[f"{name}Throttled"])}
    indexes = {each["IndexName"] for each in table["GlobalSecondaryIndexes"]}
    assert watched == {
        ("ReadThrottleEvents", name),
        ("WriteThrottleEvents", name),
        *(("WriteThrottleEvents", name, index) for index in indexes),
    }


@pytest.mark.parametrize("name", of_type("AWS::DynamoDB::Table"))
def test_a_minute_that_is_not_reported_yet_keeps_no_throttles_quiet(name: str) -> None:
    """Filled with 0 it would. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html"""
    alarm = ALARMS[f"{name}Throttled"]
    assert "FILL" in next(each["Expression"] for each in alarm["Metrics"] if "Expression" in each)
    assert alarm["DatapointsToAlarm"] < alarm["EvaluationPeriods"] - 1


def test_the_state_machine_the_function_and_the_rule_are_watched() -> None:
    watched = {(metric.name, *metric.dimensions.values()) for alarm in ALARMS.values() for metric in alarmed(alarm)}
    assert watched >= {
        ("ExecutionsFailed", "OrderFulfillmentStateMachine"),
        ("ExecutionsTimedOut", "OrderFulfillmentStateMachine"),
        ("ExecutionThrottled", "OrderFulfillmentStateMachine"),
        ("Errors", "VerifyCCAndPrice"),
        ("FailedInvocations", "FailedExecutionsRule"),
        ("CriticalEscalations",),
    }


@pytest.mark.parametrize("name", of_type("AWS::ECS::Service"))
def test_a_deployment_is_rolled_back_where_its_worker_fails_at_its_work(name: str) -> None:
    deployment = RESOURCES[name]["Properties"]["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    alarms = deployment["Alarms"]
    assert (alarms["Enable"], alarms["Rollback"]) == (True, True)
    watched = [metric for each in alarms["AlarmNames"] for metric in alarmed(ALARMS[each["Ref"]])]
    worker = name.removesuffix("Service").lower()
    assert {metric.dimensions["Worker"] for metric in watched} == {worker}
    assert {metric.name for metric in watched} == {"WorkersFailed", "MessagesReleased", "MessagesDeadLettered"}
    # What counts silence as failure would fail the very first deployment.
    assert {ALARMS[each["Ref"]]["TreatMissingData"] for each in alarms["AlarmNames"]} == {"notBreaching"}


def test_the_dashboard_shows_metrics_that_exist() -> None:
    metrics = [metric for widget in dashboard() for metric in shown(widget)]
    assert {metric.name for metric in metrics if metric.namespace == OURS} == set(extracted()) - {
        "CriticalEscalations",  # An alarm of its own.
        "WorkersFailed",  # The same.
    }
    for metric in metrics:
        assert_exists(metric)


def test_the_dashboard_shows_every_alarm() -> None:
    (widget,) = [widget for widget in dashboard() if widget["type"] == "alarm"]
    assert sorted(arn.rpartition(":")[2] for arn in widget["properties"]["alarms"]) == sorted(ALARMS)


def test_the_dashboards_widgets_do_not_overlap() -> None:
    taken = [
        (x, y)
        for each in dashboard()
        for x in range(each["x"], each["x"] + each["width"])
        for y in range(each["y"], each["y"] + each["height"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


@pytest.mark.parametrize("name", POLICIES)
def test_a_worker_is_scaled_by_the_time_its_backlog_takes_a_task(name: str) -> None:
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
    (queue,) = metrics["visible"].dimensions.values()
    task = RESOURCES[f"{worker}Task"]["Properties"]["ContainerDefinitions"][0]
    consumed = {"fulfillment": "ORDER_FULFILLMENT_QUEUE", "escalation": "ESCALATION_QUEUE"}[task["Command"][0]]
    assert queue == text(next(each["Value"] for each in task["Environment"] if each["Name"] == consumed))
    (expression,) = [each["Expression"]["Fn::Sub"] for each in queries if "Expression" in each]
    ms_per_message = WORKERS["Parameters"][f"{worker}MsPerMessage"]["Default"]
    computed = expression.replace(f"${{{worker}MsPerMessage}}", str(ms_per_message))
    assert computed == f"visible / tasks * {ms_per_message} / 1000"
    assert policy["TargetValue"] == {"Ref": "AcceptableLatencyS"}


def test_the_two_stacks_name_nothing_twice() -> None:
    assert not set(PIPELINE["Resources"]) & set(WORKERS["Resources"])


def test_the_runbook_has_a_line_for_every_alarm_and_no_other() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Alarms and what to do")[2]
    rows = [line.split("|")[1:-1] for line in section.partition("###")[0].splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[0])) == sorted(ALARMS)
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)


@pytest.mark.parametrize("worker", ["Fulfillment", "Escalation"])
def test_no_single_message_undoes_a_deployment(worker: str) -> None:
    most = WORKERS["Parameters"]["WorkerMaxDeliveries"]["MaxValue"] + MAX_TRIALS
    assert ALARMS[f"{worker}HandlingFails"]["Threshold"] > most
