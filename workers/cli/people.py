"""Who runs a command."""

import getpass

ACTOR_HELP = "Who does it. Stored with the order. The default is your login name on this machine."


def login_name() -> str:
    """Return the name of the user on this machine; `unknown` in a container without one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"
