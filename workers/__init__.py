"""
Asyncio workers on SQS queues: they fulfill orders, route escalations, and run handlers of your own.

The names below are the public ones, for your own workers and providers: docs/own-workers.md describes them. Those of
`workers.testing`, for tests, are public too: docs/testing.md. Every other name may change in any release.
"""

TYPE_CHECKING = False  # As typing's, whose import takes a while.
if TYPE_CHECKING:
    from workers.errors import OutageError, PermanentError, TransientError
    from workers.message import Message

__all__ = ["Message", "OutageError", "PermanentError", "TransientError"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `orders` and the workers set signal handlers before they import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above.

    found = globals()[name] = getattr(import_module(f"workers.{'message' if name == 'Message' else 'errors'}"), name)
    return found
