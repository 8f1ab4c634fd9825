"""Empties the bucket of bulk intake before its stack is deleted: S3 deletes only empty buckets."""

from typing import TYPE_CHECKING

from deploy.aws import Aws
from deploy.stacks import stack

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_TYPE = "AWS::S3::Bucket"


def empty(aws: Aws, stack_name: str) -> None:
    """Delete the files of the stack's intakes, and their reports: they are kept for a day only."""
    for bucket in stack.resources(aws, stack_name).get(_TYPE, []):
        try:
            for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                found: list[ObjectIdentifierTypeDef] = [{"Key": content["Key"]} for content in page.get("Contents", [])]
                if found:
                    aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": found, "Quiet": True})
        except aws.s3.exceptions.NoSuchBucket:
            continue
