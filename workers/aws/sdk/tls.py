"""Whom the workers take for AWS."""

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import get_cert_path

if TYPE_CHECKING:
    from aiobotocore.session import AioSession


def trusted(session: "AioSession") -> ssl.SSLContext:
    """Return a context that trusts whom the SDK trusts: its own bundle, or that of `AWS_CA_BUNDLE`."""
    path = cast("str", get_cert_path(session.get_config_variable("ca_bundle") or True))
    return ssl.create_default_context(capath=path) if Path(path).is_dir() else ssl.create_default_context(cafile=path)


class VerifyingSession(AIOHTTPSession):
    """
    The SDK's HTTP session, for `http_session_cls` of a client's configuration, with host names checked.

    The SDK makes its contexts for urllib3, which checks names by itself; aiohttp leaves that to the context. So it
    would take anybody's certificate, valid for whatever name, for AWS's. There is no option for it, only this method.
    """

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc] # Unknown to the stub.
        context.check_hostname = True
        return context
