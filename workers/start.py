"""How a worker starts: it waits for problems that may pass by themselves; any other problem ends the start at once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from workers.aws.errors import CredentialsError, CredentialsSourceError, MissingResourceError, WrongEndpointError
from workers.aws.secrets import UnreadableSecretError
from workers.backoff import Backoff
from workers.errors import AccessDeniedError, FatalError, OutageError
from workers.metrics import Outages

log = structlog.get_logger(__name__)

T = TypeVar("T")

START_BACKOFF = Backoff(base_s=0.5, cap_s=10.0)  # Between attempts to reach AWS at the start.
# Permissions spread within seconds, and failures of the container's credentials endpoint are short. A running worker
# waits just as long for permissions.
PATIENCE_S = 60.0

_NEVER_PASSES = (CredentialsError, MissingResourceError, WrongEndpointError)
_SHOULD_PASS_SOON = (AccessDeniedError, CredentialsSourceError, UnreadableSecretError)


@dataclass(frozen=True, slots=True)
class Start:
    """
    Makes the first calls to AWS, and repeats those that fail. For how long depends on the problem.

    - Missing or refused credentials, a missing table or secret, a wrong endpoint: not at all.
    - Denied access, no response from the source of the credentials, a secret that AWS refuses to read: for `patience_s`
      seconds.
    - Anything else, whatever its code, is an outage: until the outage is over.
    """

    outages: Outages
    backoff: Backoff = START_BACKOFF
    patience_s: float = field(default=PATIENCE_S)

    async def until_done(self, work: Callable[[], Awaitable[T]]) -> T:
        """
        Return the result of *work*.

        Raises:
            FatalError: Waiting would not help, or has not helped.
        """
        loop, outage, impatient_since_s = asyncio.get_running_loop(), self.outages.stage("start"), None
        try:
            attempt = 0
            while True:
                attempt += 1
                try:
                    return await work()
                except _NEVER_PASSES as error:
                    raise FatalError(str(error)) from error
                except OutageError as error:
                    if not isinstance(error, _SHOULD_PASS_SOON):
                        impatient_since_s = None
                    elif impatient_since_s is None:
                        impatient_since_s = loop.time()
                    elif loop.time() - impatient_since_s > self.patience_s:
                        raise FatalError(str(error)) from error
                    outage.failed(str(error))
                    delay_s = self.backoff.wait_s(attempt)
                    log.warning("aws.unavailable", reason=str(error), attempt=attempt, delay_ms=round(delay_s * 1000))
                    await asyncio.sleep(delay_s)
        finally:
            outage.ended()
