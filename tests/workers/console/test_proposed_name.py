"""Forms propose the name that was typed last in the same browser, so that nobody acts under another's by mistake."""

from urllib.parse import quote

import pytest

from tests.workers.console.site import Page, Site
from tests.workers.console.test_actions import Aws

CARD = "4929123412345678"
PAUSE = "/queues/fulfillment/pause"


def name_on(page: Page) -> str:
    return page.forms[0].fields["actor"][0]


async def with_kept_name(site: Site, kept: str) -> Page:
    cookie = site.console.guard.cookie_name
    return await site.send("GET", PAUSE, Cookie=f"{cookie}={site.session}; {cookie}-name={kept}")


@pytest.mark.parametrize("name", ["g", "Zoë; O'Neil", "x" * 128])
async def test_the_next_form_proposes_the_name_that_was_typed(name: str) -> None:
    async with Aws().site() as site:
        assert name_on(await site.get(PAUSE)) == "ada"
        answer = await site.submit((await site.get(PAUSE)).forms[0], actor=name, note="n")
        kept = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(kept.split("; "))
        assert name_on(await with_kept_name(site, kept.partition(";")[0].partition("=")[2])) == name


@pytest.mark.parametrize("name", ["", " ", "x" * 129])
async def test_what_is_no_name_is_not_kept(name: str) -> None:
    async with Aws().site() as site:
        answer = await site.post(PAUSE, actor=name, note="n")
        assert "Set-Cookie" not in answer.headers


async def test_a_form_that_is_refused_leaves_no_name() -> None:
    async with Aws().site() as site:
        answer = await site.post(PAUSE, actor="grace", note="n", csrf="of another session")
        assert (answer.status, "Set-Cookie" in answer.headers) == (403, False)


@pytest.mark.parametrize("kept", ["", "%00", "%ff", "%20"])
async def test_a_kept_name_that_is_none_proposes_the_consoles_own(kept: str) -> None:
    async with Aws().site() as site:
        assert name_on(await with_kept_name(site, kept)) in {"ada", "�"}


async def test_a_kept_name_is_no_longer_than_a_name() -> None:
    async with Aws().site() as site:
        assert name_on(await with_kept_name(site, "x" * 200)) == "x" * 128


async def test_a_card_number_is_neither_kept_nor_shown() -> None:
    async with Aws().site() as site:
        answer = await site.post(PAUSE, actor=f"ada {CARD}", note="n")
        assert CARD not in answer.headers["Set-Cookie"]
        assert CARD not in (await with_kept_name(site, quote(f"ada {CARD}"))).html
