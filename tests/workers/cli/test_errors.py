import pytest
from botocore.exceptions import ClientError

from workers.cli.errors import explained
from workers.cli.stack import Stack


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ("SendMessage", "SendMessage (AccessDenied); the stack's parameter SenderArns names who may"),
        ("GetItem", "GetItem (AccessDenied)"),
    ],
)
def test_who_may_not_send_is_told_what_decides_it(operation: str, told: str) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
    assert explained(error, Stack()) == f"these credentials do not allow {told}"
