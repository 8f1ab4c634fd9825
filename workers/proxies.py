"""
Which proxy a request goes through. Providers and webhooks follow the AWS SDK's rules, those of Python's `urllib`.

- `HTTPS_PROXY` is for https addresses, `HTTP_PROXY` for http ones. In lower case they win. No other variable is read.
- `NO_PROXY` lists hosts that are called directly, with all hosts below them, and with a port if only that is meant. `*`
  alone means every host. Ranges of addresses (10.0.0.0/8) are not understood.
"""

import os
import re
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from workers.domain.cards import mask
from workers.errors import FatalError

_PROXY = re.compile(
    r"https?://(?:[!-.0-9;-~]*(?::[!-.0-9;-~]*)?@)?(?P<address>(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)/?"
)
# Where a machine or task gets its credentials: EC2, ECS and EKS. A proxy would answer with its own.
_METADATA = ("169.254.169.254", "[fd00:ec2::254]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. Its URL may hold a user and a password; `address` is the host, with the port if one is given."""

    url: str = field(repr=False)
    address: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read *text* as the SDK does: a URL without a scheme is one with http.

        Raises:
            ValueError: It is no URL of a proxy.
        """
        url = text if text.startswith(("http:", "https:")) else f"http:{'' if text.startswith('//') else '//'}{text}"
        found = _PROXY.fullmatch(url)
        if found is None or urlsplit(url).port == 0:
            raise ValueError("no URL of a proxy")
        unquote(url, errors="strict").encode("latin-1")  # All that the header with user and password can hold.
        return cls(url, found["address"])


def proxy_for(url: str) -> Proxy | None:
    """
    Return the proxy for requests to *url*, None for direct ones.

    Raises:
        FatalError: The variable holds no URL of a proxy. The text names it, without user and password.
    """
    parts = urlsplit(url)
    given = None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
    if not given:
        return None
    try:
        return Proxy.parse(given)
    except ValueError:
        lower = f"{parts.scheme}_proxy"
        name = lower if os.environ.get(lower) else lower.upper()
        shown = mask(repr(given)) if "@" not in given else "not shown (it has a user or password)"
        raise FatalError(
            f"{name} is {shown}, must be the http or https URL of a proxy, http://user:password@host:port for example"
        ) from None


def through(proxy: Proxy | None) -> str:
    """Return what an error says about the proxy of a call."""
    return "" if proxy is None else f" through the proxy {proxy.address}"


def keep_metadata_direct(environ: MutableMapping[str, str] = os.environ) -> None:
    """Let the SDK fetch the credentials of the machine or task directly, whatever `HTTP_PROXY` says."""
    proxies = getproxies_environment()
    excepted = proxies.get("no", "")
    if "http" in proxies and excepted != "*":
        environ["no_proxy"] = ",".join([*([excepted] if excepted else []), *_METADATA])
