"""Which URLs and tokens are allowed in HTTP requests."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

# A host name or an IP address, with a port or without. The URL parser also accepts hosts that no client can connect to.
_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,4096}")  # Allowed in a header; none of them ends it.


def is_endpoint(text: str) -> bool:
    """Return whether *text* is an https URL (http for localhost only) without user, password or fragment."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    whole = text.isascii() and text.isprintable() and " " not in text and "#" not in text
    return secure and whole and port != 0 and _ADDRESS.fullmatch(parts.netloc) is not None


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_token(text: str) -> bool:
    """Return whether *text* is 1 to 4096 visible ASCII characters."""
    return _VISIBLE.fullmatch(text) is not None
