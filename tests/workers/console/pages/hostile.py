"""Texts that strangers write into orders, messages and notes, and a check that a page only shows them."""

from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from tests.workers.console.site import Page

CARD = "4929123412345678"
HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{7*7}}{% raw %}<b>\u202eabc\x1b[2J" + "W" * 40
SHOWN = "</script><img src=x onerror=alert(1)>\"'{{7*7}}{% raw %}<b>\ufffdabc"


def everywhere(value: Any, text: str) -> Any:
    """Return *value* with *text* instead of each of its texts that has no fixed values."""
    match value:
        case Enum() | None | bool() | int():
            return value
        case str():
            return text
        case tuple():
            return tuple(everywhere(each, text) for each in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            changed = {each.name: everywhere(getattr(value, each.name), text) for each in fields(value)}
            return replace(value, **changed)
    raise TypeError(type(value))


def assert_harmless(page: Page) -> None:
    """Check that a page has no element, script or card number of a stranger's. Reading it checks that it is whole."""
    root = page.root
    assert not root.all("img", "b")
    assert all(each.attributes["src"].startswith("/static/") for each in root.all("script"))
    assert not [name for each in root for name in each.attributes if name.startswith("on") or name == "style"]
    assert CARD not in page.html
    assert "\x1b" not in page.html
    assert "\u202e" not in page.html
