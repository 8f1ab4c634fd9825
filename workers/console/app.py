"""The console's web application: every request passes its checks here, and every response gets its headers."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from workers.console.console import CONSOLE, Console, Handler, console_of, explained_here, report
from workers.console.pages import (
    acting,
    cases,
    dead_letters,
    executions,
    letter_jobs,
    order_actions,
    orders,
    overview,
    queue_actions,
    queues,
    resolve,
    workflow,
)
from workers.console.pages.common import SESSION, page, prepare
from workers.console.proposed_name import keep_name, take_name
from workers.console.query import refuse_cards
from workers.console.security import CSRF_FIELD, HEADERS, TOKEN_FIELD, is_own_page

STATIC: Final = Path(__file__).parent / "static"
MAX_BODY_BYTES: Final = 2**20  # A form for some hundred cases.
MAX_FIELDS: Final = 10_000
FORM_TYPE: Final = "application/x-www-form-urlencoded"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_READING: Final = {"GET", "HEAD"}
# Not one that a browser takes for another host: `//host`, `/\\host`.
_PLAIN_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9/_.~%:@!$&'()*+,;=-]*")
_NOT_YOURS: Final = "This page is not for other sites."
PAGES: Final = (
    overview,
    queues,
    queue_actions,
    workflow,
    executions,
    orders,
    order_actions,
    cases,
    resolve,
    dead_letters,
    letter_jobs,
)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of `static/`, read once."""

    body: bytes
    content_type: str
    etag: str


def application(console: Console) -> web.Application:
    """Return the application that serves *console*."""
    made = web.Application(
        middlewares=[_of_known_host, _explaining, _with_session, _without_cards, _from_own_page],
        client_max_size=MAX_BODY_BYTES,
    )
    made[CONSOLE] = console
    prepare(made)
    for room in (acting, dead_letters, resolve):
        room.prepare(made)
    made.on_response_prepare.append(_add_headers)
    made.on_shutdown.append(_stop)
    made.router.add_get("/static/{name}", _static(_files()))
    for pages in PAGES:
        made.router.add_routes(pages.routes)
    return made


async def _stop(application: web.Application) -> None:
    application[CONSOLE].stopping.set()
    application[CONSOLE].feeds.close()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    is_static = request.path.startswith("/static/")
    response.headers.update({**HEADERS, "Cache-Control": "no-cache"} if is_static else HEADERS)
    response.headers.pop("Server", None)
    keep_name(request, response)


@web.middleware
async def _of_known_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not console_of(request).guard.is_host(request.headers.get("Host")):
        return web.Response(
            text="The console is not known by this host name: start it with --allowed-host NAME\n",
            status=web.HTTPMisdirectedRequest.status_code,
        )
    return await handler(request)


@web.middleware
async def _with_session(request: web.Request, handler: Handler) -> web.StreamResponse:
    guard = console_of(request).guard
    if TOKEN_FIELD in request.query and request.method == "GET":
        return _exchange(request)
    session = request.cookies.get(guard.cookie_name)
    if session is not None and guard.is_session(session):
        request[SESSION] = session
    elif request.method not in _READING or not request.path.startswith("/static/"):
        return await page(request, "no_session.html", status=web.HTTPUnauthorized.status_code)
    return await handler(request)


def _exchange(request: web.Request) -> web.Response:
    """Exchange the launch token for a cookie, and lead to the same page without the token."""
    guard = console_of(request).guard
    query = [(name, value) for name, value in request.query.items() if name != TOKEN_FIELD]
    raw_path = request.rel_url.raw_path
    address = raw_path if _PLAIN_PATH.fullmatch(raw_path) else "/"
    response = web.Response(
        status=web.HTTPSeeOther.status_code,
        headers={"Location": f"{address}?{urlencode(query)}" if query else address},
    )
    if guard.is_launch_token(request.query[TOKEN_FIELD]):
        response.set_cookie(guard.cookie_name, guard.new_session(), httponly=True, samesite="Strict", path="/")
    return response


@web.middleware
async def _without_cards(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method == "GET" and request.match_info.http_exception is None:
        refuse_cards(request)
    return await handler(request)


@web.middleware
async def _from_own_page(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a request that changes something, unless a page of this session has sent it and the console may write."""
    if request.method in _READING:
        return await handler(request)
    console = console_of(request)
    if request.method != "POST":
        return await refused(request, f"{request.method} is not used here.", web.HTTPMethodNotAllowed.status_code)
    if not is_own_page(request.headers, request.host):
        return await refused(request, _NOT_YOURS, web.HTTPForbidden.status_code)
    form = await _form(request)
    if not console.guard.is_csrf_token(request[SESSION], form.get(CSRF_FIELD)):
        text = "This form is not of your session any more. Go back, load the page again, and repeat it."
        return await refused(request, text, web.HTTPForbidden.status_code)
    if not console.place.can_write:
        return await refused(request, f"This console is read-only: {console.place.why_not}.", 403)
    take_name(request, form)
    return await handler(request)


async def _form(request: web.Request) -> Mapping[str, object]:
    """Return the fields of a form; the page's handler gets the same from `request.post()`. Raises errors of HTTP."""
    if request.content_type != FORM_TYPE:
        raise web.HTTPUnsupportedMediaType(text=f"Forms are sent as {FORM_TYPE}.")
    if (await request.read()).count(b"&") >= MAX_FIELDS:
        raise web.HTTPBadRequest(text=f"The form has more than {MAX_FIELDS:,} fields.")
    try:
        return await request.post()
    except (ValueError, LookupError):  # Its encoding is unknown, or it is not encoded as it says.
        raise web.HTTPBadRequest(text="The form cannot be read.") from None


@web.middleware
async def _explaining(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an error into a page that says what it means."""
    try:
        return await handler(request)
    except web.HTTPNotFound as error:
        said = _said(error) or "There is no such page."
        return await refused(request, said, error.status_code, title="Not found")
    except web.HTTPRequestEntityTooLarge as error:
        return await refused(request, f"That is more than {MAX_BODY_BYTES:,} bytes.", error.status_code)
    except web.HTTPException as error:
        if error.status_code < web.HTTPBadRequest.status_code:
            raise
        return await refused(request, _said(error) or error.reason, error.status_code)
    except Exception as error:  # noqa: BLE001 - the outermost handler.
        text = await explained_here(error, console_of(request).stack)
        if text is None:
            report(error)
            text = "Internal error. The console's log has it."
            return await refused(request, text, web.HTTPInternalServerError.status_code, title="Internal error")
        return await refused(request, text, web.HTTPBadGateway.status_code, title="Not available")


def _said(error: web.HTTPException) -> str | None:
    """Return the text that *error* was raised with; without one, aiohttp makes one of its number."""
    return None if error.text == f"{error.status}: {error.reason}" else error.text


async def refused(request: web.Request, text: str, status: int, title: str = "Not done") -> web.Response:
    """Return a page that says why a request was not done."""
    return await page(request, "refused.html", status=status, title=title, text=text)


def _files() -> Mapping[str, StaticFile]:
    return {
        file.name: StaticFile(
            file.read_bytes(), _TYPES[file.suffix], f'"{hashlib.sha256(file.read_bytes()).hexdigest()}"'
        )
        for file in STATIC.iterdir()
        if file.suffix in _TYPES
    }


def _static(files: Mapping[str, StaticFile]) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        file = files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=web.HTTPNotModified.status_code, headers={"ETag": file.etag})
        return web.Response(
            body=file.body, content_type=file.content_type, charset="utf-8", headers={"ETag": file.etag}
        )

    return serve
