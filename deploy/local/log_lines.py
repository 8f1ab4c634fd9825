"""The workers' output, line by line: parsed, and shown on the terminal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.log_text import render, render_foreign


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


def shown(line: LogLine, *, color: bool) -> str:
    """Return a line as `orders logs` shows it."""
    return render(line.fields, color=color) if line.fields else render_foreign(line.text, color=color)
