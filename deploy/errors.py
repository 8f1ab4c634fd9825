"""The error that ends a command with a clear text instead of a traceback."""


class DeployError(Exception):
    """
    A problem that the user can act on. The text is for the user and begins with the most important line.

    `python -m deploy` prints it and exits with 1.
    """
