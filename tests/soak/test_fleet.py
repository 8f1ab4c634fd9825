"""What a worker process prints is read to its end, and what is wrong in it is found."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from tests.soak.endings import Endings
from tests.soak.fleet import Fleet, Process
from tests.soak.ledger import Problems, Promise
from tests.soak.plan import Plan


async def printed(problems: Problems, directory: Path, *lines: str | dict[str, Any], killed: bool = False) -> Process:
    """Let a worker that is being stopped print *lines*, after it was delivered the message `m`."""
    process = Process("fulfillment-1", "fulfillment", True, 1, cast("Any", None), Endings("fulfillment-1", problems))
    process.is_stopping, process.is_killed = True, killed
    process.endings.delivered("m", 1)
    read, write = os.pipe()
    with os.fdopen(write, "w", encoding="utf-8") as output:
        output.writelines(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    fleet = Fleet(Plan(), problems, directory)
    await fleet._read(process, read)
    return process


async def test_a_worker_is_followed_from_its_start_to_its_last_line(tmp_path: Path) -> None:
    problems = Problems()
    process = await printed(
        problems,
        tmp_path,
        {"event": "worker.started"},
        {"event": "order.attempts_exhausted", "exception": "Traceback ..."},
        {"event": "message.acknowledged", "message_id": "m", "receive_count": 1},
    )
    process.endings.stopped()
    assert process.started.is_set()
    assert process.output_ended.is_set()
    assert process.endings.count == 1
    assert not problems.counts


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        '"a string"',
        {"level": "info"},
        {"event": "worker.failed", "reason": "the queue is gone"},
        {"event": "library.logged", "message": "Unclosed client session"},
        {"event": "message.released", "message_id": "m", "receive_count": 1, "exception": "Traceback ..."},
    ],
)
async def test_a_failure_an_exception_and_what_is_not_json_are_found(
    line: str | dict[str, Any], tmp_path: Path
) -> None:
    problems = Problems()
    await printed(problems, tmp_path, line)
    assert problems.counts == {Promise.WORKERS: 1}


async def test_a_last_line_without_a_delivery_is_found(tmp_path: Path) -> None:
    problems = Problems()
    await printed(problems, tmp_path, {"event": "message.abandoned", "message_id": "n", "receive_count": 1})
    assert problems.counts == {Promise.ENDINGS: 1}


async def test_a_killed_worker_may_leave_half_a_line(tmp_path: Path) -> None:
    problems = Problems()
    await printed(problems, tmp_path, '{"event": "message.ackn', killed=True)
    assert not problems.counts


async def test_a_worker_that_ends_by_itself_is_found(tmp_path: Path) -> None:
    problems = Problems()
    process = Process("escalation-2", "escalation", True, 1, cast("Any", None), Endings("escalation-2", problems))
    read, write = os.pipe()
    os.write(write, b'{"event": "worker.stopped"}\n')
    os.close(write)
    await Fleet(Plan(), problems, tmp_path)._read(process, read)
    (example,) = problems.examples[Promise.WORKERS]
    assert example.startswith('escalation-2 ended: {"event": "worker.stopped"}')
