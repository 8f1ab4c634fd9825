"""
Uploads the local files that a template names, as `aws cloudformation package` does.

A Lambda function's `Code` and a state machine's `DefinitionS3Location` may be paths beside the template. Each becomes
an object in a private bucket. Its key is the hash of its content, so an unchanged file is not sent or deployed again.
"""

import copy
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.stacks import template

if TYPE_CHECKING:
    from mypy_boto3_s3.literals import BucketLocationConstraintType

# CreateChangeSet takes a template up to this size inline, and up to 1 MB from S3:
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MAX_INLINE_TEMPLATE_BYTES = 51_200

_FILE_MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes to upload under a name that is their hash."""

    content: bytes
    suffix: str

    @property
    def name(self) -> str:
        return f"{hashlib.sha256(self.content).hexdigest()}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """A stack's part of the bucket that all stacks of an account and region share. Keys start with `stack_name`."""

    name: str
    owner: str
    stack_name: str

    def key(self, artifact: Artifact) -> str:
        return f"{self.stack_name}/{artifact.name}"


def bucket_for(aws: Aws, stack_name: str) -> Bucket:
    """Return the bucket of this account and region. The bucket may not exist yet."""
    account = aws.sts.get_caller_identity()["Account"]
    return Bucket(f"order-fulfillment-artifacts-{account}-{aws.region}", account, stack_name)


def ensure(aws: Aws, bucket: Bucket) -> None:
    """
    Create `bucket` if it is missing, and make it private, encrypted, versioned and TLS-only.

    Raises `DeployError` if the bucket belongs to another account.
    """
    try:
        aws.s3.head_bucket(Bucket=bucket.name, ExpectedBucketOwner=bucket.owner)
    except ClientError as error:
        if _status(error) == HTTPStatus.FORBIDDEN:
            raise DeployError(
                f"The bucket {bucket.name} belongs to another account, or you may not list it (s3:ListBucket). "
                "deploy/README.md has the permissions that a deployment needs"
            ) from error
        if _status(error) != HTTPStatus.NOT_FOUND:
            raise
        _create(aws, bucket)
    # Done every time, because an interrupted first run may have made only some of these calls. All are idempotent.
    owner = bucket.owner
    aws.s3.put_public_access_block(
        Bucket=bucket.name,
        ExpectedBucketOwner=owner,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )
    aws.s3.put_bucket_ownership_controls(
        Bucket=bucket.name,
        ExpectedBucketOwner=owner,
        OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
    )
    aws.s3.put_bucket_encryption(
        Bucket=bucket.name,
        ExpectedBucketOwner=owner,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    aws.s3.put_bucket_versioning(
        Bucket=bucket.name, ExpectedBucketOwner=owner, VersioningConfiguration={"Status": "Enabled"}
    )
    aws.s3.put_bucket_policy(Bucket=bucket.name, ExpectedBucketOwner=owner, Policy=_tls_only(aws, bucket))


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _create(aws: Aws, bucket: Bucket) -> None:
    region: BucketLocationConstraintType = aws.region  # type: ignore[assignment]
    try:
        if aws.region == "us-east-1":  # The only region that must not be named.
            aws.s3.create_bucket(Bucket=bucket.name)
        else:
            aws.s3.create_bucket(Bucket=bucket.name, CreateBucketConfiguration={"LocationConstraint": region})
    except aws.s3.exceptions.BucketAlreadyOwnedByYou:
        pass  # Another deployment has created it in the meantime.
    except ClientError as error:
        if error.response["Error"].get("Code") != "OperationAborted":
            raise
        raise DeployError(
            f"The bucket {bucket.name} was deleted a moment ago. S3 needs some minutes until it can be made again"
        ) from error
    aws.s3.get_waiter("bucket_exists").wait(Bucket=bucket.name, ExpectedBucketOwner=bucket.owner)


def _tls_only(aws: Aws, bucket: Bucket) -> str:
    arn = f"arn:{aws.cloudformation.meta.partition}:s3:::{bucket.name}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def upload(aws: Aws, bucket: Bucket, artifact: Artifact) -> str:
    """Put `artifact` into `bucket` unless it is there already; returns its key."""
    key = bucket.key(artifact)
    try:
        aws.s3.head_object(Bucket=bucket.name, Key=key, ExpectedBucketOwner=bucket.owner)
    except ClientError as error:
        # Without s3:ListBucket, a missing object is FORBIDDEN. If more than that is denied, so is the upload.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        if _status(error) not in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
            raise
        aws.s3.put_object(Bucket=bucket.name, Key=key, Body=artifact.content, ExpectedBucketOwner=bucket.owner)
    return key


def as_argument(aws: Aws, bucket: Bucket, source: Mapping[str, Any]) -> Any:
    """Return the request argument that carries a template: inline if it is small enough, else from the bucket."""
    body = template.body(source)
    if len(body.encode()) <= MAX_INLINE_TEMPLATE_BYTES:
        return {"TemplateBody": body}
    key = upload(aws, bucket, Artifact(body.encode(), ".template"))
    # Like `aws cloudformation package`. A presigned URL would name S3's global host, which newer regions refuse.
    return {"TemplateURL": f"{aws.s3.meta.endpoint_url}/{bucket.name}/{key}"}


def remove(aws: Aws, bucket: Bucket) -> str | None:
    """
    Delete the stack's artifacts, and then the bucket if nothing is left in it.

    Returns why the bucket remains, or `None` if it is gone.
    """
    try:
        versions = aws.s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket.name, Prefix=f"{bucket.stack_name}/", ExpectedBucketOwner=bucket.owner
        )
        for page in versions:
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                aws.s3.delete_object(
                    Bucket=bucket.name,
                    Key=version["Key"],
                    VersionId=version["VersionId"],
                    ExpectedBucketOwner=bucket.owner,
                )
        aws.s3.delete_bucket(Bucket=bucket.name, ExpectedBucketOwner=bucket.owner)
    except ClientError as error:
        match error.response["Error"].get("Code"):
            case "NoSuchBucket":
                pass
            case "BucketNotEmpty":
                return "it holds artifacts of other stacks"
            case _:
                raise
    return None


def package(source: Mapping[str, Any], directory: Path, store: Callable[[Artifact], tuple[str, str]]) -> dict[str, Any]:
    """
    Return the template with every local path replaced by the bucket and key that `store` returned for it.

    Paths are relative to `directory`, which holds the template. Raises `DeployError` if a path does not exist.
    """
    packaged = copy.deepcopy(dict(source))
    for logical_id, resource in packaged["Resources"].items():
        properties = resource.get("Properties", {})
        match resource.get("Type"), properties:
            case "AWS::Lambda::Function", {"Code": str(path)}:
                bucket, key = store(Artifact(zipped(_existing(directory, path, logical_id)), ".zip"))
                properties["Code"] = {"S3Bucket": bucket, "S3Key": key}
            case template.STATE_MACHINE_TYPE, {"DefinitionS3Location": str(path)}:
                bucket, key = store(Artifact(_existing(directory, path, logical_id).read_bytes(), ".json"))
                properties["DefinitionS3Location"] = {"Bucket": bucket, "Key": key}
    return packaged


def _existing(directory: Path, path: str, logical_id: str) -> Path:
    found = directory / path
    if not found.exists():
        raise DeployError(f"{logical_id} in the template names {path}, which does not exist beside the template")
    return found


def zipped(path: Path) -> bytes:
    """Zip a file or a folder. The same content always gives the same bytes."""
    if path.is_file():
        files = {path.name: path}
    else:
        inside = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        files = {file.relative_to(path).as_posix(): file for file in inside}
    buffer = io.BytesIO()
    # Uncompressed, because compressors differ between Python builds.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, file in files.items():
            entry = zipfile.ZipInfo(name)  # Its time is the earliest there is: the same content, the same bytes.
            entry.external_attr = _FILE_MODE
            archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()
