"""The bucket of bulk intake keeps nothing for longer than a day, and is emptied before its stack is deleted."""

from deploy.aws import Aws
from deploy.progress import Progress
from deploy.stacks import intake_bucket, pipeline, template


def test_all_files_and_reports_are_deleted_and_twice_is_no_error(aws: Aws) -> None:
    bucket = pipeline.up(aws, "emptied-", Progress(quiet=True)).outputs["OrderIntakeBucketName"]
    for key in ("incoming/a.csv", "reports/one/report.json"):
        aws.s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    for _ in range(2):
        intake_bucket.empty(aws, pipeline.stack_name("emptied-"))
        assert "Contents" not in aws.s3.list_objects_v2(Bucket=bucket)


def test_a_stack_that_is_gone_has_nothing_to_empty(aws: Aws) -> None:
    asked = list[str]()
    aws.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name), unique_id="asked")
    try:
        intake_bucket.empty(aws, pipeline.stack_name("never-"))
    finally:
        aws.s3.meta.events.unregister("before-call.s3", unique_id="asked")
    assert asked == [], "no other stack's bucket is touched"


def test_files_reports_and_uploads_that_never_ended_are_gone_after_a_day() -> None:
    properties = template.load(template.PIPELINE)["Resources"]["OrderIntakeBucket"]["Properties"]
    assert "VersioningConfiguration" not in properties
    (rule,) = properties["LifecycleConfiguration"]["Rules"]
    assert rule == {
        "Id": "GoneAfterADay",
        "Status": "Enabled",
        "ExpirationInDays": 1,
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
    }
