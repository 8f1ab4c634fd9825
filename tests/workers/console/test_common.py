"""The live part of a page: what is sent, and when it ends."""

import asyncio
import dataclasses
import itertools
from collections.abc import Iterable

import pytest
from structlog.testing import capture_logs

from tests.workers.console.site import Site
from workers.console.feeds import Feed
from workers.console.pages import common
from workers.operations.status import Status


def readings(site: Site, values: Iterable[object]) -> None:
    """Replace the feed of the status: it has *values* one after the other, each as soon as the one before was read."""
    given = iter(values)

    async def read() -> object:
        value = next(given, None)
        if value is None:
            await asyncio.Event().wait()
        if isinstance(value, Exception):
            raise value
        return value

    site.console.feeds._feeds.clear()
    site.console.feeds.feed("status", read, 0.01)


async def real(site: Site) -> Status:
    return await site.world.reader().read()


async def test_a_page_does_not_wait_for_the_counts_of_its_navigation(monkeypatch: pytest.MonkeyPatch) -> None:
    waits, latest = list[float | None](), Feed.latest

    async def recorded(feed: Feed[object], wait_s: float | None = None) -> object:
        waits.append(wait_s)
        return await latest(feed, wait_s)

    monkeypatch.setattr(Feed, "latest", recorded)
    async with Site.started() as site:
        await site.get("/no-such-page")
    assert waits == [0]


async def test_only_a_page_of_a_session_has_the_token_of_its_forms() -> None:
    async with Site.started() as site:
        token = site.console.guard.csrf_token(site.session)
        assert (await site.get("/dead-letters")).forms[-1].fields["csrf"] == [token]
        assert "csrf" not in (await site.send("GET", "/dead-letters", anonymous=True)).html


async def test_what_has_not_changed_is_not_sent_again() -> None:
    async with Site.started() as site:
        status = await real(site)
        assert status.open_cases == 0
        readings(site, [status, status, status, dataclasses.replace(status, open_cases=7)])
        async with site.stream("/live/overview") as events:
            assert "7" not in (await events.next()).text
            assert "7" in (await events.next()).text


async def test_a_stream_ends_when_the_console_stops() -> None:
    with capture_logs() as lines:
        async with Site.started() as site, site.stream("/live/overview") as events:
            await events.next()
            site.console.stopping.set()
            with pytest.raises(EOFError):
                await events.next()
    assert (site.application[common._STREAMS], lines) == (set(), [])
    assert {task.get_name() for task in asyncio.all_tasks()} & {"console-part", "console-stopping"} == set()


async def test_a_stream_begins_before_there_is_a_reading_and_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "KEEP_ALIVE_S", 0.001)
    async with Site.started() as site:
        site.script("status")
        async with site.stream("/live/overview") as events:
            lines = [await events.response.content.readline() for _ in range(6)]
            assert lines == [b": connected\n", b"\n", *[b": alive\n", b"\n"] * 2]


async def test_a_stream_ends_when_its_viewer_goes() -> None:
    async with Site.started() as site:
        status = await real(site)
        readings(site, (dataclasses.replace(status, open_cases=number) for number in itertools.count()))
        async with site.stream("/live/overview") as events:
            await events.next()
            assert len(site.application[common._STREAMS]) == 1
        async with asyncio.timeout(60):
            while site.application[common._STREAMS]:  # noqa: ASYNC110 - the code needs no event.
                await asyncio.sleep(0.01)
        assert not site.console.status.is_watched


async def test_the_number_of_streams_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "MAX_STREAMS", 2)
    async with Site.started() as site, site.stream("/live/overview"), site.stream("/live/overview"):
        page = await site.get("/live/overview")
        assert (page.status, "too many pages are watched live" in page.text) == (503, True)
        assert (await site.get("/")).status == 200


async def test_a_part_that_cannot_be_made_ends_the_stream_and_is_reported() -> None:
    with capture_logs() as lines:
        async with Site.started() as site:
            readings(site, ["no status"])
            async with site.stream("/live/overview") as events:
                with pytest.raises(EOFError):
                    await events.next()
    assert {line["event"] for line in lines} == {"console.failed"}


async def test_a_failure_is_shown_beside_what_was_known() -> None:
    async with Site.started() as site:
        status = await real(site)
        readings(site, [status, ZeroDivisionError("4111111111111111")])
        with capture_logs():
            async with site.stream("/live/overview") as events:
                await events.next()
                text = (await events.next()).text
    assert "an internal error; the console's log has it" in text
    assert "open cases" in text


async def test_the_head_of_a_stream_has_an_end() -> None:
    async with Site.started() as site:
        page = await site.send("HEAD", "/live/overview")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert site.application[common._STREAMS] == set()
