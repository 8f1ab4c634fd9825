"""The addresses of the console's pages."""

from urllib.parse import quote, urlencode

from markupsafe import Markup

from workers.domain.cards import mask


def path(*parts: object, **query: object) -> Markup:
    """
    Return the address of a page; *parts* are quoted, and *query* has the values that are not None, False or empty.

    Ids may have characters that a page shows otherwise, so an address is not cleaned; it holds ids only.
    """
    address = "/" + "/".join(quote(mask(str(part)), safe="") for part in parts)
    given = [
        (name.rstrip("_"), mask(str(each)))
        for name, value in query.items()
        for each in (value if isinstance(value, list | tuple) else [value])
        if each not in (None, False, "")
    ]
    return Markup.escape(f"{address}?{urlencode(given)}" if given else address)
