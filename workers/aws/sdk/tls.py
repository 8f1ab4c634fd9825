"""TLS for AWS: the SDK's CA bundle, with host-name checks."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import get_cert_path

if TYPE_CHECKING:
    from aiobotocore.session import AioSession


def trusting_context(session: "AioSession") -> ssl.SSLContext:
    """Return a context with the SDK's CA bundle: its own, or that of `AWS_CA_BUNDLE`."""
    path = cast("str", get_cert_path(session.get_config_variable("ca_bundle") or True))
    return ssl.create_default_context(capath=path) if Path(path).is_dir() else ssl.create_default_context(cafile=path)


class VerifyingSession(AIOHTTPSession):
    """
    The SDK's HTTP session with host-name checks, for `http_session_cls` in a client's configuration.

    The SDK creates its contexts for urllib3, which checks host names itself; aiohttp relies on the context. Without
    this class, a valid certificate for any other host would be accepted as AWS's. The SDK has no option for this.
    """

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc] # Not in the stub.
        context.check_hostname = True
        return context
