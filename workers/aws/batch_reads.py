"""Reads items of several tables. The reads of concurrent handlers go together, in one BatchGetItem."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import ITEM_FAULTS, ask, readable
from workers.aws.group_commit import GroupCommit
from workers.aws.halves import send_halves
from workers.backoff import Backoff
from workers.errors import OutageError, SuspectedOutageError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

MAX_KEYS = 100  # DynamoDB: keys per BatchGetItem.
MAX_KEYS_PER_READ = 2  # An order and its case.
MAX_REQUESTS = 2  # One request runs while the next group fills. More requests would only make the groups smaller.
# DynamoDB leaves keys unprocessed if it is throttling, or if the response would be larger than 16 MB. A hundred items
# of the maximum size, 400 KB, take three responses.
MAX_TRIES = 5
UNPROCESSED = Backoff(base_s=0.1, cap_s=5.0)

Item = Mapping[str, Any]  # In DynamoDB's JSON.
Key = tuple[str, str]  # The table's name, and the value of its partition key.
Found = dict[Key, Item | None]


@dataclass(frozen=True, slots=True)
class ReadTable:
    """A table to read from. `attributes`: the only attributes to read, as a projection expression with the key."""

    name: str
    key: str
    attributes: str | None = None


class BatchReads:
    """
    Reads items consistently, up to `MAX_KEYS` in one request. A read that comes alone is sent at once.

    A read that fails does not fail the others in its request, and a read whose keys DynamoDB has not processed does not
    delay them.
    """

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        *tables: ReadTable,
        keys_per_read: int = MAX_KEYS_PER_READ,
        unprocessed: Backoff = UNPROCESSED,
    ) -> None:
        self._dynamodb = dynamodb
        self._tables = {table.name: table for table in tables}
        self._unprocessed = unprocessed
        self._reads: GroupCommit[Sequence[Key], Found] = GroupCommit(
            self._send, name="reads", max_group=MAX_KEYS // keys_per_read, max_requests=MAX_REQUESTS
        )
        self._numbers = itertools.count()

    async def read(self, *keys: Key) -> list[Item | None]:
        """
        Return the items with *keys*, at most `keys_per_read`; None for an item that does not exist.

        Raises:
            OutageError: A problem that may pass by itself. An unreadable response is one, never a missing item.
            ClientError: AWS blames this read.
        """
        found = Found()
        wanted: Sequence[Key] = keys
        for attempt in range(1, MAX_TRIES + 1):
            # The number is the read's own key: reads of the same item may share a request.
            found |= await self._reads.submit(str(next(self._numbers)), wanted)
            wanted = [key for key in keys if key not in found]
            if not wanted:
                return [found[key] for key in keys]
            await asyncio.sleep(self._unprocessed.wait_s(attempt))
        raise OutageError("BatchGetItem: a key was not processed")

    async def _send(self, group: Sequence[Sequence[Key]]) -> Sequence[Found | Exception]:
        """Read the keys of many reads in one request. Each read gets what was found, without unprocessed keys."""
        keys = dict.fromkeys(itertools.chain.from_iterable(group))  # A request must not name a key twice.
        try:
            answer = await ask(self._dynamodb.batch_get_item, ITEM_FAULTS, RequestItems=self._request(keys))
        except (ClientError, ParamValidationError) as error:
            if len(group) == 1:
                return [error]
            return await send_halves(self._send, group)  # DynamoDB refuses the whole request because of one key.
        with readable("BatchGetItem"):
            found, unknown = self._found(keys, answer)
        return [
            _unreadable() if unknown.intersection(read) else {key: found[key] for key in read if key in found}
            for read in group
        ]

    def _request(self, keys: Iterable[Key]) -> Any:
        asked: dict[str, Any] = {}
        for name, value in keys:
            table = self._tables[name]
            if name not in asked:
                asked[name] = {"Keys": [], "ConsistentRead": True}
                if table.attributes is not None:
                    asked[name]["ProjectionExpression"] = table.attributes
            asked[name]["Keys"].append({table.key: {"S": value}})
        return asked

    def _found(self, keys: Iterable[Key], answer: Any) -> tuple[Found, set[Key]]:
        """
        Return what *answer* says about *keys*, and the keys about which it says nothing readable.

        A key is in neither if DynamoDB has not processed it. An item is missing only if it is absent from a readable
        list of its table: DynamoDB lists every requested table, even if it has found nothing there.
        """
        unprocessed = {
            (name, key[self._tables[name].key]["S"])
            for name, rest in (answer.get("UnprocessedKeys") or {}).items()
            for key in rest["Keys"]
        }
        found, readable_tables = Found(), set[str]()
        for name, items in answer["Responses"].items():
            table, unread = self._tables[name], not isinstance(items, list)
            for item in [] if unread else items:
                value = _key_value(item, table.key)
                if value is None:
                    unread = True
                else:
                    found[name, value] = item
            if not unread:
                readable_tables.add(name)
        unknown = set[Key]()
        for key in keys:
            if key not in found and key not in unprocessed:
                if key[0] in readable_tables:
                    found[key] = None
                else:
                    unknown.add(key)
        return found, unknown


def _key_value(item: Any, key: str) -> str | None:
    """Return the value of an item's partition key; None if it is unreadable."""
    value = item.get(key) if isinstance(item, dict) else None
    text = value.get("S") if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def _unreadable() -> SuspectedOutageError:
    return SuspectedOutageError("BatchGetItem: an unreadable response")
