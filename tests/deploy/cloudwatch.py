"""
The part of CloudWatch that the templates use: filter patterns, AWS's metrics, and everything that uses metrics.

Templates are read with `deploy.stacks.template`. `text` turns a name into one string.
"""

import ast
import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deploy.stacks import template

PIPELINE = template.load(template.PIPELINE)
WORKERS = template.load(template.PIPELINE.with_name("workers.yaml"))
RESOURCES: dict[str, Any] = {**PIPELINE["Resources"], **WORKERS["Resources"]}
OURS = "OrderFulfillment"

_TABLE, _INDEX = frozenset({"TableName"}), frozenset({"TableName", "GlobalSecondaryIndexName"})
_SERVICE = frozenset({"ClusterName", "ServiceName"})

# The metrics that AWS publishes: source, names, and the sets of dimensions they come with.
PUBLISHED: dict[str, tuple[str, frozenset[str], frozenset[frozenset[str]]]] = {
    "AWS/SQS": (
        "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html",
        frozenset(
            {
                "ApproximateAgeOfOldestMessage",
                "ApproximateNumberOfMessagesDelayed",
                "ApproximateNumberOfMessagesNotVisible",
                "ApproximateNumberOfMessagesVisible",
                "NumberOfEmptyReceives",
                "NumberOfMessagesDeleted",
                "NumberOfMessagesReceived",
                "NumberOfMessagesSent",
                "SentMessageSize",
            }
        ),
        frozenset({frozenset({"QueueName"})}),
    ),
    "AWS/States": (
        "https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html",
        frozenset(
            {
                "ExecutionThrottled",  # Singular, unlike the others.
                "ExecutionTime",
                "ExecutionsAborted",
                "ExecutionsFailed",
                "ExecutionsStarted",
                "ExecutionsSucceeded",
                "ExecutionsTimedOut",
            }
        ),
        frozenset({frozenset({"StateMachineArn"})}),
    ),
    "AWS/Lambda": (
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
        frozenset({"ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"}),
        frozenset({frozenset({"FunctionName"})}),
    ),
    "AWS/DynamoDB": (
        "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html",
        # Not ThrottledRequests, which is by table and operation and counts a request only once.
        frozenset({"ReadThrottleEvents", "WriteThrottleEvents"}),
        frozenset({_TABLE, _INDEX}),
    ),
    "AWS/Events": (
        "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html",
        frozenset({"FailedInvocations", "Invocations", "MatchedEvents", "ThrottledRules", "TriggeredRules"}),
        frozenset({frozenset({"RuleName"})}),
    ),
    "AWS/ECS": (
        "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html",
        frozenset({"CPUUtilization", "MemoryUtilization"}),
        frozenset({_SERVICE}),
    ),
    "ECS/ContainerInsights": (
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-ECS.html",
        frozenset({"DesiredTaskCount", "PendingTaskCount", "RunningTaskCount"}),
        frozenset({_SERVICE}),
    ),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that an alarm, a widget or a policy uses."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]


def text(value: Any) -> str:
    """Return a template's string: `NamePrefix` is empty, and any other reference is replaced by its own name."""
    match value:
        case {"Fn::Sub": str(pattern)}:
            return re.sub(r"\$\{([^}]+)\}", lambda found: text({"Ref": found[1]}), pattern)
        case {"Ref": "NamePrefix"}:
            return ""
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), *_]}:
            return name
        case _:
            return str(value)


def of_type(resource_type: str, resources: Mapping[str, Any] = RESOURCES) -> dict[str, dict[str, Any]]:
    """Return the properties of all resources of a type."""
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == resource_type}


def metric(stat: Mapping[str, Any]) -> Metric:
    """Return the metric of a `Metric`, or of an alarm without metric math."""
    dimensions = {dimension["Name"]: text(dimension["Value"]) for dimension in stat.get("Dimensions", [])}
    return Metric(text(stat["Namespace"]), stat["MetricName"], dimensions)


def queried(queries: list[dict[str, Any]]) -> dict[str, Metric]:
    """Return the metrics that metric math uses, by their ids."""
    return {query["Id"]: metric(query["MetricStat"]["Metric"]) for query in queries if "MetricStat" in query}


def alarmed(alarm: Mapping[str, Any]) -> list[Metric]:
    return list(queried(alarm["Metrics"]).values()) if "Metrics" in alarm else [metric(alarm)]


def dashboard() -> list[dict[str, Any]]:
    """Return the dashboard's widgets. Raises `ValueError` if the body is not JSON."""
    widgets: list[dict[str, Any]] = json.loads(text(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]))["widgets"]
    return widgets


def shown(widget: Mapping[str, Any]) -> list[Metric]:
    """Return a widget's metrics. In a list: namespace, name, the dimensions in pairs, and last how it is drawn."""
    found = []
    for namespace, name, *rest in widget["properties"].get("metrics", []):
        pairs = [part for part in rest if isinstance(part, str)]
        found.append(Metric(namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))))
    return found


def computed(queries: Iterable[Mapping[str, Any]], values: Mapping[str, float], parameters: Mapping[str, Any]) -> float:
    """
    Return the result of metric math for one period, from the values of its metrics and of the template's parameters.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    """
    expressions = {
        query["Id"]: _substituted(query["Expression"], parameters) for query in queries if "Expression" in query
    }
    (result,) = [query["Id"] for query in queries if query.get("ReturnData", True)]

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return values[name] if name in values else value(ast.parse(expressions[name], mode="eval").body)
            case ast.BinOp(left=left, op=operator, right=right):
                return _OPERATORS[type(operator)](value(left), value(right))
            case ast.Compare(left=left, ops=[ast.Gt()], comparators=[right]):
                return float(value(left) > value(right))
            case ast.Call(func=ast.Name(id="IF"), args=[condition, yes, no]):
                return value(yes) if value(condition) else value(no)
        raise ValueError(f"not supported: {ast.unparse(node)}")

    return value(ast.Name(id=result))


_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _substituted(expression: Any, parameters: Mapping[str, Any]) -> str:
    pattern = expression["Fn::Sub"] if isinstance(expression, Mapping) else expression
    return re.sub(r"\$\{(\w+)\}", lambda found: str(parameters[found[1]]), pattern)


def matches(pattern: str, line: Mapping[str, Any]) -> bool:
    """
    Return whether a JSON filter pattern matches a log line. Supports what the templates use: `=`, `&&`, `||`, brackets.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/matching-terms-json-log-events.html
    """
    tokens = re.findall(
        r'\(|\)|&&|\|\||=|\$[A-Za-z_.0-9\[\]]+|"[^"]*"|\S', pattern.strip().removeprefix("{").removesuffix("}")
    )
    result = _either(tokens, line)
    if tokens:
        raise ValueError(f"not supported in {pattern}: {tokens}")
    return result


def counted(metric: Metric, log_group: str, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """
    Return the lines of a log group that count for a metric, by the templates' filters.

    A line without the field of a dimension counts for no metric with that dimension.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-logs-metricfilter-dimension.html
    """
    found = []
    for properties in of_type("AWS::Logs::MetricFilter").values():
        (transformation,) = properties["MetricTransformations"]
        dimensions = {dimension["Key"]: dimension["Value"] for dimension in transformation.get("Dimensions", [])}
        if (
            properties["LogGroupName"] == {"Ref": log_group}
            and transformation["MetricName"] == metric.name
            and dimensions.keys() == metric.dimensions.keys()
        ):
            found += [
                line
                for line in lines
                if matches(properties["FilterPattern"], line)
                and all(selected(dimensions[key], line) == value for key, value in metric.dimensions.items())
            ]
    return found


def _either(tokens: list[str], line: Mapping[str, Any]) -> bool:
    result = _both(tokens, line)
    while tokens[:1] == ["||"]:
        tokens.pop(0)
        result = _both(tokens, line) or result
    return result


def _both(tokens: list[str], line: Mapping[str, Any]) -> bool:
    result = _equal(tokens, line)
    while tokens[:1] == ["&&"]:
        tokens.pop(0)
        result = _equal(tokens, line) and result
    return result


def _equal(tokens: list[str], line: Mapping[str, Any]) -> bool:
    first = tokens.pop(0)
    if first == "(":
        result = _either(tokens, line)
        if tokens.pop(0) != ")":
            raise ValueError("a bracket is not closed")
        return result
    equals, value = tokens.pop(0), tokens.pop(0)
    if equals != "=" or not first.startswith("$.") or not value.startswith('"'):
        raise ValueError(f"not an equality: {first} {equals} {value}")
    return bool(selected(first, line) == value.strip('"'))


def selected(selector: str, line: Mapping[str, Any]) -> Any:
    """Return the value that `$.a.b[0]` selects in a line, or None."""
    found: Any = line
    for name, index in re.findall(r"([A-Za-z_0-9]+)|\[([0-9]+)\]", selector.removeprefix("$.")):
        if name:
            found = found.get(name) if isinstance(found, Mapping) else None
        else:
            found = found[int(index)] if isinstance(found, list) and int(index) < len(found) else None
    return found


def fields_of(query: str) -> Iterator[str]:
    """Yield the fields in a Logs Insights query."""
    without_text = re.sub(r'"[^"]*"', "", query)
    aliases = set(re.findall(r"\bas (\w+)", without_text))
    for word in re.findall(r"@?[A-Za-z_]\w*(?!\w*\()", without_text):
        if word not in aliases | _WORDS:
            yield word


_WORDS = frozenset(
    {"fields", "filter", "stats", "sort", "limit", "by", "as", "and", "or", "not", "in", "like", "asc", "desc"}
)
