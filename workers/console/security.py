"""
Who may use the console: the owner of the launch token, from the console's own pages, on hosts that it is known by.

A console on loopback can be reached by every page that the same browser shows, and by every user of the machine. So
each request proves three things:

- Its host is one that the console is known by. Otherwise a name of somebody else's may lead here (DNS rebinding).
- It has a session: the launch token of the printed address was exchanged for a cookie that scripts cannot read, and
  that other sites' requests do not carry.
- If it changes anything, it comes from a page of the console (`Sec-Fetch-Site`, `Origin`), and carries the token
  that only the pages of its session have.

Sessions are not stored: a cookie is valid if the launch token has signed it. So a console that is started again with
the same token accepts the same browsers.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

TOKEN_FIELD: Final = "token"  # noqa: S105 - its name, not its value.
CSRF_FIELD: Final = "csrf"
HTTP_PORT: Final = 80
MIN_TOKEN_CHARS = 22  # 128 bits in URL-safe base64.

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{MIN_TOKEN_CHARS},256}}", re.ASCII)
_HOST_NAME = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
_AS_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def new_token() -> str:
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Return whether *text* can be a launch token: long enough, and part of a URL as it is."""
    return _TOKEN.fullmatch(text) is not None


def is_host_name(text: str) -> bool:
    """Return whether *text* is a host as requests name it, with a port or without; IPv6 addresses are in brackets."""
    return _HOST_NAME.fullmatch(text) is not None


def allowed_hosts(port: int, names: Collection[str] = ()) -> frozenset[str]:
    """Return the values that a request's `Host` may have; a person gave *names*, with a port or without."""
    known = {f"{name}:{port}" for name in _LOOPBACK_NAMES}
    if port == HTTP_PORT:  # Browsers leave it out.
        known |= set(_LOOPBACK_NAMES)
    for name in names:
        has_port = re.search(r":[0-9]+\Z", name) is not None
        known |= {name.lower()} if has_port else {name.lower(), f"{name.lower()}:{port}"}
    return frozenset(known)


@dataclass(frozen=True, slots=True)
class Guard:
    """Checks requests. *token* is the launch token; *hosts* are in lower case."""

    token: str
    port: int
    hosts: Collection[str]

    @property
    def cookie_name(self) -> str:
        """The name has the port, because a browser sends the cookies of one port to all others of the host."""
        return f"console-{self.port}"

    def is_host(self, host: str | None) -> bool:
        return host is not None and host.lower() in self.hosts

    def is_launch_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self.token.encode())

    def new_session(self) -> str:
        """Return a session: the value of its cookie."""
        session_id = secrets.token_urlsafe(16)
        return f"{session_id}.{self._signed('session', session_id)}"

    def is_session(self, cookie: str | None) -> bool:
        session_id, _, signature = (cookie or "").partition(".")
        expected = self._signed("session", session_id)
        return bool(session_id) and hmac.compare_digest(signature.encode(errors="replace"), expected.encode())

    def csrf_token(self, session: str) -> str:
        """Return the token that each form of *session* carries. Of letters: digits could look like a card number."""
        return self._signed("csrf", session).translate(_AS_LETTERS)

    def is_csrf_token(self, session: str, given: object) -> bool:
        text = given if isinstance(given, str) else ""
        return hmac.compare_digest(text.encode(errors="replace"), self.csrf_token(session).encode())

    def _signed(self, purpose: str, text: str) -> str:
        return hmac.new(self.token.encode(), f"{purpose}:{text}".encode(errors="replace"), hashlib.sha256).hexdigest()


def is_own_page(headers: Mapping[str, str], host: str) -> bool:
    """
    Return whether a request that changes something comes from a page of the console at *host*.

    Browsers send `Sec-Fetch-Site`. Under `Referrer-Policy: no-referrer`, the `Origin` of a form is `null`: then only
    the former says it. A request with neither comes from no browser, and is refused.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None or origin == "null":
        return site is not None
    return origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}
