"""
What CloudFormation calls to create, read, change and delete a resource. It calls with the credentials of its caller.

The source of each entry is `handlers.*.permissions` in the schema of the type, which `aws cloudformation describe-type
--type RESOURCE --type-name AWS::...` returns. A schema lists what any property may need. Here is what the properties in
our templates need.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deploy.stacks import template
from tests.deploy.permissions import ACCOUNT, ANY, Permission, arn

PREFIX = "deployer-"

_ROLE_ACTIONS = """
    iam:CreateRole iam:DeleteRole iam:DeleteRolePermissionsBoundary iam:DeleteRolePolicy iam:GetRole iam:GetRolePolicy
    iam:ListAttachedRolePolicies iam:ListRolePolicies iam:PassRole iam:PutRolePermissionsBoundary iam:PutRolePolicy
    iam:TagRole iam:UntagRole iam:UpdateAssumeRolePolicy
"""
_HANDLERS: Mapping[str, str] = {
    # Deletion is not CloudFormation's: the tables are retained. Without Kinesis, imports, replicas, auto scaling.
    "AWS::DynamoDB::Table": """
        dynamodb:CreateTable dynamodb:DescribeContinuousBackups dynamodb:DescribeContributorInsights
        dynamodb:DescribeKinesisStreamingDestination dynamodb:DescribeTable dynamodb:DescribeTimeToLive
        dynamodb:ListTagsOfResource dynamodb:TagResource dynamodb:UntagResource dynamodb:UpdateContinuousBackups
        dynamodb:UpdateTable dynamodb:UpdateTimeToLive
    """,
    "AWS::SQS::Queue": """
        sqs:CreateQueue sqs:DeleteQueue sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ListQueueTags sqs:SetQueueAttributes
        sqs:TagQueue sqs:UntagQueue
    """,
    "AWS::SQS::QueuePolicy": "",  # sqs:SetQueueAttributes, see above.
    # Without AttachRolePolicy: no role has a managed policy.
    "AWS::IAM::Role": _ROLE_ACTIONS,
    "AWS::Logs::LogGroup": """
        logs:AssociateKmsKey logs:CreateLogGroup logs:DeleteLogGroup logs:DisassociateKmsKey
        logs:GetDataProtectionPolicy logs:ListTagsForResource logs:PutRetentionPolicy logs:TagResource
        logs:UntagResource
    """,
    "AWS::Logs::MetricFilter": "logs:DeleteMetricFilter logs:DescribeMetricFilters logs:PutMetricFilter",
    # Without what reads properties that ours lacks.
    "AWS::S3::Bucket": """
        s3:CreateBucket s3:DeleteBucket s3:GetBucketNotification s3:GetBucketOwnershipControls
        s3:GetBucketPublicAccessBlock s3:GetBucketTagging s3:GetBucketVersioning s3:GetEncryptionConfiguration
        s3:GetLifecycleConfiguration s3:ListBucket s3:PutBucketNotification s3:PutBucketOwnershipControls
        s3:PutBucketPublicAccessBlock s3:PutBucketTagging s3:PutEncryptionConfiguration s3:PutLifecycleConfiguration
    """,
    "AWS::S3::BucketPolicy": "s3:DeleteBucketPolicy s3:GetBucketPolicy s3:PutBucketPolicy",
    # Without networks, layers, code signing, reserved concurrency.
    "AWS::Lambda::Function": """
        lambda:CreateFunction lambda:DeleteFunction lambda:GetFunction lambda:GetFunctionCodeSigningConfig
        lambda:GetFunctionRecursionConfig lambda:GetFunctionScalingConfig lambda:GetRuntimeManagementConfig
        lambda:TagResource lambda:UntagResource lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration
    """,
    "AWS::StepFunctions::StateMachine": """
        states:CreateStateMachine states:DeleteStateMachine states:DescribeStateMachine states:ListTagsForResource
        states:TagResource states:UntagResource states:UpdateStateMachine
    """,
    "AWS::Events::Rule": """
        events:DeleteRule events:DescribeRule events:ListTagsForResource events:ListTargetsByRule events:PutRule
        events:PutTargets events:RemoveTargets events:TagResource events:UntagResource
    """,
    "AWS::Scheduler::Schedule": """
        scheduler:CreateSchedule scheduler:DeleteSchedule scheduler:GetSchedule scheduler:UpdateSchedule
    """,
    "AWS::CloudWatch::Alarm": """
        cloudwatch:DeleteAlarms cloudwatch:ListTagsForResource cloudwatch:PutMetricAlarm cloudwatch:TagResource
        cloudwatch:UntagResource
    """,
    "AWS::CloudWatch::Dashboard": "cloudwatch:DeleteDashboards cloudwatch:GetDashboard cloudwatch:PutDashboard",
    "AWS::ECS::Cluster": """
        ecs:CreateCluster ecs:DeleteCluster ecs:DescribeClusters ecs:ListTagsForResource ecs:TagResource
        ecs:UntagResource ecs:UpdateCluster ecs:UpdateClusterSettings
    """,
    "AWS::ECS::Service": """
        ecs:CreateService ecs:DeleteService ecs:DescribeServices ecs:ListServiceDeployments ecs:ListTagsForResource
        ecs:TagResource ecs:UntagResource ecs:UpdateService
    """,
    "AWS::ECS::TaskDefinition": "ecs:ListTagsForResource ecs:TagResource ecs:UntagResource",
    # Scheduled actions are only read. The alarms belong to the scaling policies.
    "AWS::ApplicationAutoScaling::ScalableTarget": """
        application-autoscaling:DeregisterScalableTarget application-autoscaling:ListTagsForResource
        application-autoscaling:RegisterScalableTarget
    """,
    "AWS::ApplicationAutoScaling::ScalingPolicy": """
        application-autoscaling:DeleteScalingPolicy application-autoscaling:PutScalingPolicy
    """,
}
# What has no permissions for single resources, or is asked about all resources.
# https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
_ANYWHERE: Mapping[str, str] = {
    "AWS::Logs::LogGroup": "logs:DescribeLogGroups",
    "AWS::CloudWatch::Alarm": "cloudwatch:DescribeAlarms",
    "AWS::ECS::TaskDefinition": "ecs:DeregisterTaskDefinition ecs:DescribeTaskDefinition ecs:RegisterTaskDefinition",
    "AWS::ApplicationAutoScaling::ScalableTarget": """
        application-autoscaling:DescribeScalableTargets application-autoscaling:DescribeScheduledActions
    """,
    "AWS::ApplicationAutoScaling::ScalingPolicy": """
        application-autoscaling:DescribeScalingPolicies cloudwatch:GetMetricData
    """,
}
# CloudFormation looks up the values of parameters of these types.
_PARAMETERS: Mapping[str, str] = {
    "List<AWS::EC2::Subnet::Id>": "ec2:DescribeSubnets",
    "List<AWS::EC2::SecurityGroup::Id>": "ec2:DescribeSecurityGroups",
}
_CLUSTER = f"{PREFIX}order-fulfillment"
_ARNS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "AWS::DynamoDB::Table": lambda names: arn("dynamodb", f"table/{names['TableName']}"),
    "AWS::SQS::Queue": lambda names: arn("sqs", names["QueueName"]),
    "AWS::IAM::Role": lambda names: f"arn:aws:iam::{ACCOUNT}:role/{names['RoleName']}",
    "AWS::Logs::LogGroup": lambda names: arn("logs", f"log-group:{names['LogGroupName']}"),
    "AWS::Lambda::Function": lambda names: arn("lambda", f"function:{names['FunctionName']}"),
    "AWS::StepFunctions::StateMachine": lambda names: arn("states", f"stateMachine:{names['StateMachineName']}"),
    "AWS::Events::Rule": lambda names: arn("events", f"rule/{names['Name']}"),
    "AWS::Scheduler::Schedule": lambda names: arn("scheduler", f"schedule/default/{names['Name']}"),
    "AWS::S3::Bucket": lambda _: "arn:aws:s3:::order-intake-0ec5",
    "AWS::S3::BucketPolicy": lambda _: "arn:aws:s3:::order-intake-0ec5",
    "AWS::CloudWatch::Alarm": lambda names: arn("cloudwatch", f"alarm:{names['AlarmName']}"),
    "AWS::CloudWatch::Dashboard": lambda names: f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{names['DashboardName']}",
    "AWS::ECS::Cluster": lambda names: arn("ecs", f"cluster/{names['ClusterName']}"),
    "AWS::ECS::Service": lambda names: arn("ecs", f"service/{_CLUSTER}/{names['ServiceName']}"),
    "AWS::ECS::TaskDefinition": lambda names: arn("ecs", f"task-definition/{names['Family']}:1"),
    "AWS::ApplicationAutoScaling::ScalableTarget": lambda _: arn("application-autoscaling", "scalable-target/0ec5"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": lambda _: arn("application-autoscaling", "scalable-target/0ec5"),
}


def needed(source: Mapping[str, Any]) -> Iterator[Permission]:
    """Yield what CloudFormation needs for a template. Raises `KeyError` for an unknown type of resource."""
    for parameter in source["Parameters"].values():
        if parameter["Type"] in _PARAMETERS:
            yield _PARAMETERS[parameter["Type"]], ANY
    log_groups = {}
    for logical_id, resource in source["Resources"].items():
        kind, names = resource["Type"], _names(resource.get("Properties", {}))
        if kind == "AWS::Logs::LogGroup":
            log_groups[logical_id] = _ARNS[kind](names)
        for action in _ANYWHERE.get(kind, "").split():
            yield action, ANY
        for action in _HANDLERS[kind].split():
            group = resource["Properties"].get("LogGroupName", {})
            yield action, log_groups[group["Ref"]] if kind == "AWS::Logs::MetricFilter" else _ARNS[kind](names)
    if any(
        resource["Type"] == "AWS::ApplicationAutoScaling::ScalingPolicy" for resource in source["Resources"].values()
    ):
        yield from _scaling()
    yield from _deployments(source)


def _scaling() -> Iterator[Permission]:
    """Target tracking has alarms of its own: .../application/userguide/security_iam_id-based-policy-examples.html."""
    alarm = arn("cloudwatch", f"alarm:TargetTracking-service/{_CLUSTER}/fulfillment-AlarmHigh-1")
    for action in ("DeleteAlarms", "ListTagsForResource", "PutMetricAlarm", "TagResource", "UntagResource"):
        yield f"cloudwatch:{action}", alarm


def _deployments(source: Mapping[str, Any]) -> Iterator[Permission]:
    """CloudFormation watches the deployments of an ECS service, and stops one if the stack is rolled back."""
    if any(resource["Type"] == "AWS::ECS::Service" for resource in source["Resources"].values()):
        deployment = arn("ecs", f"service-deployment/{_CLUSTER}/fulfillment/1")
        yield from ((f"ecs:{action}", deployment) for action in ("DescribeServiceDeployments", "StopServiceDeployment"))


def _names(properties: Mapping[str, Any]) -> dict[str, str]:
    """Return the properties that are texts, with our prefix in them."""
    texts = {name: value.get("Fn::Sub") if isinstance(value, dict) else value for name, value in properties.items()}
    return {name: text.replace("${NamePrefix}", PREFIX) for name, text in texts.items() if isinstance(text, str)}


PIPELINE = template.load(template.PIPELINE)
WORKERS = template.load(template.WORKERS)
