from collections.abc import Sequence

from workers.aws.halves import send_halves
from workers.errors import OutageError


async def test_the_results_are_in_the_order_of_the_entries() -> None:
    async def send(part: Sequence[str]) -> Sequence[str | Exception]:
        return [entry.upper() for entry in part]

    for group in ("ab", "abc", "abcdefg"):
        assert await send_halves(send, group) == [*group.upper()]


async def test_a_half_that_fails_does_not_fail_the_other_one() -> None:
    async def send(part: Sequence[str]) -> Sequence[str | Exception]:
        if "d" in part:
            raise OutageError("down")
        return [*part]

    results = await send_halves(send, "abcde")
    assert results[:2] == ["a", "b"]
    assert [str(result) for result in results[2:]] == ["down"] * 3
