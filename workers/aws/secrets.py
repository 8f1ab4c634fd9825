"""The provider's token, from AWS Secrets Manager."""

import asyncio
from typing import Any

import structlog
from pydantic_core import from_json

from workers.aws.errors import MissingResourceError, ask, readable
from workers.errors import AccessDeniedError, OutageError, SuspectedOutageError
from workers.http_values import is_token

log = structlog.get_logger(__name__)

REREAD_EVERY_S = 30.0  # While the provider refuses the token. A rotation is noticed within this time, at little cost.


class UnreadableSecretError(OutageError):
    """AWS refuses to read the secret. Fatal at the start if it lasts: new permissions and keys take effect slowly."""


class SecretToken:
    """
    A token stored as a secret: its text, or the value of `token` if the secret is a JSON object.

    It is read at the start. It is read again when the provider refuses it, because it may have been rotated. Reads
    after a refusal are at least *reread_every_s* seconds apart.
    """

    def __init__(self, secretsmanager: Any, secret: str, *, reread_every_s: float = REREAD_EVERY_S) -> None:
        # Any: the type stubs of this client are a separate package, too much for one call.
        self._secretsmanager = secretsmanager
        self._secret = secret
        self._reread_every_s = reread_every_s
        self._value: str | None = None
        self._read_at_s: float  # Set by the first read.
        self._reading = asyncio.Lock()

    async def current(self) -> str:
        """
        Return the token as it was last read.

        Raises:
            MissingResourceError: The secret does not exist, or holds no token.
            AccessDeniedError: Access to the secret, or to its key, is denied.
            UnreadableSecretError: AWS refuses to read the secret for another reason.
            OutageError: The secret cannot be read now.
        """
        async with self._reading:
            return await self._read() if self._value is None else self._value

    async def instead_of(self, refused: str) -> str | None:
        """Return a newer token than *refused*, or None if there is none yet. Raises the same errors as `current`."""
        async with self._reading:
            if self._value != refused:
                return self._value
            if asyncio.get_running_loop().time() - self._read_at_s < self._reread_every_s:
                return None
            newest = await self._read()
            return None if newest == refused else newest

    async def _read(self) -> str:
        self._read_at_s = asyncio.get_running_loop().time()
        try:
            answer = await ask(self._secretsmanager.get_secret_value, (), SecretId=self._secret)
        except MissingResourceError:
            raise self._missing("the secret does not exist") from None
        except AccessDeniedError as error:
            raise AccessDeniedError(self._unusable(str(error))) from error
        except SuspectedOutageError as error:  # For example, it is to be deleted, or its key is disabled.
            raise UnreadableSecretError(self._unusable(str(error))) from error
        with readable("GetSecretValue"):
            token = _token(answer.get("SecretString"))
        if token is None:
            raise self._missing("it holds no token of 1 to 4096 visible ASCII characters")
        if self._value not in {None, token}:
            log.info("token.renewed")
        self._value = token
        return token

    def _missing(self, why: str) -> MissingResourceError:
        return MissingResourceError(self._unusable(why))

    def _unusable(self, why: str) -> str:
        return f"FULFILLMENT_TOKEN_SECRET is {self._secret!r}, which cannot be used: {why}"


def _token(secret: str | None) -> str | None:
    """Return the token in a secret's text, or None if there is no token in it."""
    text: Any = (secret or "").strip()
    if text.startswith("{"):
        try:
            text = from_json(text).get("token")
        except ValueError:
            return None
    return text if isinstance(text, str) and is_token(text) else None
