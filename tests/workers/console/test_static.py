"""The files that browsers get are those of this project, and those of others as they were published."""

import hashlib
import re

from workers.console.app import STATIC

VENDORED = STATIC / "VENDORED.md"
OURS = {"app.css", "app.js", "icon.svg", VENDORED.name}
ROW = re.compile(r"^\| `([\w.-]+)` \| `[\w./-]+` \| `([0-9a-f]{64})` \|$", re.MULTILINE)


def test_files_of_others_are_as_published() -> None:
    listed = dict(ROW.findall(VENDORED.read_text(encoding="utf-8")))
    assert listed.keys() == {"htmx.min.js", "hx-sse.min.js"}
    for name, checksum in listed.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == checksum


def test_every_other_file_is_ours() -> None:
    listed = dict(ROW.findall(VENDORED.read_text(encoding="utf-8")))
    for file in STATIC.iterdir():
        if file.name in listed or file.name in OURS:
            continue
        text = file.read_text(encoding="utf-8")
        # A script or style of others is minified, or says what it is and under which licence.
        assert max(map(len, text.splitlines())) < 400, file.name
        assert not re.search(r"@license|copyright|sourceMappingURL|https?://", text, re.IGNORECASE), file.name
