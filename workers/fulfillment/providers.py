"""Providers ship orders: their contract, and how a class of your own is loaded."""

from importlib import import_module
from typing import Protocol, cast

from workers.domain.orders import Order, is_shipment_id
from workers.errors import FatalError, TransientError, WorkerError


class RejectedError(WorkerError):
    """The provider refused the order, and trying again is useless. The text is kept as evidence, masked."""


class Provider(Protocol):
    """
    Ships orders.

    `ship` may be called more than once for an order (after a crash or a lost response): it must be idempotent by
    `order.idempotency_key`, which is the OrderId until the provider refuses the order.

    Raises `RejectedError` if another try is useless, `OutageError` if the provider is down for every order, and any
    other error if this attempt failed.
    """

    async def ship(self, order: Order) -> str:
        """Ship *order* and return the shipment's id."""


def usable_shipment_id(answer: object) -> str:
    """
    Return a provider's answer if it is a shipment id.

    Raises:
        TransientError: It is not: not a string, not 1 to 128 visible ASCII characters, or like a card number.
    """
    if not is_shipment_id(answer):
        # The provider has acted: only the same key may be tried again. After the last attempt a person decides.
        raise TransientError("the provider answered without a usable ShipmentId")
    return answer


def load_provider(name: str) -> Provider | None:
    """
    Return an instance of the class at *name*, `package.module:Class`; None for `record`.

    With `record` no provider is called: the worker writes a shipment id derived from the OrderId. `http` needs
    settings, so the wiring builds it.

    Raises:
        FatalError: The class does not exist, or cannot be created without arguments.
    """
    if name == "record":
        return None
    module, _, attribute = name.partition(":")
    try:
        return cast("Provider", getattr(import_module(module), attribute)())
    except Exception as error:
        raise FatalError(f"FULFILLMENT_PROVIDER is {name!r}, which cannot be loaded: {error}") from error
