"""An SQS queue in memory, as `AsyncClient` for `Hold` and the actions on dead letters."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from workers.aws.sdk.blocking import AsyncClient


class FakeQueue:
    """A dead-letter queue with these messages, and the queue they came from. Receipt handles are message ids."""

    def __init__(self, *ids: str, batch: int = 10) -> None:
        self._batch = batch
        self.visible = list(ids)
        self.hidden: list[str] = []
        self.sent: list[str] = []
        self.calls: list[str] = []
        self.changed: list[tuple[str, int]] = []  # Message ids and their new visibility timeouts.
        self.during: dict[str, Callable[[], None]] = {}  # Called while an operation is under way.
        self.refused: set[str] = set()  # Operations that fail, and message ids whose change of visibility fails.
        self._reached: dict[str, asyncio.Event] = {}
        self._released: dict[str, asyncio.Event] = {}

    @property
    def client(self) -> "AsyncClient":
        return cast("AsyncClient", self)

    def pause(self, operation: str) -> None:
        """Let calls of *operation* wait for `resume` before they do anything."""
        self._reached[operation], self._released[operation] = asyncio.Event(), asyncio.Event()

    async def reached(self, operation: str) -> None:
        await self._reached[operation].wait()

    def resume(self, operation: str) -> None:
        self._released[operation].set()

    async def call(self, operation: str, **request: Any) -> Any:
        self.calls.append(operation)
        if operation in self._reached:
            self._reached[operation].set()
            await self._released[operation].wait()
        if operation in self.refused:
            raise ClientError({"Error": {"Code": "InternalError", "Message": "no"}}, operation)
        self.during.get(operation, lambda: None)()
        return getattr(self, f"_{operation}")(request)

    def _receive_message(self, _request: Mapping[str, Any]) -> Any:
        received, self.visible = self.visible[: self._batch], self.visible[self._batch :]
        self.hidden += received
        return {
            "Messages": [
                {"MessageId": message_id, "ReceiptHandle": message_id, "Body": message_id} for message_id in received
            ]
        }

    def _change_message_visibility_batch(self, request: Mapping[str, Any]) -> Any:
        answer: dict[str, list[Any]] = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            message_id = entry["ReceiptHandle"]
            failed = message_id in self.refused
            self.changed.append((message_id, entry["VisibilityTimeout"]))
            answer["Failed" if failed else "Successful"].append({"Id": entry["Id"]})
            if entry["VisibilityTimeout"] == 0 and not failed:
                self.hidden.remove(message_id)
                self.visible.append(message_id)
        return answer

    def _delete_message(self, request: Mapping[str, Any]) -> Any:
        self.hidden.remove(request["ReceiptHandle"])
        return {}

    def _send_message(self, request: Mapping[str, Any]) -> Any:
        self.sent.append(request["MessageBody"])
        return {}

    def _get_queue_attributes(self, _request: Mapping[str, Any]) -> Any:
        return {"Attributes": {"ApproximateNumberOfMessages": str(len(self.visible))}}
