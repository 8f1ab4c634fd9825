"""Buckets, notifications, rules of EventBridge, metrics, secrets and identities: a few facts each."""

import json
import time
from typing import Any

from tests.aws_facts.fact import AnyOf, facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.queues import arn_of, receive_one
from tests.aws_facts.workflows import run, state_machine

s3, sns, events = facts_of("s3"), facts_of("sns"), facts_of("events")
cloudwatch, secrets, sts = facts_of("cloudwatch"), facts_of("secretsmanager"), facts_of("sts")

_S3_API = "https://docs.aws.amazon.com/AmazonS3/latest/API/"
_SNS_API = "https://docs.aws.amazon.com/sns/latest/api/"
_EVENTS_GUIDE = "https://docs.aws.amazon.com/eventbridge/latest/userguide/"


def _bucket(lab: Lab) -> str:
    name = lab.name(f"{lab.account}-")  # Names of buckets are the same for all accounts.
    bucket = lab.client("s3")
    lab.removes(lambda: bucket.delete_bucket(Bucket=name), "NoSuchBucket")
    lab.removes(lambda: bucket.delete_object(Bucket=name, Key="x"), "NoSuchBucket")
    bucket.create_bucket(Bucket=name, **_place(lab))
    return name


def _place(lab: Lab) -> Any:
    """Return the argument that names the region; us-east-1 must not be named."""
    return {} if lab.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": lab.region}}


@s3(
    "HeadBucket and HeadObject of what is not there have the code 404, if the caller may list.",
    source=_S3_API + "API_HeadObject.html, " + _S3_API + "API_HeadBucket.html",
    relied_on_by=("deploy/stacks/artifacts.py::_status",),
    expected=["404", "404"],
)
def what_is_missing_has_status_404(lab: Lab) -> object:
    client = lab.client("s3")
    return [
        error_of(client.head_bucket, Bucket=lab.name(f"{lab.account}-")),
        error_of(client.head_object, Bucket=lab.shared("bucket", lambda: _bucket(lab)), Key="missing"),
    ]


@s3(
    "A bucket of one's own that is created again stays as it is: 200 in us-east-1, BucketAlreadyOwnedByYou elsewhere.",
    source=_S3_API + "API_CreateBucket.html",
    relied_on_by=("deploy/stacks/artifacts.py::_create",),
    expected=AnyOf(("ok", "BucketAlreadyOwnedByYou")),
)
def an_own_bucket_is_created_again(lab: Lab) -> object:
    name = lab.shared("bucket", lambda: _bucket(lab))
    return error_of(lab.client("s3").create_bucket, Bucket=name, **_place(lab))


@s3(
    "A bucket that holds an object is not deleted: BucketNotEmpty.",
    source=_S3_API + "API_DeleteBucket.html",
    relied_on_by=("deploy/stacks/artifacts.py::BucketNotEmpty",),
    expected="BucketNotEmpty",
)
def a_full_bucket_is_not_deleted(lab: Lab) -> object:
    name = lab.shared("bucket", lambda: _bucket(lab))
    lab.client("s3").put_object(Bucket=name, Key="x", Body=b"x")
    return error_of(lab.client("s3").delete_bucket, Bucket=name)


@sns(
    "A missing topic is NotFound.",
    source=_SNS_API + "API_Publish.html",
    relied_on_by=("workers/aws/channels.py::NotFound",),
    expected="NotFound",
)
def a_missing_topic_is_not_found(lab: Lab) -> object:
    arn = f"arn:{lab.partition}:sns:{lab.region}:{lab.account}:{lab.name()}"
    return error_of(lab.client("sns").publish, TopicArn=arn, Message="x")


@sns(
    "A subject is less than 100 characters of ASCII, without line breaks; with more, Publish is InvalidParameter.",
    source=_SNS_API + "API_Publish.html",
    relied_on_by=("workers/aws/outgoing.py::MAX_SUBJECT_CHARS", "workers/aws/outgoing.py::sns_message"),
    expected=["ok", "InvalidParameter", "InvalidParameter"],
)
def a_subject_is_limited(lab: Lab) -> object:
    client, name = lab.client("sns"), lab.name()
    arn = f"arn:{lab.partition}:sns:{lab.region}:{lab.account}:{name}"
    lab.removes(lambda: client.delete_topic(TopicArn=arn))
    client.create_topic(Name=name)
    subjects = ("x" * 99, "x" * 101, "a\nb")
    return [error_of(client.publish, TopicArn=arn, Message="x", Subject=subject) for subject in subjects]


_RULE = {
    "source": ["aws.states"],
    "detail": {
        "$or": [
            {"status": ["ABORTED", "TIMED_OUT"]},
            {"status": ["FAILED"], "error": [{"anything-but": ["DuplicateOrder"]}, {"exists": False}, None]},
        ]
    },
}


@events(
    "A pattern matches with `$or`, `anything-but`, `exists: false` and null, as in the rule that escalates failures.",
    source=_EVENTS_GUIDE + "eb-create-pattern-operators.html",
    relied_on_by=("deploy/pipeline.yaml::anything-but",),
    expected={"other error": True, "ignored error": False, "no error": True, "null": True, "succeeded": False},
)
def a_pattern_matches_failures(lab: Lab) -> object:
    details: dict[str, dict[str, object]] = {
        "other error": {"status": "FAILED", "error": "Other"},
        "ignored error": {"status": "FAILED", "error": "DuplicateOrder"},
        "no error": {"status": "FAILED"},
        "null": {"status": "FAILED", "error": None},
        "succeeded": {"status": "SUCCEEDED"},
    }

    def matches(detail: dict[str, object]) -> bool:
        event = {
            "id": "1",
            "account": lab.account,
            "region": lab.region,
            "time": "2026-01-01T00:00:00Z",
            "resources": [],
            "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change",
            "detail": detail,
        }
        tested = lab.client("events").test_event_pattern(EventPattern=json.dumps(_RULE), Event=json.dumps(event))
        return bool(tested["Result"])

    return {name: matches(detail) for name, detail in details.items()}


@events(
    "An execution that fails sends an event, which a rule puts on a queue, transformed.",
    source="https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html",
    relied_on_by=("deploy/pipeline.yaml::InputTransformer", "workers/contracts.py::ExecutionArn"),
    expected=["FAILED", True],
)
def a_failure_reaches_a_queue(lab: Lab) -> object:
    client, url, rule = lab.client("events"), lab.queue(), lab.name()
    machine = state_machine(lab, {"Fail": {"Type": "Fail", "Error": "ForTheRule"}})
    pattern = {**_RULE, "detail": {"stateMachineArn": [machine], "status": ["FAILED"]}}
    lab.removes(lambda: client.delete_rule(Name=rule), "ResourceNotFoundException")
    lab.removes(lambda: client.remove_targets(Rule=rule, Ids=["queue"]), "ResourceNotFoundException")
    rule_arn = client.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"]
    _allow_rule(lab, url, rule_arn)
    transformer = {
        "InputPathsMap": {"execution": "$.detail.executionArn", "status": "$.detail.status"},
        "InputTemplate": '{"ExecutionArn": "<execution>", "Status": "<status>"}',
    }
    client.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn_of(lab, url), "InputTransformer": transformer}])
    lab.sleep(20.0 if lab.is_patient else 0.0)  # On AWS, a new rule takes some time.
    execution = run(lab, machine)["executionArn"]
    body = json.loads(receive_one(lab, url, WaitTimeSeconds=20)["Body"])
    return [body["Status"], body["ExecutionArn"] == execution]


def _allow_rule(lab: Lab, url: str, rule_arn: str) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn_of(lab, url),
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    lab.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})


@cloudwatch(
    "A metric without data has an empty list of Datapoints.",
    source="https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricStatistics.html",
    relied_on_by=("workers/operations/queues.py::Datapoints",),
    expected=[],
)
def a_metric_without_data_is_empty(lab: Lab) -> object:
    now = time.time()
    return lab.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": lab.name()}],
        StartTime=now - 900,
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]


@secrets(
    "A missing secret is ResourceNotFoundException.",
    source="https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html",
    relied_on_by=(
        "workers/aws/secrets.py::MissingResourceError",
        "workers/aws/errors.py::ResourceNotFoundException",
    ),
    expected="ResourceNotFoundException",
)
def a_missing_secret_is_not_found(lab: Lab) -> object:
    return error_of(lab.client("secretsmanager").get_secret_value, SecretId=lab.name())


@sts(
    "The caller's ARN is of a root, user or federated user, or of a session of a role.",
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html",
    relied_on_by=("deploy/stacks/senders.py::assumed-role", "workers/operations/stack.py::get_caller_identity"),
    expected=True,
)
def the_caller_has_a_known_kind(lab: Lab) -> object:
    resource = str(lab.identity["Arn"]).split(":", 5)[5]
    return resource.split("/")[0] in {"root", "user", "assumed-role", "federated-user"}
