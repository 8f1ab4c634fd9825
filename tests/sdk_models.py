"""
Lets the tests' sessions of the AWS SDK share what does not depend on the session. Every test makes sessions of its own.

- A model is a JSON file of up to 2 MB; reading those for one client takes 0.1 s. Each is read once per process.
- A session registers 120 handlers of events. It looks each event's name up in a list of old names, and inspects the
  handler's signature: together most of the time that a session takes.
"""

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any

import botocore.hooks
import botocore.session
from botocore.compat import accepts_kwargs
from botocore.hooks import EVENT_ALIASES, EventAliaser
from botocore.loaders import Loader, create_loader

import workers.aws.sdk.models

_models: dict[Any, Any] = {}
_trimmed_models: dict[str | None, dict[Any, Any]] = {}  # By the folders they are from.
_event_names: dict[str, str] = {}
_make_aliaser = EventAliaser.__init__


def share_sdk_models() -> None:
    """Let all sessions that begin from now on share the models they read, and the names of events."""
    botocore.session.create_loader = _create_loader
    workers.aws.sdk.models.create_loader = _create_trimming_loader  # type: ignore[attr-defined]
    EventAliaser.__init__ = _share_names  # type: ignore[method-assign,assignment]
    botocore.hooks.accepts_kwargs = _accepts_kwargs  # type: ignore[assignment]


def _create_loader(search_path_string: str | None = None) -> Loader:
    loader = create_loader(search_path_string)
    loader._cache = _models  # type: ignore[attr-defined]
    return loader


def _create_trimming_loader(search_path_string: str | None = None) -> Loader:
    loader = create_loader(search_path_string)
    loader._cache = _trimmed_models.setdefault(search_path_string, {})  # type: ignore[attr-defined]
    return loader


def _share_names(aliaser: EventAliaser, event_emitter: Any, event_aliases: dict[str, str] | None = None) -> None:
    _make_aliaser(aliaser, event_emitter, event_aliases)
    if event_aliases is None or event_aliases == EVENT_ALIASES:
        aliaser._alias_name_cache = _event_names  # type: ignore[attr-defined]


def _accepts_kwargs(handler: Callable[..., Any]) -> object:
    """Return whether *handler* takes any keyword arguments, as the SDK's function does, but without its signature."""
    code = getattr(handler, "__code__", None)  # A bound method has its function's.
    return code.co_flags & inspect.CO_VARKEYWORDS if isinstance(code, CodeType) else accepts_kwargs(handler)
