"""The bearer token for a provider."""

from dataclasses import dataclass
from typing import Protocol


class Token(Protocol):
    """The source of the token."""

    async def current(self) -> str:
        """Return the token to try first. Raises `OutageError` if it is unavailable."""

    async def instead_of(self, refused: str) -> str | None:
        """Return another token, after the provider has refused *refused*; None if there is no other token (yet)."""


@dataclass(frozen=True, slots=True, repr=False)
class FixedToken:
    """A token that never changes while the process runs."""

    value: str

    async def current(self) -> str:
        return self.value

    async def instead_of(self, refused: str) -> str | None:
        return None if refused == self.value else self.value
