"""Identifiers derived from others."""

import base64
import hashlib


def fingerprint(text: str, length: int) -> str:
    """
    Return *length* (up to 52) characters that stand for *text*.

    Base32 rather than hexadecimal: that has runs of digits which would be taken for card numbers.
    """
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:length]
