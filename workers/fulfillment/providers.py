"""Who ships an order."""

from importlib import import_module
from typing import Protocol, cast

from workers.domain.orders import Order, is_shipment_id
from workers.errors import FatalError, TransientError, WorkerError


class RejectedError(WorkerError):
    """The provider said no, for good. Its text is kept as evidence, masked."""


class Provider(Protocol):
    """
    Ships orders.

    `ship` may be called more than once for an order (after a crash, a lost answer): it must be idempotent by
    `order.idempotency_key`, the OrderId until the provider has refused it. Raises `RejectedError` where another try is
    useless, `OutageError` where the provider is down for every order, anything else for an attempt that failed.
    """

    async def ship(self, order: Order) -> str:
        """Ship *order* and return the shipment's id."""


def usable_shipment_id(answer: object) -> str:
    """
    Return a provider's answer as the shipment id that is kept.

    Raises:
        TransientError: It is none: no string, longer than 128 characters, not all visible ASCII, or like a card number.
    """
    if not is_shipment_id(answer):
        # The provider has acted. Only the same key may be tried again, and in the end a person looks at it.
        raise TransientError("the provider answered without a usable ShipmentId")
    return answer


def load_provider(name: str) -> Provider | None:
    """
    Return an instance of the class at *name*, `package.module:Class`; None for `record`.

    `record` is no provider: a shipment id derived from the OrderId is written, nobody outside is asked. `http` needs
    more than a name: the wiring builds it.

    Raises:
        FatalError: There is no such class, or it cannot be created without arguments.
    """
    if name == "record":
        return None
    module, _, attribute = name.partition(":")
    try:
        return cast("Provider", getattr(import_module(module), attribute)())
    except Exception as error:
        raise FatalError(f"FULFILLMENT_PROVIDER is {name!r}, which cannot be loaded: {error}") from error
