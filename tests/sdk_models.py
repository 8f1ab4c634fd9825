"""
Reads each model of the AWS SDK once per process, instead of once per session.

A model is a JSON file of up to 2 MB; reading those for one client takes 0.1 s. Every test makes sessions of its own.
"""

from typing import Any

import botocore.session
from botocore.loaders import Loader, create_loader

_models: dict[Any, Any] = {}


def share_sdk_models() -> None:
    """Let all sessions that begin from now on share the models they read."""
    botocore.session.create_loader = _create_loader


def _create_loader(search_path_string: str | None = None) -> Loader:
    loader = create_loader(search_path_string)
    loader._cache = _models  # type: ignore[attr-defined]
    return loader
