"""Serializes requests in a tenth of the SDK's time."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME  # The SDK refuses them.
# Members whose value is a blob. The SDK turns it into base64, also if it is a text.
_BLOBS = {"dynamodb": (b'"B":', b'"BS":'), "sqs": (b'"BinaryValue":', b'"BinaryListValues":')}
_WITHOUT_BLOBS = {"ChangeMessageVisibilityBatch", "DeleteMessageBatch", "ReceiveMessage"}


def serializer(service: str, action: str) -> Callable[[Mapping[str, Any]], bytes | None]:
    """
    Return a function that returns a request of *action* in JSON; None if the SDK has to serialize it.

    A request that the SDK refuses, because a list or a map is None, may be serialized. Then AWS refuses it.
    """
    blobs = () if action in _WITHOUT_BLOBS else _BLOBS[service]
    named_by_arn = _NAMED_BY_ARN.get(action)

    def serialize(request: Mapping[str, Any]) -> bytes | None:
        try:
            if None in request.values() or (named_by_arn is not None and named_by_arn(request)):
                return None
            body = orjson.dumps(request, option=_OPTIONS)
        except (AttributeError, TypeError):
            return None  # Bytes, numbers beyond 64 bits, half of a surrogate pair, and what the SDK refuses, too.
        # Looking for one byte takes a fraction of a microsecond. Looking for more takes one for each kilobyte.
        if blobs and b"B" in body and any(blob in body for blob in blobs):
            return None
        return body

    return serialize


def _table(request: Mapping[str, Any]) -> bool:
    return _is_arn(request.get("TableName"))


def _tables(request: Mapping[str, Any]) -> bool:
    return any(map(_is_arn, request.get("RequestItems", ())))


def _tables_of_writes(request: Mapping[str, Any]) -> bool:
    for item in request.get("TransactItems", ()):
        for write in item.values():
            if _is_arn(write.get("TableName")):
                return True
    return False


def _is_arn(name: Any) -> bool:
    return isinstance(name, str) and name.startswith("arn:")


# For a table that is named by its ARN, the SDK may choose another endpoint.
_NAMED_BY_ARN = {
    "BatchGetItem": _tables,
    "GetItem": _table,
    "Query": _table,
    "TransactWriteItems": _tables_of_writes,
    "UpdateItem": _table,
}
