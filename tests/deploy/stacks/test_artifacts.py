"""Artifacts: equal content gives equal bytes, uploaded once into a private bucket."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.stacks import artifacts, template
from deploy.stacks.artifacts import Artifact
from tests.deploy.stacks.fakes import FakeClient, MissingError, failing, fake_aws, refusal


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


BUCKET = artifacts.Bucket("bucket", "111122223333", "mine")
OWNED = {"Bucket": "bucket", "ExpectedBucketOwner": "111122223333"}


def s3(**operations: Any) -> FakeClient:
    """Return an S3 whose other operations succeed."""
    names = ("head_bucket", "create_bucket", "head_object", "put_object", "delete_object", "delete_bucket")
    settings = ("public_access_block", "bucket_ownership_controls", "bucket_encryption", "bucket_versioning")
    succeeding: dict[str, Any] = dict.fromkeys(
        (*names, *(f"put_{name}" for name in (*settings, "bucket_policy"))), lambda **_: {}
    )
    return FakeClient(**(succeeding | operations))


def test_the_bucket_is_named_by_account_and_region() -> None:
    assert artifacts.bucket_for(fake_aws(), "mine") == artifacts.Bucket(
        "order-fulfillment-artifacts-111122223333-eu-central-1", "111122223333", "mine"
    )
    assert BUCKET.key(Artifact(b"content", ".zip")) == (
        "mine/ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73.zip"
    )


def test_an_existing_bucket_is_made_private_again() -> None:
    client = s3()
    artifacts.ensure(fake_aws(s3=client), BUCKET)
    assert "create_bucket" not in client.calls
    assert all(request.items() >= OWNED.items() for _, request in client.requests)
    settings = {name: {k: v for k, v in request.items() if k not in OWNED} for name, request in client.requests}
    policy = json.loads(settings.pop("put_bucket_policy")["Policy"])
    assert settings == {
        "head_bucket": {},
        "put_public_access_block": {
            "PublicAccessBlockConfiguration": dict.fromkeys(
                ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
            )
        },
        "put_bucket_ownership_controls": {"OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}},
        "put_bucket_encryption": {
            "ServerSideEncryptionConfiguration": {
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            }
        },
        "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    }
    assert policy == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws-cn:s3:::bucket", "arn:aws-cn:s3:::bucket/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("region", "request_"),
    [
        ("us-east-1", {"Bucket": "bucket"}),
        (
            "eu-central-1",
            {"Bucket": "bucket", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}},
        ),
    ],
)
def test_a_missing_bucket_is_created_in_its_region(region: str, request_: dict[str, Any]) -> None:
    client = s3(head_bucket=failing(refusal("404", 404)))
    artifacts.ensure(fake_aws(region, s3=client), BUCKET)
    assert client.requests[1:3] == [("create_bucket", request_), ("bucket_exists", OWNED)]


def test_a_bucket_that_another_deployment_has_just_created_is_used() -> None:
    client = s3(head_bucket=failing(refusal("404", 404)), create_bucket=failing(MissingError()))
    artifacts.ensure(fake_aws(s3=client), BUCKET)
    assert client.calls[-1] == "put_bucket_policy"


@pytest.mark.parametrize(
    ("code", "error", "text"),
    [
        ("OperationAborted", DeployError, "The bucket bucket was deleted a moment ago. S3 needs some minutes"),
        ("AccessDenied", ClientError, "AccessDenied"),
    ],
)
def test_a_bucket_that_cannot_be_created_stops_the_deployment(code: str, error: type[Exception], text: str) -> None:
    client = s3(head_bucket=failing(refusal("404", 404)), create_bucket=failing(refusal(code, 409)))
    with pytest.raises(error, match=text):
        artifacts.ensure(fake_aws(s3=client), BUCKET)
    assert client.calls == ["head_bucket", "create_bucket"]


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [(403, DeployError, "The bucket bucket belongs to another account"), (500, ClientError, "InternalError")],
)
def test_a_bucket_that_may_not_be_used_is_not_changed(status: int, error: type[Exception], text: str) -> None:
    client = s3(head_bucket=failing(refusal("InternalError", status)))
    with pytest.raises(error, match=text):
        artifacts.ensure(fake_aws(s3=client), BUCKET)
    assert client.calls == ["head_bucket"]


@pytest.mark.parametrize("status", [None, 403, 404])
def test_an_artifact_is_uploaded_unless_it_is_known_to_be_there(status: int | None) -> None:
    """S3 answers 403 for a missing object if the caller may not list the bucket."""
    client = s3(head_object=failing(refusal(str(status), status))) if status else s3()
    artifact = Artifact(b"content", ".zip")
    assert artifacts.upload(fake_aws(s3=client), BUCKET, artifact) == BUCKET.key(artifact)
    assert client.calls == (["head_object", "put_object"] if status else ["head_object"])
    expected = OWNED | {"Key": BUCKET.key(artifact)}
    assert client.requests[0][1] == expected
    assert not status or client.requests[1][1] == expected | {"Body": b"content"}


@pytest.mark.parametrize(("look", "put"), [(500, None), (403, 403)])
def test_an_artifact_that_cannot_be_looked_at_or_uploaded_is_an_error(look: int, put: int | None) -> None:
    client = s3(head_object=failing(refusal("AccessDenied", look)))
    if put:
        client.operations["put_object"] = failing(refusal("AccessDenied", put))
    with pytest.raises(ClientError, match="AccessDenied"):
        artifacts.upload(fake_aws(s3=client), BUCKET, Artifact(b"content", ".zip"))
    assert ("put_object" in client.calls) is bool(put)


@pytest.mark.parametrize(("size", "inline"), [(51_200, True), (51_201, False)])
def test_a_template_of_up_to_51200_bytes_is_sent_inline(size: int, inline: bool) -> None:
    client = s3()
    source = {"x": "\u00e9" * 10}
    source["y"] = "y" * (size - len(template.body(source | {"y": ""}).encode()))
    argument = artifacts.as_argument(fake_aws(s3=client), BUCKET, source)
    body = template.body(source)
    key = BUCKET.key(Artifact(body.encode(), ".template"))
    url = f"https://s3.cn-north-1.amazonaws.com.cn/bucket/{key}"
    assert argument == ({"TemplateBody": body} if inline else {"TemplateURL": url})


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "s3.eu-central-1.amazonaws.com"),
        ("ap-southeast-7", "s3.ap-southeast-7.amazonaws.com"),  # Newer regions do not answer at the global host.
        ("cn-north-1", "s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "s3.us-gov-west-1.amazonaws.com"),
        ("xx-future-9", "s3.xx-future-9.amazonaws.com"),
    ],
)
def test_templates_are_at_the_host_of_their_region(region: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setattr(artifacts, "upload", lambda _aws, bucket, artifact: bucket.key(artifact))
    source = {"Padding": "x" * artifacts.MAX_INLINE_TEMPLATE_BYTES}
    key = BUCKET.key(Artifact(template.body(source).encode(), ".template"))

    argument = artifacts.as_argument(Aws.from_environment(), BUCKET, source)

    assert argument == {"TemplateURL": f"https://{host}/bucket/{key}"}


def test_all_versions_and_delete_markers_are_deleted_then_the_bucket() -> None:
    pages = [
        {"Versions": [{"Key": "mine/a", "VersionId": "1"}], "DeleteMarkers": [{"Key": "mine/a", "VersionId": "2"}]},
        {"DeleteMarkers": [{"Key": "mine/b", "VersionId": "3"}]},
        {},
    ]
    client = s3(list_object_versions=lambda **_: pages)
    assert artifacts.remove(fake_aws(s3=client), BUCKET) is None
    assert client.requests == [
        ("list_object_versions", OWNED | {"Prefix": "mine/"}),
        ("delete_object", OWNED | {"Key": "mine/a", "VersionId": "1"}),
        ("delete_object", OWNED | {"Key": "mine/a", "VersionId": "2"}),
        ("delete_object", OWNED | {"Key": "mine/b", "VersionId": "3"}),
        ("delete_bucket", OWNED),
    ]


@pytest.mark.parametrize(
    ("code", "why"), [("NoSuchBucket", None), ("BucketNotEmpty", "it holds artifacts of other stacks")]
)
def test_a_bucket_that_remains_says_why(code: str, why: str | None) -> None:
    client = s3(list_object_versions=lambda **_: [{}], delete_bucket=failing(refusal(code)))
    assert artifacts.remove(fake_aws(s3=client), BUCKET) == why


def test_a_bucket_that_may_not_be_deleted_is_an_error() -> None:
    client = s3(list_object_versions=failing(refusal("AccessDenied")))
    with pytest.raises(ClientError, match="AccessDenied"):
        artifacts.remove(fake_aws(s3=client), BUCKET)


def test_only_local_paths_of_functions_and_state_machines_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "machine.json").write_bytes(b"{}")
    resources: dict[str, Any] = {
        "Machine": {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {"DefinitionS3Location": "machine.json"},
        },
        "Uploaded": {"Type": "AWS::Lambda::Function", "Properties": {"Code": {"S3Bucket": "b"}}},
        "Inline": {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": "{}"}},
        "Other": {"Type": "Custom::Thing", "Properties": {"Code": "nowhere.py"}},
        "Bare": {"Type": "AWS::SNS::Topic"},
    }
    packaged = artifacts.package({"Resources": resources}, tmp_path, lambda artifact: ("b", artifact.suffix))
    changed = {"Type": "AWS::StepFunctions::StateMachine"} | {
        "Properties": {"DefinitionS3Location": {"Bucket": "b", "Key": ".json"}}
    }
    assert packaged["Resources"] == resources | {"Machine": changed}


def test_a_zip_is_uncompressed_and_its_files_are_readable() -> None:
    (entry,) = zipfile.ZipFile(io.BytesIO(artifacts.zipped(Path(__file__)))).infolist()
    assert (entry.compress_type, entry.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
    assert entry.external_attr == 0o100644 << 16
