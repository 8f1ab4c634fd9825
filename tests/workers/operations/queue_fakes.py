"""An SQS queue in memory, as `AsyncClient` for `Hold` and the actions on dead letters."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from workers.aws.sdk.blocking import AsyncClient


class FakeQueue:
    """
    A dead-letter queue with these messages, and the queue they came from.

    The first receipt handle of a message is its id. Each later delivery has another: `m-1#2`. As in SQS, old ones work.
    """

    def __init__(self, *ids: str, batch: int = 10) -> None:
        self._batch = batch
        self.parts: dict[str, dict[str, Any]] = {}  # Of a message that has more than an id and a body.
        self.delayed = 0
        self.counts: dict[str, str] | None = None  # What SQS counts; by default the right numbers.
        self.visible = list(ids)
        self.hidden: list[str] = []
        self.sent: list[str] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.changed: list[tuple[str, int]] = []  # Message ids and their new visibility timeouts.
        self.during: dict[str, Callable[[], None]] = {}  # Called while an operation is under way.
        self.refused: set[str] = set()  # Operations that fail, and message ids whose change of visibility fails.
        self.error: Exception | None = None  # The error of those operations; by default an internal error of SQS.
        self._deliveries: dict[str, int] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._released: dict[str, asyncio.Event] = {}

    @property
    def client(self) -> "AsyncClient":
        return cast("AsyncClient", self)

    @property
    def calls(self) -> list[str]:
        return [operation for operation, _ in self.requests]

    def requests_of(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.requests if name == operation]

    def come_back(self, *ids: str) -> None:
        """Let messages become visible although they are held."""
        for message_id in ids:
            self.hidden.remove(message_id)
            self.visible.append(message_id)

    def pause(self, operation: str) -> None:
        """Let calls of *operation* wait for `resume` before they do anything."""
        self._reached[operation], self._released[operation] = asyncio.Event(), asyncio.Event()

    async def reached(self, operation: str) -> None:
        await self._reached[operation].wait()

    def resume(self, operation: str) -> None:
        self._released[operation].set()

    async def call(self, operation: str, **request: Any) -> Any:
        self.requests.append((operation, request))
        if operation in self._reached:
            self._reached[operation].set()
            await self._released[operation].wait()
        if operation in self.refused:
            raise self.error or ClientError({"Error": {"Code": "InternalError", "Message": "no"}}, operation)
        self.during.get(operation, lambda: None)()
        return getattr(self, f"_{operation}")(request)

    def _list_queue_tags(self, _request: Mapping[str, Any]) -> Any:
        return {}

    def _receive_message(self, _request: Mapping[str, Any]) -> Any:
        received, self.visible = self.visible[: self._batch], self.visible[self._batch :]
        self.hidden += received
        return {"Messages": [self._delivered(message_id) for message_id in received]} if received else {}

    def _delivered(self, message_id: str) -> dict[str, Any]:
        delivery = self._deliveries[message_id] = self._deliveries.get(message_id, 0) + 1
        receipt = message_id if delivery == 1 else f"{message_id}#{delivery}"
        return {"MessageId": message_id, "ReceiptHandle": receipt, "Body": message_id} | self.parts.get(message_id, {})

    def _change_message_visibility_batch(self, request: Mapping[str, Any]) -> Any:
        assert request["Entries"], "SQS refuses an empty batch"
        answer: dict[str, list[Any]] = {"Successful": [], "Failed": []}
        for entry in request["Entries"]:
            message_id = _message_id(entry["ReceiptHandle"])
            failed = message_id in self.refused
            self.changed.append((message_id, entry["VisibilityTimeout"]))
            answer["Failed" if failed else "Successful"].append({"Id": entry["Id"]})
            if entry["VisibilityTimeout"] == 0 and not failed:
                self.come_back(message_id)
        return {name: entries for name, entries in answer.items() if entries}

    def _delete_message(self, request: Mapping[str, Any]) -> Any:
        self.hidden.remove(_message_id(request["ReceiptHandle"]))
        return {}

    def _send_message(self, request: Mapping[str, Any]) -> Any:
        self.sent.append(request["MessageBody"])
        return {}

    def _get_queue_attributes(self, _request: Mapping[str, Any]) -> Any:
        counts = {"": len(self.visible), "NotVisible": len(self.hidden), "Delayed": self.delayed}
        right = {f"ApproximateNumberOfMessages{state}": str(count) for state, count in counts.items()}
        return {"Attributes": right if self.counts is None else self.counts}


def _message_id(receipt: str) -> str:
    return receipt.partition("#")[0]
