"""Providers ship orders: their contract, and how a class of your own is loaded."""

import inspect
from collections.abc import Awaitable
from importlib import import_module
from typing import Protocol, cast

from workers.domain.orders import Order, is_shipment_id
from workers.errors import FatalError, OutageError, PermanentError, TransientError
from workers.threads import NoFreeThreadError, Threads


class RejectedError(PermanentError):
    """The provider refused the order, and trying again is useless. The text is kept as evidence, masked."""


class Provider(Protocol):
    """
    Ships orders.

    `ship` may be called more than once for an order (after a crash or a lost response): it must be idempotent by
    `order.idempotency_key`, which is the OrderId until the provider refuses the order.

    Raises `RejectedError`, or another `PermanentError`, if another try is useless, `OutageError` if the provider is
    down for every order, and any other error if this attempt failed.
    """

    async def ship(self, order: Order) -> str:
        """Ship *order* and return the shipment's id."""


class BlockingProvider(Protocol):
    """
    A `Provider` whose `ship` is a plain function. It runs in a thread, so it may block.

    Several threads call it at once, so it must be thread-safe. A call in a thread cannot be stopped: after a timeout, a
    lost receipt or a stop it runs on, and its result is dropped. So the next call with the same `order.idempotency_key`
    may come before this one has returned.
    """

    def ship(self, order: Order) -> str:
        """Ship *order* and return the shipment's id."""


class ThreadedProvider:
    """
    Calls a `BlockingProvider` in threads of its own, one per order.

    There are twice as many threads as orders handled at once. So if some calls run on after their caller has given up,
    there are still threads for other calls. If all threads hang, the provider is down.
    """

    def __init__(self, provider: BlockingProvider, *, concurrency: int) -> None:
        self.provider = provider
        self._threads = Threads(2 * concurrency, "provider")

    async def ship(self, order: Order) -> str:
        try:
            answer: str | Awaitable[str] = await self._threads.run(self.provider.ship, order)
        except NoFreeThreadError as error:
            raise OutageError(f"the provider's calls do not return: {error}") from error
        # A plain function that wraps an async one returns an awaitable.
        return await answer if isinstance(answer, Awaitable) else answer


def usable_shipment_id(answer: object) -> str:
    """
    Return a provider's answer if it is a shipment id.

    Raises:
        TransientError: It is not a string of 1 to 128 visible ASCII characters, or it looks like a card number.
    """
    if not is_shipment_id(answer):
        # The provider has acted on the order, so further attempts must use the same key. After the last one, a person
        # decides.
        raise TransientError("the provider answered without a usable ShipmentId")
    return answer


def load_provider(name: str, *, concurrency: int) -> Provider | None:
    """
    Return an instance of the class called *name* (`package.module:Class`); None for `record`.

    With `record` no provider is called: the worker writes a shipment id derived from the OrderId. `http` needs
    settings, so the wiring builds it. A `ship` that is not async runs in threads, for *concurrency* orders at once.

    Raises:
        FatalError: The class does not exist, cannot be created without arguments, or has no suitable `ship`.
    """
    if name == "record":
        return None
    module, _, attribute = name.partition(":")
    try:
        provider = getattr(import_module(module), attribute)()
        ship = getattr(provider, "ship", None)
    except Exception as error:
        raise FatalError(f"FULFILLMENT_PROVIDER is {name!r}, which cannot be loaded: {error}") from error
    if not _ships(ship):
        raise FatalError(
            f"FULFILLMENT_PROVIDER is {name!r}, which is not a provider: "
            "it needs a method ship(self, order), either async or a plain function"
        )
    if _is_async(ship):
        return cast("Provider", provider)
    return ThreadedProvider(cast("BlockingProvider", provider), concurrency=concurrency)


def _ships(ship: object) -> bool:
    """Return whether *ship* can be called with an order as its only argument, and is not a generator."""
    if not callable(ship) or inspect.isgeneratorfunction(ship) or inspect.isasyncgenfunction(ship):
        return False
    try:
        inspect.signature(ship).bind("order")
    except TypeError:
        return False
    except ValueError:
        pass  # It has no signature: it is not written in Python.
    return True


def _is_async(ship: object) -> bool:
    """Return whether *ship* is an async function, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(ship) or inspect.iscoroutinefunction(getattr(ship, "__call__", None))  # noqa: B004
