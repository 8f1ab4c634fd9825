"""Rules files with mistakes, for the tests of this folder."""

from pathlib import Path

import pytest

from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules

CARD = "4929123412345678"
LAST = '[[rules]]\nseverity = "warning"\n'


def error_of(folder: Path, text: str | bytes) -> str:
    """Return the error text for a rules file with mistakes. The file is called `F` in it."""
    file = folder / "rules.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FatalError) as raised:
        EscalationRules.read(file, {"BAD": "a\nb", "EMPTY": "  ", "PLAIN_HTTP": f"http://chat.example/{CARD}"})
    line = str(raised.value)
    assert "\n" not in line
    assert CARD not in line
    return line.replace(str(file), "F")
