"""Reads the rules file that decides how escalations are routed. The file is read and checked once, at the start."""

import bisect
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from workers.domain.cards import mask
from workers.domain.routing import Rules
from workers.errors import FatalError
from workers.escalation.rules.problems import contradictions, problem_of
from workers.escalation.rules.tables import ChannelTable, RulesFile
from workers.escalation.rules.toml_lines import line_of, statement_ends

DEFAULT_RULES = Path(__file__).with_name("escalation-rules.toml")

_MAX_BYTES = 64 * 1024  # Enough for hundreds of rules.
_MAX_REPORTED = 20


@dataclass(frozen=True, slots=True)
class EscalationRules:
    """The rules and the channels of the file."""

    rules: Rules
    channels: Mapping[str, ChannelTable]

    @classmethod
    def read(cls, path: Path | None, environ: Mapping[str, str]) -> Self:
        """
        Read the file at *path* (None: the default file in this package). *environ* holds the secrets that it names.

        Raises:
            FatalError: The file has mistakes. For the first 20, the text gives file, line, key and allowed values.
        """
        path = path or DEFAULT_RULES
        try:
            return cls._checked(path, environ)
        except RecursionError:
            raise FatalError(f"{path}: nested too deeply, must be tables of [[rules]] and [channels.NAME]") from None

    @classmethod
    def _checked(cls, path: Path, environ: Mapping[str, str]) -> Self:
        text = _read(path)
        document = _parse(path, text)
        try:
            file = RulesFile.model_validate(document)
        except ValidationError as error:
            problems = [problem_of(mistake, document) for mistake in error.errors()]
        else:
            problems = list(contradictions(file, environ))
        if problems:
            ends = statement_ends(text)
            reported = dict.fromkeys(
                f"{path}:{line_of(text, ends, where)}: {problem}" for where, problem in problems[:_MAX_REPORTED]
            )
            more = len(problems) - _MAX_REPORTED
            raise FatalError("; ".join([*reported, *([f"and {more} more"] if more > 0 else [])]))
        return cls(Rules(tuple(table.rule() for table in file.rules)), file.channels)


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
        # The error gives a line number, or says "end of document".
        number = re.match(r"line (\d+)", where)
        line = int(number[1]) if number else text.rstrip("\n").count("\n") + 1
        raise FatalError(f"{path}:{line}: {mask(said)}, must be TOML") from None
    except ValueError:  # Python does not read decimal numbers of more than 4300 digits.
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
