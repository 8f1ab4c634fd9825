"""The console of a run: when its address is noted."""

import pytest

from deploy.local.console import Console
from deploy.local.log_lines import LogLine

OTHER, STARTED = (LogLine.parse(f'{{"event": "{event}"}}') for event in ("worker.started", "console.started"))


@pytest.mark.parametrize("wanted_first", [False, True])
def test_the_address_is_noted_once_as_soon_as_it_listens_and_is_wanted(*, wanted_first: bool) -> None:
    notes: list[str] = []
    console = Console(8090, "secret", notes.append)
    if wanted_first:
        console.note_when_ready()
        console.see(OTHER)
    else:
        console.see(STARTED)
    assert notes == []
    console.see(STARTED)
    if not wanted_first:
        console.note_when_ready()
    console.see(STARTED)
    assert notes == ["Open the console: http://127.0.0.1:8090/?token=secret"]
