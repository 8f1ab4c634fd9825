from workers.fulfillment.tokens import FixedToken


async def test_a_fixed_token_never_changes() -> None:
    token = FixedToken("s3cret")
    assert await token.current() == "s3cret"
    assert await token.instead_of("s3cret") is None
    assert await token.instead_of("an older one") == "s3cret"


def test_a_fixed_token_is_not_printed() -> None:
    assert "s3cret" not in repr(FixedToken("s3cret"))
