"""Every request proves that it is of a known host, a session and an own page. Here it does not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.workers.console.site import HOST, ORIGIN, PORT, READ_ONLY, TOKEN, Site
from tests.workers.operations.fakes import FakeClient, refused
from workers.console import app
from workers.console.security import CSRF_FIELD, HEADERS, Guard, allowed_hosts

OTHER_TOKEN = "launch-token-of-another-one-0"
# What a read may ask AWS for. Receiving messages hides them from others, so it is none.
READS = ("get_", "list_", "describe_", "query", "batch_get_", "filter_log_events", "head_")
FILL = "x"


def paths(site: Site, method: str) -> Iterator[str]:
    """Yield a path for each route of the console with this method, whatever part has added it."""
    for route in site.application.router.routes():
        if route.method == method and route.resource is not None:
            path = route.resource.canonical
            while "{" in path:
                before, _, rest = path.partition("{")
                path = before + FILL + rest.partition("}")[2]
            yield path


def forged(site: Site) -> dict[str, str]:
    return {CSRF_FIELD: site.console.guard.csrf_token(site.session), "actor": "ada", "note": "n", "action": "cancel"}


# Hosts


async def test_loopback_is_a_known_host() -> None:
    async with Site.started() as site:
        for host in (HOST, f"localhost:{PORT}", f"LocalHost:{PORT}", f"[::1]:{PORT}"):
            assert (await site.send("GET", "/", Host=host)).status == 200


UNKNOWN_HOSTS = [
    "evil.example",
    f"evil.example:{PORT}",
    f"127.0.0.1.evil.example:{PORT}",
    f"evil.example@127.0.0.1:{PORT}",
    "127.0.0.1",
    "127.0.0.1:8091",
    f"localhost.:{PORT}",
    f"127.1:{PORT}",
    f"0.0.0.0:{PORT}",
    f"[::ffff:127.0.0.1]:{PORT}",
    f"[0:0:0:0:0:0:0:1]:{PORT}",
    f"127.0.0.1:{PORT}, evil.example",
    f"127.0.0.1:0{PORT}",
    f"http://127.0.0.1:{PORT}",
    "",
]


async def test_an_unknown_host_gets_nothing() -> None:
    async with Site.started() as site:
        for host in UNKNOWN_HOSTS:
            for path in ("/", "/static/app.css", f"/?token={TOKEN}"):
                page = await site.send("GET", path, Host=host)
                assert (page.status, "Set-Cookie" in page.headers) == (421, False), host
                assert page.html == "The console is not known by this host name: start it with --allowed-host NAME\n"


async def test_a_request_names_one_host() -> None:
    async with Site.started() as site:
        for lines in ("", f"Host: {HOST}\r\nHost: evil.example\r\n", f"Host: evil.example\r\nHost: {HOST}\r\n"):
            answer = await site.raw(f"GET /static/app.js HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            assert answer.split()[1] in {"400", "421"}
        answer = await site.raw(b"GET /static/app.js HTTP/1.0\r\n\r\n")  # In this version it may be missing.
        assert answer.split()[1] == "421"


async def test_the_host_in_the_request_line_does_not_replace_that_of_the_header() -> None:
    async with Site.started() as site:
        ask = "GET http://{}/?token={} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
        assert " 421 " in await site.raw(ask.format(HOST, TOKEN, "evil.example").encode())
        answer = await site.raw(ask.format("evil.example", TOKEN, HOST).encode())
        assert "Location: /\r\n" in answer


async def test_a_host_that_a_person_allows_is_known() -> None:
    async with Site.started(hosts=["console.example", "10.0.0.1:80"]) as site:
        for host in ("console.example", f"Console.Example:{PORT}", "10.0.0.1:80"):
            assert (await site.send("GET", "/", Host=host)).status == 200
        for host in ("console.example:81", "10.0.0.1", "a.console.example"):
            assert (await site.send("GET", "/", Host=host)).status == 421


# Sessions


async def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address() -> None:
    async with Site.started() as site:
        page = await site.send("GET", f"/cases?token={TOKEN}&reason=a%26b&q=%C3%A4", anonymous=True)
        assert (page.status, page.headers["Location"], page.html) == (303, "/cases?reason=a%26b&q=%C3%A4", "")
        name, _, rest = page.headers["Set-Cookie"].partition("=")
        session, *flags = rest.split("; ")
        assert name == f"console-{PORT}"
        assert sorted(flags) == ["HttpOnly", "Path=/", "SameSite=Strict"]
        site.session = session
        assert (await site.get("/")).status == 200


async def test_a_wrong_token_gets_no_cookie() -> None:
    async with Site.started() as site:
        for token in ("", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), OTHER_TOKEN, "%00", "%F0%9F%98%80"):
            page = await site.send("GET", f"/?token={token}", anonymous=True)
            assert (page.status, page.headers["Location"], "Set-Cookie" in page.headers) == (303, "/", False)


async def test_only_a_get_exchanges_the_token() -> None:
    async with Site.started() as site:
        for method in ("HEAD", "POST", "PUT", "OPTIONS"):
            page = await site.send(method, f"/?token={TOKEN}", anonymous=True, Origin=ORIGIN)
            assert page.status == 401
            assert "Set-Cookie" not in page.headers
        answer = await site.send("POST", "/", {"token": TOKEN}, anonymous=True, Origin=ORIGIN)
        assert answer.status == 401


async def test_the_exchange_leads_to_no_other_host() -> None:
    async with Site.started() as site:
        for path in ("//evil.example/", "/\\evil.example", "/\\/evil.example", "///evil.example", "//evil.example\\"):
            ask = f"GET {path}?token={TOKEN} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            answer = await site.raw(ask.encode())
            locations = [line for line in answer.splitlines() if line.startswith("Location")]
            assert locations == ["Location: /"], path


async def test_the_exchange_adds_no_header() -> None:
    async with Site.started() as site:
        page = await site.send("GET", f"/a%0d%0aX-Evil:1?b=%0d%0aX-Evil:2&token={TOKEN}")
        assert "X-Evil" not in page.headers
        assert page.headers["Location"] == "/a%0d%0aX-Evil:1?b=%0D%0AX-Evil%3A2"


async def test_a_session_cannot_be_made_or_changed_without_the_token() -> None:
    async with Site.started() as site:
        guard, real = site.console.guard, site.session
        session_id, _, signature = real.partition(".")
        of_another_launch = Guard(OTHER_TOKEN, PORT, allowed_hosts(PORT)).new_session()
        for session in (
            "",
            ".",
            session_id,
            f"{session_id}.",
            f"{session_id}.{'0' * 64}",
            f"other.{signature}",
            f".{guard._signed('session', '')}",
            f"{session_id}.{guard.csrf_token(real)}",
            f"{real}.{guard.csrf_token(real)}",
            of_another_launch,
            TOKEN,
        ):
            site.session = session
            assert (await site.get("/")).status == 401, session


async def test_without_a_session_only_the_look_is_shown() -> None:
    async with Site.started(place=READ_ONLY) as site:
        page = await site.send("GET", "/orders/A-1", anonymous=True)
        assert page.status == 401
        assert "Open the printed address" in page.text
        for private in (READ_ONLY.name, "ada", site.session, TOKEN):
            assert private not in page.html
        assert (await site.send("GET", "/static/app.css", anonymous=True)).status == 200
        for path in paths(site, "GET"):
            if not path.startswith("/static/"):
                assert (await site.send("GET", path, anonymous=True)).status == 401
        assert site.calls == []


# Actions


async def _refused(site: Site, status: int, method: str = "POST", **headers: Any) -> None:
    for path in ["/", *paths(site, "POST")]:
        page = await site.send(method, path, forged(site), **headers)
        assert page.status == status, path
    assert [name for _, name in site.calls if not name.startswith(READS)] == []


async def test_no_action_is_done_without_a_session() -> None:
    async with Site.started() as site:
        for path in ["/", "/static/app.css", *paths(site, "POST")]:
            assert (await site.send("POST", path, forged(site), anonymous=True, Origin=ORIGIN)).status == 401, path
        assert site.calls == []


async def test_no_action_is_done_from_a_foreign_host() -> None:
    async with Site.started() as site:
        await _refused(site, 421, Host=f"evil.example:{PORT}", Origin=f"http://evil.example:{PORT}")


FOREIGN: list[dict[str, str]] = [
    {},
    {"Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:8091"},
    {"Origin": f"http://localhost:{PORT}"},  # The request's host is 127.0.0.1.
    {"Origin": f"{ORIGIN}.evil.example"},
    {"Origin": f"{ORIGIN}/"},
    {"Origin": ""},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": "SAME-ORIGIN"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.example"},
    {"Sec_Fetch_Site": "cross-site", "Origin": ORIGIN},
    {"Referer": f"{ORIGIN}/"},
]


async def test_no_action_is_done_from_a_foreign_page() -> None:
    async with Site.started() as site:
        for headers in FOREIGN:
            await _refused(site, 403, **headers)


OWN: list[dict[str, Any]] = [
    {"Origin": ORIGIN},
    {"Origin": ORIGIN.upper()},
    {"Sec_Fetch_Site": "same-origin"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "null"},  # As Chromium sends a form under `no-referrer`.
]


async def test_a_form_of_the_console_passes() -> None:
    async with Site.started() as site:
        for headers in OWN:
            page = await site.send("POST", "/", forged(site), **headers)
            # It has passed: the overview has no forms.
            assert (page.status, page.text) == (405, "Not done Method Not Allowed To the overview")


async def test_no_action_is_done_without_the_sessions_own_token() -> None:
    async with Site.started() as site:
        guard = site.console.guard
        other = guard.csrf_token(guard.new_session())
        for token in (None, "", "x", other, guard.csrf_token(site.session).upper(), site.session, TOKEN):
            for path in ["/", *paths(site, "POST")]:
                fields = {"actor": "ada", "note": "n"} | ({} if token is None else {CSRF_FIELD: token})
                page = await site.send("POST", path, fields, Origin=ORIGIN)
                assert (page.status, "not of your session" in page.text) == (403, True), (path, token)
        in_the_address = f"/?{CSRF_FIELD}={guard.csrf_token(site.session)}"
        assert (await site.send("POST", in_the_address, {"a": "b"}, Origin=ORIGIN)).status == 403


async def test_a_read_only_console_does_no_action() -> None:
    async with Site.started(place=READ_ONLY) as site:
        await _refused(site, 403, Origin=ORIGIN)
        page = await site.post("/")
        assert READ_ONLY.why_not is not None
        assert READ_ONLY.why_not in page.text


async def test_no_other_method_is_used() -> None:
    async with Site.started() as site:
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
            await _refused(site, 405, method, Origin=ORIGIN)
        answer = await site.raw(f"get / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert answer.split()[1] in {"400", "401"}


async def test_no_get_changes_anything() -> None:
    async with Site.started() as site:
        for path in paths(site, "GET"):
            if "/live/" not in path:
                await site.get(path)
                await site.send("HEAD", path)
                await site.get(f"{path}?action=cancel&confirm=yes&actor=ada&note=n&id=1&dry_run=")
        assert site.calls
        assert [name for _, name in site.calls if not name.startswith(READS)] == []


# Answers


async def test_no_address_of_a_page_keeps_what_looks_like_a_card_number() -> None:
    async with Site.started() as site:
        for path in paths(site, "GET"):
            page = await site.get(f"{path}?order=4929+1234+1234+5678&machine=sweep")
            if page.status != 404:  # Not each address that is made up here leads to a page.
                assert (page.status, page.headers["Location"]) == (303, f"{path}?machine=sweep&refused=card")
        for path in ("/workflow", "/executions/x", "/dead-letters/x/looks/x", "/orders/x/cancel", "/live/executions/x"):
            assert (await site.get(f"{path}?state=4929123412345678")).headers["Location"] == f"{path}?refused=card"
        assert "That looked like a card number" in (await site.get("/cases?refused=card")).text
        cookie = f"{site.console.guard.cookie_name}={site.session}"
        head = f"Host: {HOST}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        answer = await site.raw(f"GET //evil.example/?order=4929123412345678 HTTP/1.1\r\n{head}".encode())
        assert (answer.split()[1], "Location" in answer) == ("404", False)  # It leads to no other host.


async def test_every_answer_has_the_headers() -> None:
    async with Site.started() as site:
        answers = [
            await site.get("/"),
            await site.get("/no-such-page"),
            await site.send("HEAD", "/"),
            await site.send("HEAD", "/live/overview"),
            await site.send("GET", "/", anonymous=True),
            await site.send("GET", f"/?token={TOKEN}", anonymous=True),
            await site.send("GET", "/", Host="evil.example"),
            await site.send("POST", "/"),
            await site.send("PUT", "/"),
            await site.post("/no-such-page"),
        ]
        async with site.stream("/live/overview") as events:
            answers.append(await events.next())
        for page in answers:
            assert HEADERS.items() <= dict(page.headers).items()
            assert "aiohttp" not in page.headers.get("Server", "")
            assert not [name for name in page.headers if name.startswith("Access-Control")]


async def test_static_files_may_be_kept_but_are_asked_for_again() -> None:
    async with Site.started() as site:
        page = await site.get("/static/app.js")
        assert page.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert page.headers["Cache-Control"] == "no-cache"
        assert {**HEADERS, "Cache-Control": "no-cache"}.items() <= dict(page.headers).items()
        again = await site.send("GET", "/static/app.js", If_None_Match=page.headers["ETag"])
        assert (again.status, again.html, again.headers["ETag"]) == (304, "", page.headers["ETag"])
        changed = await site.send("GET", "/static/app.js", If_None_Match='"0"')
        assert (changed.status, changed.html) == (200, page.html)
        for name, content_type in (("app.css", "text/css"), ("icon.svg", "image/svg+xml")):
            assert (await site.get(f"/static/{name}")).headers["Content-Type"] == f"{content_type}; charset=utf-8"
        assert (await site.get("/static/other.js")).status == 404
        assert again.headers["X-Content-Type-Options"] == "nosniff"


NO_FILES = ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "..%5capp.py", "VENDORED.md", "", ".", "%00", "app.css%00.js")


async def test_only_files_for_browsers_are_served() -> None:
    async with Site.started() as site:
        for name in NO_FILES:
            ask = f"GET /static/{name} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            answer = await site.raw(ask.encode())
            assert answer.split()[1] in {"400", "401", "404"}
            assert "import" not in answer
            assert "Zero-Clause" not in answer


MALFORMED = [
    b"GET /?token=%s HTTP/1.1\r\nHost: \x00\r\n\r\n" % TOKEN.encode(),
    b"GET /?token=%s\x01 HTTP/1.1\r\n\r\n" % TOKEN.encode(),
    b"GET /?token=%s HTTP/9.9\r\n\r\n" % TOKEN.encode(),
    b"GET /?token=%s HTTP/1.1\r\nCookie %s\r\n\r\n" % (TOKEN.encode(), TOKEN.encode()),
    b"GET /%s?token=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 10_000, TOKEN.encode()),
    b"GET / HTTP/1.1\r\nHost: x\r\nX: %s%s\r\n\r\n" % (TOKEN.encode(), b"a" * 10_000),
    b"GET / HTTP/1.1\r\n%s\r\n" % (b"X: %s\r\n" % TOKEN.encode() * 200),
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"%s\r\n\r\n" % TOKEN.encode(),
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
]


async def test_what_is_malformed_is_not_repeated_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as lines:
        async with Site.started() as site:
            answers = [await site.raw(each) for each in MALFORMED]
    for answer in answers:
        head, _, body = answer.partition("\r\n\r\n")
        assert head.startswith(("HTTP/1.1 400 ", "HTTP/1.0 400 "))
        assert {f"{name}: {value}" for name, value in HEADERS.items()} <= set(head.splitlines())
        assert body == "Bad Request\n"
    assert (lines, caplog.text) == ([], "")


async def test_a_large_body_or_many_fields_are_refused_in_a_page() -> None:
    async with Site.started() as site:
        page = await site.post("/", note="x" * app.MAX_BODY_BYTES)
        assert (page.status, "more than 1,048,576 bytes" in page.text) == (413, True)
        assert HEADERS.items() <= dict(page.headers).items()
        page = await site.post("/", id=["1"] * app.MAX_FIELDS)
        assert (page.status, "more than 10,000 fields" in page.text) == (400, True)


NO_FORMS = [
    ("multipart/form-data; boundary=b", 415),
    ("text/plain", 415),
    ("application/json", 415),
    ("application/x-www-form-urlencoded; charset=no-such", 400),
    ("application/x-www-form-urlencoded; charset=utf-16", 400),
    ("application/x-www-form-urlencoded", 400),
]


async def test_a_body_that_is_not_a_form_is_refused() -> None:
    async with Site.started() as site:
        body = b'--b\r\nContent-Disposition: form-data; name="csrf"; filename="x"\r\n\r\n\xff\xfe\r\n--b--\r\n'
        for content_type, status in NO_FORMS:
            page = await site.send("POST", "/", body, Origin=ORIGIN, Content_Type=content_type)
            assert page.status == status, content_type


async def test_the_token_is_on_no_page_and_in_no_line(caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as lines:
        async with Site.started() as site:
            for path in paths(site, "GET"):
                if "/live/" not in path:
                    assert TOKEN not in (await site.get(path)).html
            await site.send("GET", f"/?token={TOKEN}", anonymous=True)
            await site.send("GET", f"/no-such-page?token={TOKEN}")
            await site.send("POST", f"/?token={TOKEN}", {}, Origin=ORIGIN)
    assert TOKEN not in f"{lines}{caplog.text}"


async def test_what_is_not_there_is_a_page_that_says_what_is_missing() -> None:
    async with Site.started() as site:
        page = await site.get("/no-such-page")
        assert (page.status, page.text) == (404, "Not found There is no such page. To the overview")
        page = await site.get("/live/orders/4111111111111111")
        assert (page.status, page.text) == (404, "Not found this cannot be the id of an order To the overview")
        page = await site.get("/live/orders?rows=1&status=x")
        assert (page.status, page.text) == (400, "Not done the filters are wrong To the overview")


async def test_what_aws_refuses_is_a_page_that_says_so() -> None:
    def denied(**_: Any) -> Any:
        raise refused("AccessDenied", "GetItem", 403)

    with capture_logs() as lines:
        async with Site.started(dynamodb=FakeClient(get_item=denied)) as site:
            page = await site.get("/orders/1/cancel")
    assert (page.status, lines) == (502, [])
    assert page.text.startswith("Not available these credentials do not allow ")


async def test_the_end_of_the_console_ends_all_that_it_reads() -> None:
    async with Site.started() as site:
        await site.get("/queues")
    assert site.console.stopping.is_set()
    feeds = [task for task in asyncio.all_tasks() if task.get_name() == "console-feed"]
    assert all(task.cancelling() for task in feeds)
    await asyncio.gather(*feeds, return_exceptions=True)  # Else the end of the test would cancel them.


async def test_an_internal_error_is_a_page_and_a_line() -> None:
    with capture_logs() as lines:
        async with Site.started() as site:
            object.__setattr__(site.console, "place", None)
            page = await site.post("/")
    assert (page.status, page.text) == (500, "Internal error Internal error. The console's log has it. To the overview")
    assert [(line["event"], line["log_level"]) for line in lines] == [("console.failed", "error")]


def test_no_page_has_a_script_or_style_of_its_own() -> None:
    for template in sorted(Path(app.__file__).parent.glob("templates/*.html")):
        text = template.read_text(encoding="utf-8")
        for forbidden in ("<style", " style=", "javascript:", " onclick=", " onload=", " onerror=", "| safe", "hx-on"):
            assert forbidden not in text, (template.name, forbidden)
        for script in text.split("<script")[1:]:
            assert script.startswith(' src="/static/'), template.name
