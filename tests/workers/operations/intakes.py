"""An AWS in memory that runs intakes: their bucket, their executions, and what became of each row."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from tests.workers.operations.fakes import NOW, FakeClient, fake_stack, refused
from workers.aws.items import to_item
from workers.operations.bulk import EVERY_ROW_REJECTED, ROWS_NOT_STARTED
from workers.operations.stack import Stack

ARN = "arn:aws:states:us-east-1:000000000000"
STATE_MACHINE = f"{ARN}:stateMachine:a-OrderFulfillmentStateMachine"
INTAKE_ARN = f"{ARN}:stateMachine:a-BulkOrderIntake"
BUCKET = "order-intake-1"
STARTED = "started"
Row = Mapping[str, Any]


@dataclass
class Intakes:
    """
    Starts every row of a file, except for those in *rows*, which it reports.

    An intake is done after *looks* looks at it. *status* and *error* say how intakes end, *lost* how many rows they do
    not count. *stored* are the items of the order table.
    """

    rows: Sequence[Row] = ()
    looks: int = 2
    status: str = "SUCCEEDED"
    error: str | None = None
    lost: int = 0
    stored: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tags: list[dict[str, str]] = field(default_factory=lambda: [{"key": "OrderIntakeBucket", "value": BUCKET}])
    failing: dict[str, Exception] = field(default_factory=dict)  # By operation: raised each time.

    def __post_init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, list[bytes]] = {}
        self.aborted: list[str] = []
        self.started: dict[str, dict[str, Any]] = {}  # The input of each intake, by name.
        self.looked = 0
        operations = {
            name: self._or_fail(name, getattr(self, name))
            for name in (
                *("list_tags_for_resource", "start_execution", "describe_execution", "list_map_runs"),
                *("describe_map_run", "list_executions", "put_object", "create_multipart_upload", "upload_part"),
                *("complete_multipart_upload", "abort_multipart_upload", "list_objects_v2", "get_object"),
            )
        }
        self.client = FakeClient(**operations)

    def stack(self, state_machine: str = STATE_MACHINE) -> Stack:
        dynamodb = FakeClient(batch_get_item=self.batch_get_item)
        return fake_stack(state_machine, stepfunctions=self.client, s3=self.client, dynamodb=dynamodb)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of an intake's file."""
        return [json.loads(line) for line in self.objects[self.started[name]["Key"]].splitlines()]

    def _or_fail(self, name: str, operation: Any) -> Any:
        def call(**request: Any) -> Any:
            if name in self.failing:
                raise self.failing[name]
            return operation(**request)

        return call

    def list_tags_for_resource(self, *, resourceArn: str) -> Any:  # noqa: N803 - boto3's names, here and below.
        if resourceArn != INTAKE_ARN:
            raise refused("ResourceNotFound")
        return {"tags": self.tags}

    def start_execution(self, *, stateMachineArn: str, name: str, input: str) -> Any:  # noqa: A002, N803
        assert stateMachineArn == INTAKE_ARN
        self.started[name] = json.loads(input)
        return {"startDate": NOW}

    def list_executions(self, **_: Any) -> Iterator[Any]:
        yield {"executions": [{"executionArn": _execution(name)} for name in reversed(self.started)]}

    def describe_execution(self, *, executionArn: str) -> Any:  # noqa: N803
        name = executionArn.rpartition(":")[2]
        if name not in self.started:
            raise refused("ExecutionDoesNotExist")
        self.looked += 1
        shown = {"startDate": NOW, "input": json.dumps(self.started[name])}
        if self.looked < self.looks:
            return shown | {"status": "RUNNING"}
        ended: dict[str, Any] = shown | {"status": self.status, "stopDate": self.ended_at}
        if self.status != "SUCCEEDED" and self.error not in {ROWS_NOT_STARTED, EVERY_ROW_REJECTED}:
            return ended | ({"error": self.error} if self.error else {})
        self.objects |= {
            f"reports/{name}/rows/{row['Row']:09}.json": json.dumps({"Rows": [row]}).encode() for row in self.rows
        }
        counts = [row["Outcome"] for row in self.rows]
        report = {
            "AlreadyStarted": counts.count("already_started"),
            "Rejected": counts.count("rejected"),
            "NotStarted": counts.count("not_started"),
        }
        report["Started"] = len(self.lines(name)) - len(self.rows) - self.lost
        if self.status != "SUCCEEDED":
            return ended | {"error": self.error, "cause": json.dumps(report)}
        return ended | {"output": json.dumps(report)}

    @property
    def ended_at(self) -> datetime:
        return NOW + timedelta(seconds=5)

    def list_map_runs(self, *, executionArn: str) -> Any:  # noqa: N803
        name = executionArn.rpartition(":")[2]
        return {"mapRuns": [{"mapRunArn": f"run:{name}", "startDate": NOW}] if self.looked > 1 else []}

    def describe_map_run(self, *, mapRunArn: str) -> Any:  # noqa: N803
        total = len(self.lines(mapRunArn.partition(":")[2]))
        left = 0 if self.looked >= self.looks else 1
        return {"itemCounts": {"total": total, "pending": left, "running": left if total > 1 else 0}}

    def put_object(self, *, Bucket: str, Key: str, Body: BinaryIO) -> Any:  # noqa: N803
        assert Bucket == BUCKET
        self.objects[Key] = Body.read()
        return {}

    def create_multipart_upload(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803
        assert Bucket == BUCKET
        self.uploads[Key] = []
        return {"UploadId": f"upload of {Key}"}

    def upload_part(self, *, Key: str, PartNumber: int, Body: BinaryIO, **_: Any) -> Any:  # noqa: N803
        self.uploads[Key].append(Body.read())
        assert len(self.uploads[Key]) == PartNumber
        return {"ETag": f"part {PartNumber}"}

    def complete_multipart_upload(self, *, Key: str, MultipartUpload: Any, **_: Any) -> Any:  # noqa: N803
        parts = self.uploads[Key]
        assert MultipartUpload["Parts"] == [
            {"PartNumber": number, "ETag": f"part {number}"} for number in range(1, len(parts) + 1)
        ]
        self.objects[Key] = b"".join(parts)
        return {}

    def abort_multipart_upload(self, *, UploadId: str, **_: Any) -> Any:  # noqa: N803
        self.aborted.append(UploadId)
        return {}

    def list_objects_v2(self, *, Bucket: str, Prefix: str) -> Iterator[Any]:  # noqa: N803
        assert Bucket == BUCKET
        yield {}
        yield {"Contents": [{"Key": key} for key in sorted(self.objects) if key.startswith(Prefix)]}

    def get_object(self, *, Key: str, **_: Any) -> Any:  # noqa: N803
        if Key not in self.objects:
            raise refused("NoSuchKey", "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:  # noqa: N803
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {table: [to_item(dict(self.stored[key])) for key in ids if key in self.stored]}}


def _execution(name: str) -> str:
    return f"{ARN}:execution:a-BulkOrderIntake:{name}"
