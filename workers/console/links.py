"""Leads from what `orders status` says to the console's pages."""

import re
from typing import Final

from markupsafe import Markup

from workers.console.rendering import path

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
