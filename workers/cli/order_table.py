"""Reads many orders of the order table; and what may be asked of a table at all."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from workers.aws.items import from_item, to_item
from workers.cli.parallel import in_parallel
from workers.domain.cards import looks_like_card, masked_card_number

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from workers.cli.stack import Stack

MAX_BATCH = 100  # DynamoDB: items per BatchGetItem.
MAX_KEY_CHARS = 255  # Of an OrderId or a CaseId, the longest of which is made of an execution's name.
AT_ONCE = 8  # Requests.
_PAUSE_S, _MAX_PAUSE_S = 0.1, 5.0


def is_key(text: str) -> bool:
    """Tell whether *text* may be an OrderId or a CaseId. AWS is not even asked for another: it may be a card number."""
    surrogates = any("\ud800" <= each <= "\udfff" for each in text)  # Bytes that are no UTF-8.
    return 0 < len(text) <= MAX_KEY_CHARS and not surrogates and not looks_like_card(text)


def get_orders(stack: "Stack", order_ids: Iterable[str], *, at_once: int = AT_ONCE) -> Iterator[list[dict[str, Any]]]:
    """Yield the orders called that, as they are now, a hundred at a time; those that do not exist are left out."""
    remaining = iter(order_ids)
    batches = iter(lambda: list(islice(remaining, MAX_BATCH)), [])
    return in_parallel(lambda batch: _get(stack, batch), batches, at_most=at_once)


def _get(stack: "Stack", order_ids: list[str]) -> list[dict[str, Any]]:
    """Read a batch, in its order. What DynamoDB leaves out is asked for again, more and more slowly."""
    table, found = stack.names.order_table, dict[str, dict[str, Any]]()
    keys = [to_item({"OrderId": each}) for each in order_ids]
    pause_s = _PAUSE_S
    while keys:
        answer = stack.dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        for item in map(shown_order, answer["Responses"].get(table, [])):
            found[item["OrderId"]] = item
        left: Any = answer.get("UnprocessedKeys", {})
        keys = left.get(table, {}).get("Keys", [])
        if keys:
            time.sleep(random.uniform(0, pause_s))  # noqa: S311 - jitter.
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
    return [found[each] for each in order_ids if each in found]


def shown_order(item: Mapping[str, "AttributeValueTypeDef"]) -> dict[str, Any]:
    """Return an order as it may be shown. The table holds it masked; who else wrote to that table, nobody knows."""
    order = from_item(item)
    if "CC" in order:
        order["CC"] = masked_card_number(str(order["CC"]))
    return order
