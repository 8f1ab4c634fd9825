"""TLS for AWS: the SDK's CA bundle and its way of checking certificates, with host-name checks."""

import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import ConnectTimeoutError, ProxyConnectionError
from botocore.httpsession import create_urllib3_context, get_cert_path, mask_proxy_url

if TYPE_CHECKING:
    from aiobotocore.session import AioSession


def ca_bundle(session: "AioSession") -> str:
    """Return the path of the CA bundle that the SDK uses: its own, or a configured one."""
    configured = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    return _path(configured)


@cache  # All connections share a context: each takes 0.6 MB, and reading a bundle takes 30 ms.
def trusting_context(path: str) -> ssl.SSLContext:
    """
    Return the SDK's context, with the CA bundle at *path* and with host-name checks.

    It is less strict than `ssl.create_default_context`, which from Python 3.13 on refuses private CAs that lack some
    extensions. The SDK accepts them.

    Raises:
        ValueError: The bundle cannot be read.
    """
    context = _new_context()
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"cannot read the CA bundle {path}: {error.strerror}") from error
    return context


class VerifyingSession(AIOHTTPSession):
    """
    The SDK's HTTP session with all checks, for `http_session_cls` in a client's configuration.

    - The SDK creates its contexts for urllib3, which checks host names itself; aiohttp relies on the context. Without
      this class, a valid certificate for any other host would be accepted as AWS's.
    - Behind a proxy, or if `AWS_CA_BUNDLE` is empty, the SDK checks no certificate.
    - If a proxy does not answer, the SDK blames the endpoint.
    - Each client of the SDK reads the CA bundle again, even if it never uses TLS.

    The SDK has no option for this.
    """

    def __init__(self, *, verify: Any = True, client_cert: Any = None, proxies_config: Any = None, **more: Any) -> None:
        super().__init__(verify=verify or True, client_cert=client_cert, proxies_config=proxies_config, **more)
        self._path = _path(verify)
        self._shares = not (client_cert or proxies_config)  # The SDK adds their certificates to the context.

    async def send(self, request: Any) -> Any:
        try:
            return await super().send(request)
        except ConnectTimeoutError as error:  # Only the connection to the proxy has this time limit.
            proxy = self._proxy_config.proxy_url_for(request.url)  # type: ignore[attr-defined]
            if proxy is None:
                raise
            raise ProxyConnectionError(proxy_url=mask_proxy_url(proxy), error=error) from error

    def _create_connector(self, proxy_url: str | None) -> aiohttp.TCPConnector:
        if not self._shares:
            return super()._create_connector(proxy_url)  # type: ignore[misc,no-any-return] # Not in the stub.
        return aiohttp.TCPConnector(
            limit=self._max_pool_connections,  # type: ignore[attr-defined]
            ssl=trusting_context(self._path),
            **self._connector_args,  # type: ignore[attr-defined]
        )

    def _get_ssl_context(self) -> ssl.SSLContext:
        return _new_context()

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        context: ssl.SSLContext | None = super()._setup_proxy_ssl_context(proxy_url)  # type: ignore[misc] # Not in the stub.
        return context or self._get_ssl_context()


def _path(configured: Any) -> str:
    return cast("str", get_cert_path(configured or True))


def _new_context() -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    return context
