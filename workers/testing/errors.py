"""What goes wrong before a test can run. The plugin shows the text alone, without a traceback."""


class SetupError(Exception):
    """The local AWS or the stack cannot be used. The text is for the person who runs the tests."""
