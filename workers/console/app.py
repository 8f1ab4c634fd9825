"""The console's web application: every request passes its checks here, and every response gets its headers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from workers.console.console import CONSOLE, Console, Handler, console_of, explained_here, report
from workers.console.pages import overview, queues
from workers.console.pages.common import SESSION, page, prepare
from workers.console.security import CSRF_FIELD, HEADERS, TOKEN_FIELD, is_own_page

STATIC: Final = Path(__file__).parent / "static"
MAX_BODY_BYTES: Final = 2**20  # A form for some hundred cases.
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_READING: Final = {"GET", "HEAD"}
_NOT_YOURS: Final = "This page is not for other sites."


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of `static/`, read once."""

    body: bytes
    content_type: str
    etag: str


def application(console: Console) -> web.Application:
    """Return the application that serves *console*."""
    made = web.Application(
        middlewares=[_of_known_host, _with_session, _from_own_page, _explaining], client_max_size=MAX_BODY_BYTES
    )
    made[CONSOLE] = console
    prepare(made)
    made.on_response_prepare.append(_add_headers)
    made.on_shutdown.append(_stop)
    made.router.add_get("/static/{name}", _static(_files()))
    for pages in (overview, queues):
        made.router.add_routes(pages.routes)
    return made


async def _stop(application: web.Application) -> None:
    application[CONSOLE].stopping.set()
    application[CONSOLE].feeds.close()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    is_static = request.path.startswith("/static/")
    response.headers.update({**HEADERS, "Cache-Control": "no-cache"} if is_static else HEADERS)
    response.headers.pop("Server", None)


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
    elif not request.path.startswith("/static/"):
        return await page(request, "no_session.html", status=web.HTTPUnauthorized.status_code)
    return await handler(request)


def _exchange(request: web.Request) -> web.Response:
    """Exchange the launch token for a cookie, and lead to the same page without the token."""
    guard = console_of(request).guard
    query = [(name, value) for name, value in request.query.items() if name != TOKEN_FIELD]
    response = web.Response(
        status=web.HTTPSeeOther.status_code, headers={"Location": str(request.rel_url.with_query(query))}
    )
    if guard.is_launch_token(request.query[TOKEN_FIELD]):
        response.set_cookie(guard.cookie_name, guard.new_session(), httponly=True, samesite="Strict", path="/")
    return response


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
    form = await request.post()
    if not console.guard.is_csrf_token(request[SESSION], form.get(CSRF_FIELD)):
        text = "This form is not of your session any more. Go back, load the page again, and repeat it."
        return await refused(request, text, web.HTTPForbidden.status_code)
    if not console.place.can_write:
        return await refused(request, f"This console is read-only: {console.place.why_not}.", 403)
    return await handler(request)


@web.middleware
async def _explaining(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn an error into a page that says what it means."""
    try:
        return await handler(request)
    except web.HTTPNotFound as error:
        return await refused(request, error.text or "There is no such page.", error.status_code, title="Not found")
    except web.HTTPException as error:
        if error.status_code < web.HTTPBadRequest.status_code:
            raise
        return await refused(request, error.text or error.reason, error.status_code)
    except Exception as error:  # noqa: BLE001 - the outermost handler.
        text = await explained_here(error, console_of(request).stack)
        if text is None:
            report(error)
            text = "Internal error. The console's log has it."
            return await refused(request, text, web.HTTPInternalServerError.status_code, title="Internal error")
        return await refused(request, text, web.HTTPBadGateway.status_code, title="Not available")


async def refused(request: web.Request, text: str, status: int, title: str = "Not done") -> web.Response:
    """Return a page that says why a request was not done."""
    return await page(request, "refused.html", status=status, title=title, text=text)


def _files() -> Mapping[str, StaticFile]:
    return {
        file.name: StaticFile(
            file.read_bytes(), _TYPES[file.suffix], f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:32]}"'
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
