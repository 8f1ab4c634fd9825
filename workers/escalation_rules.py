"""The file of the rules by which escalations are routed: read once, checked at the start."""

import bisect
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from workers.domain.cards import mask
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.routing import LOG_CHANNEL, Rule, Rules
from workers.errors import FatalError
from workers.http_values import is_endpoint

SHIPPED = Path(__file__).with_name("escalation-rules.toml")

_MAX_BYTES = 64 * 1024  # Hundreds of rules.
_MAX_NAMED = 20
_MAX_SHOWN_CHARS = 60
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?")
_URL = "an https URL (http for localhost only) without user, password and fragment"
_NAME = "1 to 32 lower-case letters, digits and dashes, and not log"
_Path = tuple[str | int, ...]
# Upper case only, as nearly all are: a secret that was written here instead is told apart, and not repeated.
_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]{0,127}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SnsTopic(_Table):
    type: Literal["sns"]
    topic_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$",
        description="the ARN of a standard SNS topic",
    )

    @property
    def region(self) -> str:
        return self.topic_arn.split(":")[3]


class SqsTarget(_Table):
    type: Literal["sqs"]
    queue: str = Field(
        pattern=r"^([A-Za-z0-9_-]{1,80}|https?://[^\s/?#@]+(/[A-Za-z0-9_-]+)*/[A-Za-z0-9_-]{1,80})$",
        description="the name or the URL of a standard SQS queue",
    )


class Webhook(_Table):
    """`url` and `authorization` come from the environment where the file names a variable."""

    type: Literal["webhook"]
    url: str | None = Field(None, repr=False, description=_URL)
    url_env: _Variable | None = Field(None, description=f"the name of an environment variable that holds {_URL}")
    authorization_env: _Variable | None = Field(
        None, description="the name of an environment variable that holds 1 to 4096 visible ASCII characters"
    )

    def address(self, environ: Mapping[str, str]) -> str:
        return self.url or environ.get(self.url_env or "", "").strip()

    def authorization(self, environ: Mapping[str, str]) -> str | None:
        return environ.get(self.authorization_env, "").strip() if self.authorization_env else None


ChannelTable = SnsTopic | SqsTarget | Webhook
_TYPES: dict[str, type[_Table]] = {"sns": SnsTopic, "sqs": SqsTarget, "webhook": Webhook}


class _RuleTable(_Table):
    reasons: list[Reason] | None = Field(None, min_length=1, description=f"a list of any of {', '.join(Reason)}")
    sources: list[Source] | None = Field(None, min_length=1, description=f"a list of any of {', '.join(Source)}")
    severity: Severity = Field(description="info, warning or critical")
    channels: list[str] = Field([], description="a list of names of channels")

    def rule(self) -> Rule:
        return Rule(
            severity=self.severity,
            channels=tuple(self.channels),
            reasons=frozenset(self.reasons or ()),
            sources=frozenset(self.sources or ()),
        )


def _not_the_log(name: str) -> str:
    if name == LOG_CHANNEL:
        raise ValueError("it is there already")
    return name


class _File(_Table):
    rules: list[_RuleTable] = Field(min_length=1, description="one [[rules]] at least")
    channels: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$"), AfterValidator(_not_the_log)],
        Annotated[ChannelTable, Field(discriminator="type")],
    ] = Field({}, description="tables, [channels.NAME]")


@dataclass(frozen=True, slots=True)
class EscalationRules:
    """What the file says."""

    rules: Rules
    channels: Mapping[str, ChannelTable]

    @classmethod
    def read(cls, path: Path | None, environ: Mapping[str, str]) -> Self:
        """
        Read the file at *path*, None for the one that is shipped; secrets it names are looked for in *environ*.

        Raises:
            FatalError: It is wrong; the text names file, line, key and what is allowed, of the first 20 mistakes.
        """
        path = path or SHIPPED
        try:
            return cls._checked(path, environ)
        except RecursionError:
            raise FatalError(f"{path}: nested too deeply, must be tables of [[rules]] and [channels.NAME]") from None

    @classmethod
    def _checked(cls, path: Path, environ: Mapping[str, str]) -> Self:
        text = _read(path)
        document = _parse(path, text)
        try:
            file = _File.model_validate(document)
        except ValidationError as error:
            problems = [_problem(each, document) for each in error.errors(include_url=False)]
        else:
            problems = list(_contradictions(file, environ))
        if problems:
            ends = _statement_ends(text)
            named = dict.fromkeys(
                f"{path}:{_line_of(text, ends, where)}: {problem}" for where, problem in problems[:_MAX_NAMED]
            )
            more = len(problems) - _MAX_NAMED
            raise FatalError("; ".join([*named, *([f"and {more} more"] if more > 0 else [])]))
        return cls(Rules(tuple(each.rule() for each in file.rules)), file.channels)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            read = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise FatalError(f"ESCALATION_RULES is {mask(str(path))!r}, which cannot be read: {error.strerror}") from None
    if len(read) > _MAX_BYTES:
        raise FatalError(f"{path}: the file is too large, must be at most {_MAX_BYTES} bytes")
    try:
        return read.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise FatalError(f"{path}:{line}: byte {error.object[error.start]:#x}, must be UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, _, where = str(error).rpartition(" (at ")
        number = re.match(r"line (\d+)", where)
        line = int(number[1]) if number else text.rstrip("\n").count("\n") + 1  # "end of document".
        raise FatalError(f"{path}:{line}: {mask(said)}, must be TOML") from None
    except ValueError:  # Python reads no decimal number of more than 4300 digits.
        lines = text.split("\n")
        line = bisect.bisect_left(range(len(lines)), True, key=lambda last: _is_too_long("\n".join(lines[: last + 1])))
        raise FatalError(f"{path}:{line + 1}: a number has too many digits, must be TOML") from None


def _is_too_long(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    except ValueError:
        return True
    return False


def _problem(error: ErrorDetails, document: Mapping[str, Any]) -> tuple[_Path, str]:
    """Return where a mistake is in *document*, and what to say of it."""
    path = error["loc"]
    if path[0] == "channels" and len(path) > 1:
        return _channel_problem(error, document["channels"])
    key = _key(path)
    fields = _RuleTable.model_fields if path[0] == "rules" and len(path) > 1 else _File.model_fields
    # An element of a list is spoken of as its list.
    name = next((each for each in reversed(path) if isinstance(each, str)), "")
    if error["type"] == "extra_forbidden":
        return path, f"{key} is no key here, must be one of {', '.join(fields)}"
    if name == "rules" and len(path) > 1:
        return path, f"{key} is {_shown(error['input'])}, must be a table, [[rules]]"
    return path, _wrong(error, key, fields[name].description)


def _channel_problem(error: ErrorDetails, channels: Mapping[str, Any]) -> tuple[_Path, str]:
    _, name, *rest = error["loc"]
    if rest == ["[key]"]:
        return ("channels", name), f"{_key(('channels', name))}: a channel's name must be {_NAME}"
    if not rest:
        if isinstance(channels[str(name)], dict):  # Of no type, or of one there is not.
            path: _Path = ("channels", name, "type")
            given = channels[str(name)].get("type")
            what = "is missing" if given is None else f"is {_shown(given)}"
            return path, f"{_key(path)} {what}, must be sns, sqs or webhook"
        return ("channels", name), f"{_key(('channels', name))} is {_shown(error['input'])}, must be a table"
    of_type, field = str(rest[0]), str(rest[1])
    path = ("channels", name, field)
    fields = _TYPES[of_type].model_fields
    if error["type"] == "extra_forbidden":
        return path, f"{_key(path)} is no key of type {of_type}, must be one of {', '.join(fields)}"
    if field.endswith("_env"):
        return path, f"{_key(path)} is not shown, must be {fields[field].description}, in upper case"
    return path, _wrong(error, _key(path), fields[field].description)


def _wrong(error: ErrorDetails, key: str, allowed: str | None) -> str:
    what = "is missing" if error["type"] == "missing" else f"is {_shown(error['input'])}"
    return f"{key} {what}, must be {allowed}"


def _contradictions(file: _File, environ: Mapping[str, str]) -> Iterator[tuple[_Path, str]]:
    """Yield what is wrong with values that are right each for itself."""
    for name, channel in file.channels.items():
        if isinstance(channel, Webhook):
            yield from _webhook_problems(("channels", name), channel, environ)
    defined = [LOG_CHANNEL, *file.channels]
    last = len(file.rules) - 1
    for index, rule in enumerate(file.rules):
        for each in rule.channels:
            if each not in defined:
                yield (
                    ("rules", index, "channels"),
                    f"rules.channels is {_shown(each)}, must be a channel that is defined: {', '.join(defined)}",
                )
        if rule.rule().catches_all and index < last:
            yield (
                ("rules", index),
                "rules has no reasons and no sources, must have either: only the last rule catches all",
            )
        if not rule.rule().catches_all and index == last:
            key = "reasons" if rule.reasons else "sources"
            yield ("rules", index, key), f"rules.{key} is set, must be absent: the last rule catches all"


def _webhook_problems(path: _Path, webhook: Webhook, environ: Mapping[str, str]) -> Iterator[tuple[_Path, str]]:
    """Values that may be secret are not repeated."""
    url = (*path, "url_env" if webhook.url_env else "url")
    if (webhook.url is None) == (webhook.url_env is None):
        what = "is missing" if webhook.url is None else "and url_env are both set"
        yield (*path, "url"), f"{_key((*path, 'url'))} {what}, must be {_URL}, or url_env the variable that holds it"
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
    """Return a key as people speak of it; which rule, the line says."""
    return mask(".".join(_plain(each) for each in path if isinstance(each, str)))


def _plain(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else repr(name)


def _shown(value: Any) -> str:
    try:
        shown = mask(repr(value.isoformat() if hasattr(value, "isoformat") else value))
    except ValueError:  # Python writes no number of more than 4300 digits, but reads it where it is hexadecimal.
        return "a number that has too many digits"
    return shown if len(shown) <= _MAX_SHOWN_CHARS else f"{shown[:_MAX_SHOWN_CHARS]}..."


def _statement_ends(text: str) -> list[int]:
    """Return the lines that end a statement, or are empty: a list may go over several."""
    lines = text.split("\n")
    ends = [0]
    for number in range(1, len(lines) + 1):
        with suppress(tomllib.TOMLDecodeError):
            tomllib.loads("\n".join(lines[ends[-1] : number]))
            ends.append(number)
    return ends[1:]


def _line_of(text: str, ends: Sequence[int], path: Sequence[str | int]) -> int:
    """
    Return the line of the statement that sets *path*, or as much of it as there is.

    It is the first one without which the document has no such key. So whatever way a key is written in (a header, a
    dotted key, an inline table), it is found, and nothing that merely looks like it is.
    """
    while path and not _has(tomllib.loads(text), path):
        path = path[:-1]
    lines = text.split("\n")
    # What a document has, it has however much follows.
    found = bisect.bisect_left(ends, True, key=lambda end: _has(tomllib.loads("\n".join(lines[:end])), path))
    return ends[found - 1] + 1 if found else 1


def _has(value: Any, path: Sequence[str | int]) -> bool:
    for each in path:
        if isinstance(each, int):
            if not isinstance(value, list) or each >= len(value):
                return False
        elif not isinstance(value, dict) or each not in value:
            return False
        value = value[each]
    return True
