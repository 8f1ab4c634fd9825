"""Signature Version 4 for the one kind of request the workers send, in a third of the SDK's time."""

import hmac
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.auth import AUTH_TYPE_MAPS, SIGNED_HEADERS_BLACKLIST, SigV4Auth
from botocore.compat import get_current_datetime
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.client import BaseClient

SIGNATURE_VERSION = "v4-json"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class JsonSigV4Auth(SigV4Auth):
    """
    Signs a POST of JSON to a service's root, without a query: every call of SQS and DynamoDB.

    What the SDK's own signer spends beyond the hashes goes into headers copied three times and into a key derived anew
    for each request; here the key is kept for the day it is good for. That is about 45 us of a call's 1,000, and one of
    the SDK's two hooks for it: a name in `AUTH_TYPE_MAPS`, chosen through the `choose-signer` event.
    """

    def __init__(self, credentials: Any, service_name: str, region_name: str) -> None:
        super().__init__(credentials, service_name, region_name)
        self._scope = (region_name, service_name)

    def add_auth(self, request: "AWSRequest") -> None:
        credentials = self.credentials
        if credentials is None:
            raise NoCredentialsError
        timestamp = get_current_datetime().strftime("%Y%m%dT%H%M%SZ")
        headers = request.headers
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            del headers[name]  # Of an earlier try; no error where there is none.
        headers["X-Amz-Date"] = timestamp
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        signed = {name.lower(): " ".join(str(value).split()) for name, value in headers.items()}
        signed.setdefault("host", _host(request.url or ""))
        names = sorted(name for name in signed if name not in SIGNED_HEADERS_BLACKLIST)
        signed_headers = ";".join(names)
        canonical_headers = "".join(f"{name}:{signed[name]}\n" for name in names)
        body = request.body or b""
        payload_hash = sha256(body if isinstance(body, bytes) else body.encode()).hexdigest()
        canonical_request = f"POST\n/\n\n{canonical_headers}\n{signed_headers}\n{payload_hash}"
        scope = "/".join((timestamp[:8], *self._scope, "aws4_request"))
        request_hash = sha256(canonical_request.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{request_hash}"
        key = _signing_key(credentials.secret_key, timestamp[:8], *self._scope)
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed_headers}, Signature={signature}"
        )


def sign_json(client: "BaseClient") -> None:
    """Have *client* sign with `JsonSigV4Auth` whatever it would sign with Signature Version 4."""
    AUTH_TYPE_MAPS[SIGNATURE_VERSION] = JsonSigV4Auth

    def choose(signature_version: str, **_: Any) -> str | None:
        return SIGNATURE_VERSION if signature_version == "v4" else None

    client.meta.events.register("choose-signer", choose)  # type: ignore[arg-type] # The stub knows no answers.


@lru_cache(maxsize=8)  # Two services, before and after midnight, before and after new credentials.
def _signing_key(secret_key: str, *scope: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (*scope, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f"{bracketed}:{parts.port}"
