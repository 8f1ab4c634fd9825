"""Leads from the commands that operations name to the console's pages."""

import re
import shlex
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from workers.console.addresses import path
from workers.domain.resolutions import Action

# What a person would run next, as `workers.operations.status_needs` writes it, and the page that shows the same.
_OPTION: Final = re.compile(r"--([a-z-]+)(?: (\S+))?")
_PAGES: Final = {
    "orders escalations list": ("cases", {"severity": "severity", "reason": "reason"}),
    "orders dead-letters list": ("dead-letters", {}),
    "orders list": ("orders", {"status": "status", "older-than": "older_than", "stuck": "stuck"}),
    "orders queues": ("queues", {}),
    "orders workers resume": ("queues", {}),
    "orders status": ("queues", {}),
}


def page_for(command: str) -> Markup | None:
    """Return the address of the page that shows what *command* would; None if the console has no such page."""
    for start, (page, known) in _PAGES.items():
        if command == start or command.startswith(f"{start} "):
            given = {known[name]: value or "1" for name, value in _OPTION.findall(command) if name in known}
            return path(page, **given)
    return None


@dataclass(frozen=True, slots=True)
class Way:
    """A page that does what a command would, and the words that lead to it in a sentence."""

    address: Markup
    words: str


def way_of(command: str) -> Way | None:
    """Return the way to what *command* does, as `workers.operations.next_step` writes it; None if there is none."""
    try:
        words = shlex.split(command)
    except ValueError:  # Its id was cleaned to something that is no word any more.
        return None
    way = None
    match words:
        case ["orders", "escalations", "resolve", case_id, action, *_] if action in list(Action):
            way = Way(path("cases", case_id, "resolve", action=action), action)
        case ["orders", "show", order_id]:
            way = Way(path("orders", order_id), f"order {order_id}")
        case ["orders", "cancel" | "escalate" | "requeue" as act, order_id, *_]:
            way = Way(path("orders", order_id, act), "send again" if act == "requeue" else act)
        case ["orders", "dead-letters", *_]:
            way = Way(path("dead-letters"), "Dead letters")
        case ["orders", "queues"]:
            way = Way(path("queues"), "Queues")
    return way
