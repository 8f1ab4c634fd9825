"""A card number that a person types anywhere, or that an address has, is on no page, stream, header or log line."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from structlog.testing import capture_logs

from tests.workers.console.desk import Desk
from tests.workers.console.site import Page, Site
from workers.domain.cards import mask

CARD = "4929123412345678"
WRITTEN = (CARD, "4929 1234 1234 5678", f"a/{CARD}-x")
LEADING = ("id", "name", "q", "order")  # A page may lead to another one because of these.
# Those that a page has, and one that none has.
NAMES = (
    *(
        "action",
        "actor",
        "after",
        "at",
        "card.0",
        "case",
        "cold",
        "detail",
        "episode",
        "group",
        "id",
        "item",
        "item_name",
    ),
    *("machine", "name", "note", "older", "older_than", "once", "order", "order_id", "price", "q", "queue", "rate"),
    *("reason", "rows", "seen", "severity", "shipment_id", "since", "source", "state", "status", "stuck", "tab", "all"),
    *("price.0", "shipment_id.0", "body", "text", "unknown"),
)


def paths(site: Site, method: str, fill: str) -> Iterator[str]:
    """Yield a path for each route with this method, with *fill* for what is open in it."""
    for route in site.application.router.routes():
        path = "" if route.resource is None else route.resource.canonical
        if route.method != method or path.startswith("/static/"):
            continue
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + quote(fill, safe="") + rest.partition("}")[2]
        yield path


def assert_none(page: Page, where: str) -> None:
    """Check that a response has no card number in its body and headers."""
    written = "\n".join([page.html, *(f"{name}: {value}" for name, value in page.headers.items())])
    for card in (*WRITTEN, *map(quote, WRITTEN), *(urlencode({"": each})[1:] for each in WRITTEN)):
        assert card not in written, where
    for value in page.headers.values():
        assert mask(value) == value, where


async def first(site: Site, address: str) -> Page:
    """Return the first event of a stream, or the refusal."""
    async with site._request("GET", address) as response:
        if response.content_type != "text/event-stream":
            return Page(response.status, response.headers, await response.text())
        lines = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                async for raw in response.content:
                    lines.append(raw.decode())
                    if raw == b"\n" and len(lines) > 2:
                        break
        return Page(response.status, response.headers, "".join(lines))


@pytest.mark.parametrize("card", WRITTEN)
async def test_a_card_number_in_an_address_is_nowhere_in_the_answer(card: str) -> None:
    everything = urlencode({name: card for name in (*NAMES, card) if name not in LEADING})
    async with Site.started() as site:
        with capture_logs() as logs:
            for path in paths(site, "GET", card):
                assert_none(await first(site, path), path)
                assert_none(await first(site, f"{path}?{everything}"), path)
            for path in paths(site, "GET", "x"):
                for name in (*LEADING, card):
                    assert_none(await first(site, f"{path}?{urlencode({name: card})}"), f"{path}?{name}")
        assert CARD not in repr(logs)


@pytest.mark.parametrize("card", WRITTEN)
async def test_a_card_number_in_any_field_of_any_form_is_nowhere_in_the_answer(
    card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = dict.fromkeys(NAMES, card)
    desk = Desk(monkeypatch, 2)
    async with Site.started() as site:
        with capture_logs() as logs:
            for path in (*paths(site, "POST", card), *paths(site, "POST", "1")):
                assert_none(await site.post(path, **fields), path)
                assert_none(await site.post(path, **fields | {"action": "resubmit", "episode": "1"}), path)
                assert_none(await site.post(path, **fields | {"case": ["1:1", "1:2"], "action": "cancel"}), path)
        assert CARD not in repr(logs)
    assert CARD not in repr(desk.cases)


async def test_an_address_with_a_card_number_leads_to_the_one_without() -> None:
    async with Site.started() as site:
        for path, leads_to in (
            (f"/orders/{CARD}/cancel", "/orders/****/cancel"),
            ("/cases", "/cases"),
        ):
            page = await site.get(f"{path}?q={CARD}&reason=INVALID_PRICE&{CARD}=1")
            assert (page.status, page.headers["Location"]) == (303, f"{leads_to}?reason=INVALID_PRICE&refused=card")
