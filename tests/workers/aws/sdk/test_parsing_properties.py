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

OPERATIONS = {
    "sqs": ["ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessage", "SendMessageBatch"],
    "dynamodb": ["GetItem", "UpdateItem", "TransactWriteItems", "BatchExecuteStatement", "BatchGetItem", "Query"],
}
MAX_DEPTH = 6
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["m1", "null", "B", "BinaryValue", '"B"', "\u5f20 \U0001f600 \ud800", ""]),
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
def values_of(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Return JSON for *shape* as AWS may send it: members may be missing or null."""
    match shape:
        case StructureShape(name="AttributeValue"):  # One of its members says of what type the value is.
            kinds = [(name, member) for name, member in shape.members.items() if depth < MAX_DEPTH or name not in "LM"]
            return st.one_of(st.fixed_dictionaries({name: values_of(member, depth + 1)}) for name, member in kinds)
        case StructureShape():
            members = shape.members if depth < MAX_DEPTH else {}
            optional = {name: values_of(member, depth + 1) for name, member in members.items()}
            return st.fixed_dictionaries({}, optional=optional) | st.none()
        case ListShape():
            return st.lists(values_of(shape.member, depth + 1), max_size=2)
        case MapShape():
            return st.dictionaries(
                st.sampled_from(["Id", "B", "null", "x"]), values_of(shape.value, depth + 1), max_size=2
            )
    return SCALARS[shape.type_name]


def parsed(factory: Any, model: OperationModel, body: bytes) -> Any:
    headers = {"x-amzn-requestid": "request-1", "Content-Type": "application/x-amz-json-1.0"}
    response = {"status_code": 200, "headers": headers, "body": body, "context": {"operation_name": model.name}}
    return asyncio.run(factory.create_parser("json").parse(response, model.output_shape))


@pytest.mark.parametrize("service", OPERATIONS)
@given(st.data())
def test_a_response_is_parsed_as_by_the_sdk(service: str, data: st.DataObject) -> None:
    model = operation_model(service, data.draw(st.sampled_from(OPERATIONS[service])))
    assert model.output_shape is not None
    body = json.dumps(data.draw(values_of(model.output_shape)) or {}).encode()
    assert parsed(ParserFactory(), model, body) == parsed(AioResponseParserFactory(), model, body)
