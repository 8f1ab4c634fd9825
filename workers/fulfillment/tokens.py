"""The bearer token that a provider asks for."""

from dataclasses import dataclass
from typing import Protocol


class Token(Protocol):
    """Where the token comes from."""

    async def current(self) -> str:
        """Return the token to try first. Raises `OutageError` where it cannot be had just now."""

    async def instead_of(self, refused: str) -> str | None:
        """Return another token after the provider has *refused* one, None where there is none (yet)."""


@dataclass(frozen=True, slots=True, repr=False)
class FixedToken:
    """A token that stays the same for as long as the process runs."""

    value: str

    async def current(self) -> str:
        return self.value

    async def instead_of(self, refused: str) -> str | None:
        return None if refused == self.value else self.value
