"""The key of the sparse, sharded index of open orders and cases."""

import hashlib
import string


def open_key(status: str, identifier: str) -> str:
    """
    Return the key of an open order (or case) in the index: `<status>#<0-f>`.

    The hash digit spreads a status over sixteen partitions. With one, writes to the table itself would be throttled.
    """
    return f"{status}#{hashlib.sha256(identifier.encode()).hexdigest()[0]}"


def open_keys(status: str) -> list[str]:
    """Return all keys that orders (or cases) with *status* may have."""
    return [f"{status}#{digit}" for digit in string.hexdigits[:16]]
