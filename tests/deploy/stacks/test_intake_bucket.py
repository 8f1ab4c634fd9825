"""The bucket of bulk intake keeps nothing for longer than a day, and is emptied before its stack is deleted."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

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


class NoSuchBucketError(Exception): ...


class S3:
    """Has the pages of each bucket; a bucket without pages is gone."""

    exceptions = SimpleNamespace(NoSuchBucket=NoSuchBucketError)

    def __init__(self, **pages: list[list[str]]) -> None:
        self.pages = pages
        self.deleted: list[tuple[str, Any]] = []

    def get_paginator(self, operation: str) -> "S3":
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str) -> Iterator[dict[str, Any]]:  # noqa: N803 - the SDK's name.
        if Bucket not in self.pages:
            raise self.exceptions.NoSuchBucket
        for keys in self.pages[Bucket]:
            yield {"Contents": [{"Key": key, "Size": 1} for key in keys]} if keys else {}

    def delete_objects(self, Bucket: str, Delete: Any) -> None:  # noqa: N803
        self.deleted.append((Bucket, Delete))


def test_every_page_of_every_bucket_is_deleted_and_one_that_is_gone_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = S3(first=[["a", "b"], [], ["c"]], last=[["d"]])
    found = {"AWS::S3::Bucket": ["first", "gone", "last"], "AWS::SQS::Queue": ["q"]}
    monkeypatch.setattr("deploy.stacks.intake_bucket.stack.resources", lambda _, name: found if name == "S" else {})
    intake_bucket.empty(cast("Aws", SimpleNamespace(s3=s3)), "S")
    assert s3.deleted == [
        (bucket, {"Objects": [{"Key": key} for key in keys], "Quiet": True})
        for bucket, keys in (("first", "ab"), ("first", "c"), ("last", "d"))
    ]
