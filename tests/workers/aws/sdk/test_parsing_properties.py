"""Our parser returns for any response of an operation's shape what the SDK's parser returns."""

import asyncio
import base64
import json
from functools import cache
from typing import Any

import pytest
from aiobotocore.parsers import AioResponseParserFactory
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape
from botocore.session import get_session
from hypothesis import given
from hypothesis import strategies as st

from workers.aws.sdk.parsing import ParserFactory

OPERATIONS = [
    ("sqs", "ReceiveMessage"),
    ("sqs", "DeleteMessageBatch"),
    ("sqs", "SendMessage"),
    ("dynamodb", "GetItem"),
    ("dynamodb", "UpdateItem"),
    ("dynamodb", "BatchExecuteStatement"),
]
MAX_DEPTH = 6
NOT_ASKED_FOR = {"ConsumedCapacity", "ItemCollectionMetrics"}
BINARY = {"B", "BS", "BinaryValue", "BinaryListValues"}
NAMES = {
    "plain": st.sampled_from(["Id", "m1"]),
    "null": st.sampled_from(["Id", "null"]),
    "binary": st.sampled_from(["Id", "m1"]),
    "binary names": st.sampled_from(["Id", *sorted(BINARY)]),
}
TEXTS = st.sampled_from(["", '"B"', "\u5f20 \U0001f600 \ud800"])
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "blob": st.binary(max_size=4).map(lambda raw: base64.b64encode(raw).decode()),
    "boolean": st.booleans(),
    "integer": st.integers(-(2**70), 2**70),
    "double": st.floats(0, 1e6),
}


@cache
def operation_model(service: str, operation: str) -> OperationModel:
    model: OperationModel = get_session().get_service_model(service).operation_model(operation)
    return model


@cache
def values_of(shape: Shape, content: str, depth: int = 0) -> st.SearchStrategy[Any]:
    """Return JSON for *shape*. Members may be missing. *content* says what else there is that the SDK changes."""

    def value_of(shape: Shape) -> st.SearchStrategy[Any]:
        value = values_of(shape, content, depth + 1)
        return value | st.none() if content == "null" else value

    def members() -> dict[str, st.SearchStrategy[Any]]:
        return {
            name: value_of(member)
            for name, member in (shape.members.items() if isinstance(shape, StructureShape) else ())
            if depth < MAX_DEPTH and name not in NOT_ASKED_FOR and (content == "binary" or name not in BINARY)
        }

    match shape:
        case StructureShape(name="AttributeValue"):  # One of its members says of what type the value is.
            return st.one_of(
                [st.fixed_dictionaries({name: value}) for name, value in members().items()] or [st.just({})]
            )
        case StructureShape():
            return st.fixed_dictionaries({}, optional=members())
        case ListShape():
            return st.lists(values_of(shape.member, content, depth + 1), max_size=2)
        case MapShape():
            return st.dictionaries(NAMES[content], values_of(shape.value, content, depth + 1), max_size=2)
    return SCALARS[shape.type_name] if shape.type_name != "string" else NAMES[content] | TEXTS


def parsed(factory: Any, model: OperationModel, body: bytes) -> Any:
    headers = {"x-amzn-requestid": "request-1", "Content-Type": "application/x-amz-json-1.0"}
    response = {"status_code": 200, "headers": headers, "body": body, "context": {"operation_name": model.name}}
    return asyncio.run(factory.create_parser("json").parse(response, model.output_shape))


@pytest.mark.parametrize("content", NAMES)
@given(st.data())
def test_a_response_is_parsed_as_by_the_sdk(content: str, data: st.DataObject) -> None:
    model = operation_model(*data.draw(st.sampled_from(OPERATIONS)))
    assert model.output_shape is not None
    body = json.dumps(data.draw(values_of(model.output_shape, content))).encode()
    assert parsed(ParserFactory(), model, body) == parsed(AioResponseParserFactory(), model, body)
