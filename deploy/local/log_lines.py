"""The workers' output, line by line: parsed, and rendered for the terminal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from workers.operations.log_lines import readable

_STYLES = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
# These values are too long for a terminal. The log file has them.
_LEFT_OUT = frozenset({"execution_arn", "message_id"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of output. `fields` is empty if the line is not a JSON object (honcho's own lines are not)."""

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
    """Return a log line in readable form: time, level, worker, event, values. Any other line stays as it is."""
    fields = line.fields
    if not fields:
        return Text(line.text, style="dim")
    shown = readable({name: value for name, value in fields.items() if name not in _LEFT_OUT})
    text = f"{shown.time[11:19]} {shown.level:<7} {shown.worker:<11} {shown.event:<22} {shown.values}"
    return Text(text.rstrip(), style=_STYLES.get(shown.level, ""))
