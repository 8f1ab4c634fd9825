"""The name that forms propose: the one that was typed last in this browser, else that of the console's own user."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from aiohttp import web

from workers.console.audit import text_field
from workers.console.console import console_of
from workers.domain.resolutions import MAX_ACTOR_CHARS

_FIELD: Final = "actor"
_TYPED: Final = web.RequestKey("typed_name", str)


def take_name(request: web.Request, form: Mapping[str, object]) -> None:
    """Remember the name in *form*, the checked one of *request*."""
    name = text_field(form, _FIELD)
    if 1 <= len(name) <= MAX_ACTOR_CHARS:
        request[_TYPED] = name


def proposed_name(request: web.Request) -> str:
    """Return the name for the forms of the page that answers *request*."""
    kept = text_field({_FIELD: unquote(request.cookies.get(_cookie(request), ""))}, _FIELD)
    return request.get(_TYPED) or kept[:MAX_ACTOR_CHARS] or console_of(request).actor


def keep_name(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser keep the name of *request*'s form until it ends."""
    name = request.get(_TYPED)
    if name is not None:  # As a header: the response's cookies are written before it is prepared.
        cookie = f"{_cookie(request)}={quote(name, safe='')}; HttpOnly; Path=/; SameSite=Strict"
        response.headers.add("Set-Cookie", cookie)


def _cookie(request: web.Request) -> str:
    return f"{console_of(request).guard.cookie_name}-name"
