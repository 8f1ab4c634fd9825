"""
The key of the index of orders by status, and of cases by state.

Its attribute is called `OpenKey`, and the indexes `OpenOrders` and `OpenCases`, because they once held only what is
open. DynamoDB cannot rename them. A new name would need a second index, all items written again, and workers of two
versions that write different attributes. So the tables keep the old names, and the code says what they are.
"""

import hashlib
import string
from datetime import date

STATUS_KEY = "OpenKey"
ORDERS_BY_STATUS = "OpenOrders"
CASES_BY_STATE = "OpenCases"

_FINAL = frozenset({"FULFILLED", "CANCELLED", "RESOLVED"})


def status_key(status: str, identifier: str, at: str) -> str:
    """
    Return the index key of an order (or case) that has its *status* since *at* (RFC 3339, UTC).

    `<status>#<0-f>` while it is open, `<status>#<day>#<0-f>` once it is final: without the day, a
    final key would hold ever more, and no day could be read without the others. The hash digit spreads a status over
    sixteen partitions. With one, writes to the table itself would be throttled.
    """
    digit = hashlib.sha256(identifier.encode()).hexdigest()[0]
    return f"{status}#{at[:10]}#{digit}" if status in _FINAL else f"{status}#{digit}"


def open_keys(status: str) -> list[str]:
    """Return all keys that orders (or cases) with the open *status* may have."""
    return [f"{status}#{digit}" for digit in string.hexdigits[:16]]


def final_keys(status: str, day: date) -> list[str]:
    """Return all keys that orders (or cases) with the final *status* since *day* (UTC) may have."""
    return [f"{status}#{day.isoformat()}#{digit}" for digit in string.hexdigits[:16]]


def is_open_key(key: object, status: str) -> bool:
    """Return whether *key* is one of something that has the open *status*."""
    return isinstance(key, str) and key.startswith(f"{status}#")
