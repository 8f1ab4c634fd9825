"""Finds out where the console looks, and whether it may change anything there."""

from urllib.parse import urlsplit

from workers.console.console import Place
from workers.http_values import is_loopback
from workers.operations.stack import Stack


async def find_place(stack: Stack, *, write: bool) -> Place:
    """
    Return the place of *stack*. Only a local AWS may be changed, unless a person said *write*.

    Raises the SDK's errors: without credentials, an account has no name.
    """
    urls = [urlsplit(url) for url in await stack.endpoints()]
    if all(is_loopback(url.hostname or "") for url in urls):
        return Place(f"local AWS · {urls[0].netloc}", is_local=True, can_write=True)
    name = f"{await stack.account()} · {await stack.region()}"
    why_not = None if write else "it was started without --write, and this is not a local AWS"
    return Place(name, is_local=False, can_write=write, why_not=why_not)
