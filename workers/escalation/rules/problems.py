"""Describes the mistakes in a rules file, one line each."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from workers.domain.cards import mask
from workers.domain.cases import LOG_CHANNEL
from workers.escalation.rules.tables import CHANNEL_TYPES, URL, RulesFile, RuleTable, Webhook
from workers.escalation.rules.toml_lines import KeyPath
from workers.http_values import is_endpoint

_MAX_SHOWN_CHARS = 60
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?")
_NAME = "1 to 32 lower-case letters, digits and dashes, and not log"


def problem_of(error: ErrorDetails, document: Mapping[str, Any]) -> tuple[KeyPath, str]:
    """Return where a mistake is in *document*, and its description."""
    path = error["loc"]
    if path[0] == "channels" and len(path) > 1:
        return _channel_problem(error, document["channels"])
    key = _key(path)
    fields = RuleTable.model_fields if path[0] == "rules" and len(path) > 1 else RulesFile.model_fields
    # A mistake in an element of a list is reported for the list.
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    if error["type"] == "extra_forbidden":
        return path, f"{key} is not a known key, must be one of {', '.join(fields)}"
    if name == "rules" and len(path) > 1:
        return path, f"{key} is {_shown(error['input'])}, must be a table, [[rules]]"
    return path, _wrong(error, key, fields[name].description)


def _channel_problem(error: ErrorDetails, channels: Mapping[str, Any]) -> tuple[KeyPath, str]:
    _, name, *rest = error["loc"]
    if rest == ["[key]"]:
        return ("channels", name), f"{_key(('channels', name))}: a channel's name must be {_NAME}"
    if not rest:
        if isinstance(channels[str(name)], dict):  # The type is missing or unknown.
            path: KeyPath = ("channels", name, "type")
            given = channels[str(name)].get("type")
            what = "is missing" if given is None else f"is {_shown(given)}"
            return path, f"{_key(path)} {what}, must be sns, sqs or webhook"
        # It may be the URL of a webhook, which may hold a key.
        given = "not shown" if isinstance(error["input"], str) else _shown(error["input"])
        return ("channels", name), f"{_key(('channels', name))} is {given}, must be a table"
    of_type, field = str(rest[0]), str(rest[1])
    path = ("channels", name, field)
    fields = CHANNEL_TYPES[of_type].model_fields
    if error["type"] == "extra_forbidden":
        return path, f"{_key(path)} is not a key of type {of_type}, must be one of {', '.join(fields)}"
    if of_type == "webhook":  # Its values may be secret, or be a secret by mistake.
        form = ", in upper case" if field.endswith("_env") else ""
        return path, f"{_key(path)} is not shown, must be {fields[field].description}{form}"
    return path, _wrong(error, _key(path), fields[field].description)


def _wrong(error: ErrorDetails, key: str, allowed: str | None) -> str:
    what = "is missing" if error["type"] == "missing" else f"is {_shown(error['input'])}"
    return f"{key} {what}, must be {allowed}"


def contradictions(file: RulesFile, environ: Mapping[str, str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes in values that are valid one by one but not together."""
    for name, channel in file.channels.items():
        if isinstance(channel, Webhook):
            yield from _webhook_problems(("channels", name), channel, environ)
    defined = [LOG_CHANNEL, *file.channels]
    last = len(file.rules) - 1
    for index, rule in enumerate(file.rules):
        for channel_name in rule.channels:
            if channel_name not in defined:
                yield (
                    ("rules", index, "channels"),
                    f"rules.channels is {_shown(channel_name)}, must be a defined channel: {', '.join(defined)}",
                )
        if rule.rule().matches_everything and index < last:
            yield (
                ("rules", index),
                "rules has no reasons and no sources, must have one of them: only the last rule matches everything",
            )
        if not rule.rule().matches_everything and index == last:
            key = "reasons" if rule.reasons else "sources"
            yield ("rules", index, key), f"rules.{key} is set, must be absent: the last rule matches everything"


def _webhook_problems(path: KeyPath, webhook: Webhook, environ: Mapping[str, str]) -> Iterator[tuple[KeyPath, str]]:
    """Yield the mistakes of a webhook. Values that may be secret are not shown."""
    url = (*path, "url_env" if webhook.url_env else "url")
    if webhook.url is None and webhook.url_env is None:
        key = _key((*path, "url"))
        yield (*path, "url"), f"{key} is missing, must be {URL}, or set url_env to the variable that holds it"
    elif webhook.url is not None and webhook.url_env is not None:
        yield (*path, "url"), f"{_key((*path, 'url'))} and url_env are both set, must be only one of them"
    elif webhook.url_env and not webhook.address(environ):
        yield url, f"{_key(url)} is {webhook.url_env!r}, which is not set, must be {_described('url_env')}"
    elif not is_endpoint(webhook.address(environ)):
        given = "not shown" if webhook.url else f"{webhook.url_env!r}, whose value is not shown"
        yield url, f"{_key(url)} is {given}, must be {_described(str(url[-1]))}"
    if webhook.authorization_env is not None and not _HEADER.fullmatch(webhook.authorization(environ) or ""):
        given = "whose value is not shown" if webhook.authorization(environ) else "which is not set"
        where = (*path, "authorization_env")
        yield (
            where,
            f"{_key(where)} is {webhook.authorization_env!r}, {given}, must be {_described('authorization_env')}",
        )


def _described(field: str) -> str:
    return str(Webhook.model_fields[field].description)


def _key(path: Sequence[str | int]) -> str:
    """Return a key without the number of its rule: the line number already shows which rule it is."""
    return mask(".".join(_plain(part) for part in path if isinstance(part, str)))


def _plain(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else repr(name)


def _shown(value: Any) -> str:
    if isinstance(value, str) and "://" in value and "@" in value:
        return "not shown (it has a user or password)"
    try:
        shown = mask(repr(value.isoformat() if hasattr(value, "isoformat") else value))
    except ValueError:  # Python does not print more than 4300 digits, but it can read them in hexadecimal.
        return "a number that has too many digits"
    return shown if len(shown) <= _MAX_SHOWN_CHARS else f"{shown[:_MAX_SHOWN_CHARS]}..."
