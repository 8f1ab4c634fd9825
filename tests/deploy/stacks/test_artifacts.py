"""Artifacts: equal content gives equal bytes, uploaded once into a private bucket."""

import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.stacks import artifacts, template
from deploy.stacks.artifacts import Artifact


def test_the_zip_of_a_file_does_not_depend_on_its_time_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "function.py"
    path.write_text("x = 1\n", encoding="utf-8")
    first = artifacts.zipped(path)
    os.utime(path, (0, 0))
    path.chmod(0o600)

    assert artifacts.zipped(path) == first
    assert zipfile.ZipFile(io.BytesIO(first)).namelist() == ["function.py"]


def test_a_folder_zips_in_order_and_without_caches(tmp_path: Path) -> None:
    for name in ("b.py", "a/c.py", "__pycache__/b.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")

    assert zipfile.ZipFile(io.BytesIO(artifacts.zipped(tmp_path))).namelist() == ["a/c.py", "b.py"]


def test_every_local_path_of_the_pipeline_is_replaced() -> None:
    stored: list[Artifact] = []

    def store(artifact: Artifact) -> tuple[str, str]:
        stored.append(artifact)
        return "bucket", artifact.name

    source = template.load(template.PIPELINE)
    packaged = artifacts.package(source, template.PIPELINE.parent, store)

    properties = {name: resource.get("Properties") for name, resource in packaged["Resources"].items()}
    assert properties["VerifyCCAndPrice"]["Code"] == {"S3Bucket": "bucket", "S3Key": stored[0].name}
    assert properties["OrderFulfillmentStateMachine"]["DefinitionS3Location"] == {
        "Bucket": "bucket",
        "Key": stored[1].name,
    }
    assert json.loads(stored[1].content)["StartAt"]
    assert isinstance(source["Resources"]["VerifyCCAndPrice"]["Properties"]["Code"], str), "the source is not changed"


def test_a_path_that_does_not_exist_is_named(tmp_path: Path) -> None:
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Code": "nowhere.py"}}

    with pytest.raises(DeployError, match=r"F in the template names nowhere\.py"):
        artifacts.package({"Resources": {"F": function}}, tmp_path, lambda _: ("", ""))


def test_an_artifact_is_uploaded_once_and_its_key_is_its_content(aws: Aws) -> None:
    bucket = artifacts.bucket_for(aws, "once")
    artifacts.ensure(aws, bucket)

    keys = {artifacts.upload(aws, bucket, Artifact(b"content", ".zip")) for _ in range(2)}
    other = artifacts.upload(aws, bucket, Artifact(b"Content", ".zip"))

    versions = aws.s3.list_object_versions(Bucket=bucket.name, Prefix="once/")["Versions"]
    assert sorted(version["Key"] for version in versions) == sorted([*keys, other])


def test_the_bucket_is_private_encrypted_and_tls_only(aws: Aws) -> None:
    bucket = artifacts.bucket_for(aws, "private")
    artifacts.ensure(aws, bucket)
    artifacts.ensure(aws, bucket)

    s3, name = aws.s3, bucket.name
    assert name == "order-fulfillment-artifacts-000000000000-us-east-1"
    assert all(s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"].values())
    rule = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    controls = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
    assert controls == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    statement = json.loads(s3.get_bucket_policy(Bucket=name)["Policy"])["Statement"][0]
    assert (statement["Effect"], statement["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_removing_one_stacks_artifacts_leaves_those_of_others(aws: Aws) -> None:
    bucket = artifacts.bucket_for(aws, "removed")
    others = artifacts.bucket_for(aws, "remaining")
    artifacts.ensure(aws, bucket)
    for target in (bucket, others):
        artifacts.upload(aws, target, Artifact(b"content", ".zip"))

    assert artifacts.remove(aws, bucket) == "it holds artifacts of other stacks"
    assert "Versions" not in aws.s3.list_object_versions(Bucket=bucket.name, Prefix="removed/")
    assert aws.s3.list_object_versions(Bucket=bucket.name, Prefix="remaining/")["Versions"]
