"""State machines that call services by their API: what comes back from metrics, queues and an index."""

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab
from tests.aws_facts.tables import table_of
from tests.aws_facts.workflows import WORKFLOW_GUIDE, output_of, task

fact = facts_of("stepfunctions")

_SWEEP = "statemachine/stuck-order-sweep.asl.json"
_SDK = WORKFLOW_GUIDE + "supported-services-awssdk.html"


@fact(
    "Of a metric without data, aws-sdk:cloudwatch:getMetricData has an empty list, complete.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html",
    relied_on_by=(f"{_SWEEP}::MetricDataResults",),
    expected={"values": [], "status": "Complete"},
)
def a_metric_without_data_has_no_values(lab: Lab) -> object:
    metric = {
        "Namespace": "AWS/SQS",
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": f"{lab.prefix}missing"}],
    }
    asked = {
        "StartTime": "{% $fromMillis($toMillis($states.context.State.EnteredTime) - 900000) %}",
        "EndTime": "{% $fromMillis($toMillis($states.context.State.EnteredTime)) %}",
        "MetricDataQueries": [{"Id": "age", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}],
    }
    result = "$states.result.MetricDataResults[0]"
    output = {"values": f"{{% {result}.Values %}}", "status": f"{{% {result}.StatusCode %}}"}
    return output_of(lab, {"Ask": task("aws-sdk:cloudwatch:getMetricData", asked, Output=output)})


@fact(
    "aws-sdk:sqs:getQueueAttributes returns the numbers of messages as texts, by the names of the attributes.",
    source=_SDK,
    relied_on_by=(f"{_SWEEP}::ApproximateNumberOfMessagesDelayed",),
    expected={"visible": "0", "in_flight": "0", "delayed": "0"},
)
def a_state_machine_counts_messages(lab: Lab) -> object:
    names = {
        "visible": "ApproximateNumberOfMessages",
        "in_flight": "ApproximateNumberOfMessagesNotVisible",
        "delayed": "ApproximateNumberOfMessagesDelayed",
    }
    asked = {"QueueUrl": lab.queue(), "AttributeNames": [*names.values()]}
    output = {name: f"{{% $states.result.Attributes.{attribute} %}}" for name, attribute in names.items()}
    return output_of(lab, {"Count": task("aws-sdk:sqs:getQueueAttributes", asked, Output=output)})


@fact(
    "aws-sdk:dynamodb:query and batchGetItem return items as DynamoDB does.",
    source=_SDK,
    relied_on_by=(f"{_SWEEP}::aws-sdk:dynamodb:query", f"{_SWEEP}::aws-sdk:dynamodb:batchGetItem"),
    expected=["swept", "RECEIVED", {}],
)
def a_state_machine_queries_an_index(lab: Lab) -> object:
    table = table_of(lab)
    at, key = "2026-11-22T10:00:00.000Z", f"RECEIVED#{lab.name()}"
    item = {"OrderId": "swept", "OpenKey": key, "UpdatedAt": at, "Status": "RECEIVED"}
    lab.dynamodb.put_item(TableName=table, Item={name: {"S": text} for name, text in item.items()})
    asked = {
        "TableName": table,
        "IndexName": "OpenOrders",
        "KeyConditionExpression": "OpenKey = :key AND UpdatedAt < :before",
        "ExpressionAttributeValues": {":key": {"S": key}, ":before": {"S": "2026-11-23"}},
        "Limit": 101,
    }
    found = {"ids": "{% [$states.result.Items.OrderId.S] %}"}
    read = {
        "RequestItems": {
            table: {
                "Keys": "{% [$states.input.ids.{ 'OrderId': { 'S': $ } }] %}",
                "ConsistentRead": True,
                "ProjectionExpression": "OrderId, #Status",
                "ExpressionAttributeNames": {"#Status": "Status"},
            }
        }
    }
    output = (
        "{% [$states.input.ids[0], $lookup($states.result.Responses, '"
        + table
        + "').Status.S, $states.result.UnprocessedKeys] %}"
    )
    states = {
        "Query": task("aws-sdk:dynamodb:query", asked, Output=found, Next="Read"),
        "Read": task("aws-sdk:dynamodb:batchGetItem", read, Output=output),
    }

    def is_indexed() -> bool:
        answer = lab.dynamodb.query(**{name: value for name, value in asked.items() if name != "Limit"})
        return bool(answer["Items"])

    lab.eventually(is_indexed, wanted=True)
    return output_of(lab, states)


@fact(
    "The Output of a Succeed state is the execution's output.",
    source=WORKFLOW_GUIDE + "state-succeed.html",
    relied_on_by=(f"{_SWEEP}::Nothing was escalated",),
    expected={"a": 1},
)
def a_succeed_state_has_an_output(lab: Lab) -> object:
    return output_of(lab, {"Done": {"Type": "Succeed", "Output": {"a": 1}}})
