"""What a Task calls, by its `Resource`: a service and an action, in words."""

import re

# An optimised or SDK integration: https://docs.aws.amazon.com/step-functions/latest/dg/integrate-services.html
_INTEGRATION = re.compile(r":states:::(?:aws-sdk:)?(?P<service>[A-Za-z0-9-]+):(?P<action>[A-Za-z]+)")
_ACTIVITY = re.compile(r":states:[^:]*:[^:]*:activity:(?P<name>.+)")
_FUNCTION = re.compile(r":lambda:[^:]*:[^:]*:function:")
_SERVICES = {
    "cloudwatch": "CloudWatch",
    "dynamodb": "DynamoDB",
    "ecs": "ECS",
    "eventbridge": "EventBridge",
    "events": "EventBridge",
    "http": "HTTP",
    "lambda": "Lambda",
    "s3": "S3",
    "sfn": "Step Functions",
    "sns": "SNS",
    "sqs": "SQS",
    "states": "Step Functions",
}
_ICONS = {
    "cloudwatch": "cloudwatch",
    "dynamodb": "dynamodb",
    "eventbridge": "events",
    "events": "events",
    "lambda": "lambda",
    "s3": "s3",
    "sfn": "states",
    "sqs": "sqs",
    "states": "states",
}
GENERIC = "task"


def action_of(resource: str) -> tuple[str, str]:
    """Return what a Task calls, such as "SQS: SendMessage", and the name of its icon."""
    if found := _INTEGRATION.search(resource):
        service, action = found["service"].lower(), found["action"]
        return f"{_SERVICES.get(service, found['service'])}: {action[0].upper()}{action[1:]}", _ICONS.get(
            service, GENERIC
        )
    if _FUNCTION.search(resource):
        return "Lambda: Invoke", "lambda"
    if found := _ACTIVITY.search(resource):
        return f"Activity: {found['name']}", GENERIC
    return "Task state", GENERIC
