import pytest

from tests.workers.operations.status_world import World
from workers.console.console import Place
from workers.console.place import find_place
from workers.operations.stack import Stack

AWS = "https://{}.us-east-1.amazonaws.com"


async def place_of(monkeypatch: pytest.MonkeyPatch, *endpoints: str, write: bool = False) -> Place:
    async def urls(_: Stack) -> list[str]:
        return list(endpoints)

    monkeypatch.setattr(Stack, "endpoints", urls)
    return await find_place(World().stack(), write=write)


async def test_a_local_aws_may_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    place = await place_of(monkeypatch, "http://127.0.0.1:4566", "http://localhost:4566", "http://[::1]:4566")
    assert (place.name, place.is_local, place.can_write) == ("local AWS · 127.0.0.1:4566", True, True)


@pytest.mark.parametrize(
    "endpoint",
    [AWS.format("sqs"), "http://127.0.0.1.evil.example:4566", "http://10.0.0.1:4566", "http://0.0.0.0:1", "sqs"],
)
async def test_anything_else_is_read_only_unless_a_person_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    for endpoints in ([endpoint], ["http://127.0.0.1:4566", endpoint], [endpoint, "http://127.0.0.1:4566"]):
        place = await place_of(monkeypatch, *endpoints)
        assert (place.name, place.is_local, place.can_write) == ("000000000000 · us-east-1", False, False)
        assert place.why_not is not None
        assert "--write" in place.why_not
        writing = await place_of(monkeypatch, *endpoints, write=True)
        assert (writing.is_local, writing.can_write, writing.why_not) == (False, True, None)
