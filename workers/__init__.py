"""
Asyncio workers on SQS queues: they fulfill orders, route escalations, and run handlers of your own.

The names below are the public ones, for your own workers and providers: docs/own-workers.md describes them. Every other
name of this package may change in any release.
"""

from workers.errors import OutageError, PermanentError, TransientError
from workers.message import Message

__all__ = ["Message", "OutageError", "PermanentError", "TransientError"]
