"""Error responses of the stub."""

from collections.abc import Mapping
from typing import Any


class AwsError(Exception):
    """An error response with HTTP status 400. `extra` are further members of its body."""

    def __init__(self, code: str, message: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.extra = dict(extra or {})
