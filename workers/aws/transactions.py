"""Writes DynamoDB transactions. Those of concurrent handlers go together, in one TransactWriteItems."""

import itertools
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import orjson
from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import ITEM_FAULTS, ask, cancellation_codes, cancellation_outage, cancelled_transaction
from workers.aws.group_commit import GroupCommit
from workers.aws.halves import send_halves
from workers.errors import ConflictError, OutageError, SuspectedOutageError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import TransactWriteItemTypeDef

MAX_GROUP = 25  # Transactions per request. DynamoDB allows 100 writes; a case and its order are two.
MAX_GROUP_BYTES = (
    3_000_000  # DynamoDB: 4 MB of items per request. The JSON that is counted here is larger than an item.
)
MAX_REQUESTS = 2  # One request runs while the next group fills. More requests would only make the groups smaller.
MAX_GROUPS_EACH = 2  # A transaction whose group was cancelled twice by others is written alone.
# If two groups in a row are cancelled, several others are probably about to be: for example, because another worker
# handles messages about the same orders. A cancelled group costs all its writes. So the next transactions, as many as
# fill four groups, are written alone.
MAX_CANCELLED = 2
SINGLE_WRITES = 100
# DynamoDB cancels a transaction for one of these reasons if another write was faster.
_CONFLICTS = {"ConditionalCheckFailed", "TransactionConflict"}
_ACCEPTED = "None"


class _Outcome(Enum):
    """What became of a transaction that was sent in a group."""

    WRITTEN = auto()
    ALONE = auto()  # DynamoDB cancelled the group because of this transaction.
    AGAIN = auto()  # DynamoDB cancelled the group because of others.


@dataclass(frozen=True, slots=True)
class _Transaction:
    writes: "Sequence[TransactWriteItemTypeDef]"
    size_bytes: int


class Transactions:
    """
    Writes transactions, alone or together with those of concurrent callers.

    A group is one transaction for DynamoDB: all of it is written, or nothing. If DynamoDB cancels a group, it names the
    writes that it does not accept. Their transactions are then written alone, and so get their own errors, except for
    those that it throttled; the others are sent in another group.

    If the response to a group is lost, every caller gets the outage, whether its transaction was written or not.
    """

    def __init__(self, dynamodb: "DynamoDBClient") -> None:
        self._dynamodb = dynamodb
        self._groups: GroupCommit[_Transaction, _Outcome] = GroupCommit(
            self._send, name="transactions", max_group=MAX_GROUP, max_requests=MAX_REQUESTS
        )
        self._cancelled = 0  # How many groups in a row were cancelled.
        self._single_writes = 0  # How many more transactions are written alone.

    async def write(self, writes: "Sequence[TransactWriteItemTypeDef]") -> None:
        """
        Write a transaction of its own.

        Raises:
            ConflictError: An item has changed, or another transaction was faster.
            OutageError: A problem that may pass by itself. The transaction may have been written.
            ClientError: AWS blames this transaction.
        """
        try:
            await self._ask(writes)
        except ClientError as error:
            if cancelled_transaction(error) is not None and _CONFLICTS & set(cancellation_codes(error)):
                raise ConflictError("order or case has changed") from error
            raise

    async def write_together(self, key: str, writes: "Sequence[TransactWriteItemTypeDef]") -> None:
        """
        Write a transaction, if possible in a group. Raises the same errors as `write`.

        No group has two transactions with the same *key*, because DynamoDB refuses two writes to one item.
        """
        transaction = _Transaction(writes, _size_bytes(writes))
        for _ in range(MAX_GROUPS_EACH):
            if self._single_writes > 0:
                self._single_writes -= 1
                break
            outcome = await self._groups.submit(key, transaction)
            if outcome is _Outcome.WRITTEN:
                return
            if outcome is _Outcome.ALONE:
                break
        await self.write(writes)

    async def _send(self, group: Sequence[_Transaction]) -> Sequence[_Outcome | Exception]:
        if len(group) == 1:
            await self.write(group[0].writes)
            return [_Outcome.WRITTEN]
        if sum(transaction.size_bytes for transaction in group) > MAX_GROUP_BYTES:
            return await send_halves(self._send, group)
        try:
            await self._ask([*itertools.chain.from_iterable(transaction.writes for transaction in group)])
        except (ClientError, ParamValidationError, OutageError) as error:
            cancelled = cancelled_transaction(error)
            if cancelled is not None:
                self._count_cancelled()
                return _sort_out(group, cancellation_codes(cancelled))
            if isinstance(error, OutageError):
                if isinstance(error, SuspectedOutageError):
                    self._count_cancelled()  # Perhaps because of one of them. Alone, that one fails no other.
                raise
            # DynamoDB refuses the request because of one transaction, and does not say which.
            return await send_halves(self._send, group)
        self._cancelled = 0
        return [_Outcome.WRITTEN] * len(group)

    async def _ask(self, writes: "Sequence[TransactWriteItemTypeDef]") -> None:
        # The token makes it safe to repeat the request after a lost response: DynamoDB knows it for ten minutes.
        token = str(uuid.uuid4())
        call = self._dynamodb.transact_write_items
        await ask(call, ITEM_FAULTS, TransactItems=writes, ClientRequestToken=token)

    def _count_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled == MAX_CANCELLED:
            self._cancelled = 0
            self._single_writes = SINGLE_WRITES


def _sort_out(group: Sequence[_Transaction], codes: Sequence[str]) -> list[_Outcome | Exception]:
    """
    Return what becomes of the transactions of a cancelled group. *codes* has one for each write of the group.

    A transaction that was throttled fails: written alone, it would reach DynamoDB again at once.
    """
    remaining = iter(codes)
    each = [list(itertools.islice(remaining, len(transaction.writes))) for transaction in group]
    if len(codes) != sum(len(transaction.writes) for transaction in group) or set(codes) <= {_ACCEPTED}:
        return [_Outcome.ALONE] * len(group)
    return [_Outcome.AGAIN if set(own) <= {_ACCEPTED} else _fate(own) for own in each]


def _fate(codes: Sequence[str]) -> _Outcome | Exception:
    """Return what becomes of a transaction because of which its group was cancelled. *codes*: of its own writes."""
    outage = cancellation_outage(codes)
    return _Outcome.ALONE if outage is None or isinstance(outage, SuspectedOutageError) else outage


def _size_bytes(writes: Any) -> int:
    """Return the size of *writes* as JSON: more than the size of their items, which has no quotes and braces."""
    try:
        return len(orjson.dumps(writes))
    except TypeError:  # Bytes, or half of a surrogate pair. Let DynamoDB judge it.
        return len(json.dumps(writes, default=repr))
