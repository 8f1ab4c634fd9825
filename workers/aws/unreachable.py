"""Describes calls that got no answer from AWS."""

from workers.errors import plain_name


def unreachable(error: BaseException) -> str:
    """
    Return the kind of the SDK's *error* and the endpoint, or the proxy, that cannot be reached.

    The SDK's own text quotes whole URLs. It masks the user and the password of a proxy, but not every password.
    """
    details = getattr(error, "kwargs", {})
    if "proxy_url" in details:
        status = getattr(details.get("error"), "status", None)
        address = details["proxy_url"].rpartition("@")[2].rpartition("//")[2].rstrip("/")
        return f"{plain_name(error)} at the proxy {address}{'' if status is None else f', HTTP {status}'}"
    endpoint = details.get("endpoint_url")
    return f"{plain_name(error)} at {endpoint}" if endpoint else plain_name(error)
