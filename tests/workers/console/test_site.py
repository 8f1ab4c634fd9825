"""What the tests of the pages rely on: that a page is read as a browser would read it."""

import pytest

from tests.workers.console.document import parse
from tests.workers.console.site import ORIGIN, Site
from tests.workers.operations.status_world import busy

HTML = """\
<main><h1>Orders</h1><p>2 of <b>10</b></p>
<a class="chip wide" href="/orders?q=1">q: <bdi>1</bdi></a>
<form method="post" action="/cancel"><input type="hidden" name="csrf" value="x">
<input type="checkbox" name="id" value="1"><input type="checkbox" name="id" value="2" checked>
<select name="to"><option>a</option><option value="b">B</option></select>
<textarea name="note">because</textarea><input name="off" disabled><button>Cancel</button></form>
<table><tr><th>Id</th><th>Status</th></tr></table></main>
"""


def test_a_page_is_read_as_it_is_seen() -> None:
    page = parse(HTML)
    assert page.one("p").text == "2 of 10"
    assert page.links == {"q: 1": "/orders?q=1"}
    assert page.one("a", class_="chip").attributes["class"] == "chip wide"
    assert page.tables == [[["Id", "Status"]]]
    (form,) = page.forms
    assert (form.action, form.method, form.labels) == ("/cancel", "post", ["Cancel"])
    assert form.fields == {"csrf": ["x"], "id": ["2"], "to": ["a"], "note": ["because"]}


def test_an_element_that_is_not_closed_is_an_error() -> None:
    with pytest.raises(AssertionError, match="not closed"):
        parse("<p>text")
    with pytest.raises(AssertionError, match="</main> ends <p>"):
        parse("<main><p>text</main>")


async def test_a_page_is_asked_for_with_a_session_and_streamed() -> None:
    async with Site.started(world=busy()) as site:
        page = await site.get("/")
        assert (page.status, page.root.one("h1").text) == (200, "Overview")
        async with site.stream("/live/overview") as events:
            assert "241 fulfilled today" in (await events.next()).text
        assert ("sqs", "get_queue_attributes") in site.calls
        assert (await site.send("POST", "/", {}, Origin=ORIGIN)).status == 403
        assert (await site.post("/")).status == 405
