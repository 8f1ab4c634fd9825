"""The workers' output, line by line: parsed, and rendered for the terminal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
# These have a place of their own in the line, or are too long for it. The log file has all of them.
_LEFT_OUT = frozenset({"timestamp", "level", "event", "worker", "execution_arn", "message_id", "queue"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output. `fields` is empty if it is not a JSON object; honcho's own lines are not."""

    text: str
    fields: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str) -> "LogLine":
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        return cls(text, value if isinstance(value, dict) else {})

    @property
    def event(self) -> str:
        return str(self.fields.get("event", ""))


def rendered(line: LogLine) -> Text:
    """Return a log line as people read it: time, level, worker, event, values. Any other line stays as it is."""
    fields = line.fields
    if not fields:
        return Text(line.text, style="dim")
    time = str(fields.get("timestamp", ""))[11:19]
    level = str(fields.get("level", ""))
    values = " ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in _LEFT_OUT)
    text = f"{time} {level:<7} {fields.get('worker', ''):<11} {line.event:<22} {values}"
    return Text(text.rstrip(), style=_STYLES.get(level, ""))


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
