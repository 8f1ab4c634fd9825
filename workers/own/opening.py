"""Opens what your own handler needs, if it was given as a context manager."""

from workers.errors import FatalError, OutageError, TransientError
from workers.opened import Opened, explained
from workers.own.loading import Handling, Opening, handling, located


class NotOpenedError(OutageError):
    """What a handler needs cannot be opened now."""


async def opened_handler(loaded: Handling | Opening, opened: Opened) -> Handling:
    """
    Return the handler of *loaded*; first open what it needs.

    Raises:
        NotOpenedError: It cannot be opened now, but trying again may help.
        FatalError: Trying again would not help.
    """
    if isinstance(loaded, Handling):
        return loaded
    try:
        handle: object = await opened.enter(loaded.name, loaded.open_handler())
    except (OutageError, TransientError, ConnectionError, TimeoutError) as error:
        raise NotOpenedError(f"{loaded.name} cannot be opened: {explained(error)}") from error
    except Exception as error:
        raise FatalError(f"{loaded.name} cannot be opened: {located(error)}") from error
    return handling(f"what {loaded.name} yields", handle)
