import pytest
from botocore.exceptions import ClientError

from workers.operations.sdk_errors import explained
from workers.operations.stack import Stack


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ("SendMessage", "SendMessage (AccessDenied); the stack's parameter SenderArns names who may"),
        ("GetItem", "GetItem (AccessDenied)"),
    ],
)
async def test_a_refused_send_names_the_parameter_that_allows_it(operation: str, line: str) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
    assert await explained(error, Stack()) == f"these credentials do not allow {line}"
