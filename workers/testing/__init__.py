"""
Tests of your own workers and of what uses ours: a plugin of pytest, and queues in memory.

The plugin is loaded by itself once the package is installed: docs/testing.md describes its fixtures, whose types are
here.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.testing.memory import MemoryQueue, Outcome, run_handler, run_handler_async
    from workers.testing.orders import GetCase, GetOrder, Orders
    from workers.testing.queues import Queues
    from workers.testing.running import StartWorker, WaitFor
    from workers.testing.snapshots import Case, Order
    from workers.testing.stack import Stack
    from workers.testing.worker import Worker

__all__ = [
    "Case",
    "GetCase",
    "GetOrder",
    "MemoryQueue",
    "Order",
    "Orders",
    "Outcome",
    "Queues",
    "Stack",
    "StartWorker",
    "WaitFor",
    "Worker",
    "run_handler",
    "run_handler_async",
]

_MODULES = {
    "Case": "snapshots",
    "GetCase": "orders",
    "GetOrder": "orders",
    "MemoryQueue": "memory",
    "Order": "snapshots",
    "Orders": "orders",
    "Outcome": "memory",
    "Queues": "queues",
    "Stack": "stack",
    "StartWorker": "running",
    "WaitFor": "running",
    "Worker": "worker",
    "run_handler": "memory",
    "run_handler_async": "memory",
}


def __getattr__(name: str) -> Any:
    """Import what is used, when it is used: pytest loads this package in every project that has it installed."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
