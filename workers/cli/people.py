"""Who runs a command."""

import getpass
from collections.abc import Callable
from typing import Any

import click

ACTOR_VARIABLE = "ORDERS_ACTOR"
_Check = Callable[[click.Context, click.Parameter, str], str] | None


def login_name() -> str:
    """Return the name of the user on this machine; `unknown` in a container without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def actor_option(stored: str, *, required: bool = False, callback: _Check = None) -> Callable[[Any], Any]:
    """Return the option `--actor`; *stored* says where the name is stored. Without it, `ORDERS_ACTOR` counts."""
    without = "Required, or" if required else "The default is your login name on this machine, or"
    return click.option(
        "--actor",
        envvar=ACTOR_VARIABLE,
        default=None if required else login_name,
        callback=callback,
        metavar="NAME",
        help=f"Who does it. Stored {stored}. {without} ${ACTOR_VARIABLE}.",
    )
