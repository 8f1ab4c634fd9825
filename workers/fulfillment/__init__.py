"""The fulfillment worker: its handler, and the providers that ship orders. A provider of your own imports from here."""

from workers.domain.orders import Order
from workers.errors import OutageError, TransientError
from workers.fulfillment.providers import RejectedError

__all__ = ["Order", "OutageError", "RejectedError", "TransientError"]
