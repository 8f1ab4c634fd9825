"""What ends a command with one clear line instead of a traceback."""


class DeployError(Exception):
    """
    Something the person at the terminal can act on; the text is for them, first line first.

    `python -m deploy` prints it and exits 1.
    """
