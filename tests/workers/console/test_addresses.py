"""The addresses of pages, whatever is in an id."""

from workers.console.addresses import path

CARD = "4111111111111111"


def test_an_address_is_quoted_and_says_only_what_is_given() -> None:
    assert path("orders", "a/b?c#d&e") == "/orders/a%2Fb%3Fc%23d%26e"
    assert path("orders", "\u202e<") == "/orders/%E2%80%AE%3C"
    assert path("cases", reason=["A", "B"], q="x y&z", all_=True, none=None, empty="", no=False) == (
        "/cases?reason=A&amp;reason=B&amp;q=x+y%26z&amp;all=True"
    )
    assert CARD not in path("orders", q=CARD)
