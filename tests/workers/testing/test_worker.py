"""Waiting for log lines: found, or a failure that says why, with the last lines."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from workers.testing.worker import SHOWN_BYTES, SHOWN_CHARACTERS, Worker, wait_for_line, wait_until_ready, waiting


class Process:
    """Runs until it has an exit code."""

    pid = 1

    def __init__(self) -> None:
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, _: float) -> int:
        assert self.returncode is not None
        return self.returncode


class Made(Worker):
    def __init__(self, path: Path, name: str = "fulfillment") -> None:
        path.touch()
        self.fake = Process()
        super().__init__(cast("Any", self.fake), path, name)

    def write(self, text: str) -> None:
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(text)

    def log(self, event: str, **fields: object) -> None:
        line = {"timestamp": "2026-11-26T10:00:00Z", "level": "info", "worker": self.name, "event": event, **fields}
        self.write(json.dumps(line) + "\n")


@pytest.fixture
def worker(tmp_path: Path) -> Made:
    return Made(tmp_path / "log")


def test_lines_are_read_whole_and_others_left_out(worker: Made) -> None:
    worker.log("a", n=1)
    worker.write("Traceback\n[1]\n")
    worker.write('{"event": "b"')
    assert [line["event"] for line in worker.lines()] == ["a"]
    worker.write(', "n": 2}\n')
    assert [(line["event"], line["n"]) for line in worker.lines()] == [("a", 1), ("b", 2)]
    assert "Traceback" in worker.output()


def test_the_first_line_with_the_event_and_the_fields_is_returned(tmp_path: Path) -> None:
    first, second = Made(tmp_path / "1"), Made(tmp_path / "2", "escalation")
    second.log("order.fulfilled", order_id="1")
    second.log("order.fulfilled", order_id="2", n=1)
    second.log("order.fulfilled", order_id="2", n=2)
    line = wait_for_line([first, second], "order.fulfilled", {"order_id": "2"})
    assert (line["order_id"], line["n"]) == ("2", 1)
    assert second.wait_for("order.fulfilled", order_id="1")["worker"] == "escalation"


def test_after_the_time_the_last_lines_are_shown_masked(worker: Made) -> None:
    worker.log("worker.starting", order_table="OrderTable")
    worker.log("message.failed", reason="card 4000001234567899")
    with pytest.raises(AssertionError) as raised:
        worker.wait_for("order.fulfilled", timeout_s=0, order_id="1")
    text = str(raised.value)
    assert text.startswith("No log line order.fulfilled order_id='1' within 0 s\nfulfillment runs. Its last lines:\n")
    assert "message.failed" in text
    assert "4000001234567899" not in text
    assert "OrderTable" not in text


def test_a_worker_that_ends_by_itself_fails_any_wait_at_once(worker: Made) -> None:
    worker.log("worker.failed", reason="there is no table OrderTable")
    worker.fake.returncode = 1
    for needs_worker in (True, False):
        waits = waiting([worker], lambda: "No order 1", timeout_s=1_000, needs_worker=needs_worker)
        next(waits)  # The caller looks once more: the process may have ended with the line.
        with pytest.raises(AssertionError, match="No order 1 before fulfillment ended with exit code 1") as raised:
            next(waits)
        assert 'reason="there is no table OrderTable"' in str(raised.value)


def test_a_worker_that_the_test_has_stopped_fails_only_waits_for_its_lines(worker: Made) -> None:
    worker.fake.returncode, worker.was_stopped = 0, True
    waits = waiting([worker], lambda: "No order 1", timeout_s=1_000)
    next(waits)
    next(waits)
    with pytest.raises(AssertionError, match="No log line a before the last worker ended"):
        worker.wait_for("a", timeout_s=1_000)


def test_without_a_worker_no_line_is_waited_for() -> None:
    with pytest.raises(AssertionError, match=r"No log line a because no worker was started: start_worker\(\.\.\.\)"):
        wait_for_line([], "a", {}, timeout_s=1_000)


def test_of_much_output_the_end_is_shown_and_no_part_of_a_card_number(worker: Made) -> None:
    worker.write("first\n" + "4" * SHOWN_BYTES + "\nlast\n")
    assert worker.described().endswith("Its last lines:\n  last")
    worker.write("5" * SHOWN_BYTES)
    assert worker.described().endswith("Its last lines:\n  (a line that is too long to show)")


def test_a_long_line_is_shortened(worker: Made) -> None:
    worker.log("own", blob="y" * 100_000, n=1)
    assert len(worker.described()) < 2 * SHOWN_CHARACTERS
    assert worker.described().endswith("y ...")


@pytest.mark.parametrize("line", ['{"event": "worker.started"}', "10:00:00 info worker.started"])
def test_a_worker_is_ready_once_it_says_so_in_any_format(worker: Made, line: str) -> None:
    worker.log("worker.starting")
    with pytest.raises(AssertionError, match="fulfillment was not ready within 0 s"):
        wait_until_ready(worker, timeout_s=0)
    worker.write(line)
    wait_until_ready(worker, timeout_s=0)


def test_a_worker_that_ends_before_it_is_ready_fails_with_its_last_lines(worker: Made) -> None:
    worker.log("worker.failed", reason="there is no table OrderTable")
    worker.fake.returncode = 1
    with pytest.raises(AssertionError, match="fulfillment was not ready before fulfillment ended with exit") as raised:
        wait_until_ready(worker, timeout_s=1_000)
    assert 'reason="there is no table OrderTable"' in str(raised.value)


def test_an_end_that_the_test_has_waited_for_fails_no_other_wait(worker: Made) -> None:
    worker.fake.returncode = 1
    assert worker.wait() == 1
    assert not worker.has_failed()


def test_fields_that_no_line_of_the_event_has_are_named_with_those_that_there_are(worker: Made) -> None:
    worker.log("message.acknowledged", order_id="1", outcome="fulfilled")
    worker.log("message.acknowledged", message_id="m")
    worker.log("order.fulfilled", order="1")
    with pytest.raises(AssertionError) as raised:
        worker.wait_for("message.acknowledged", order="1", outcome="fulfilled", timeout_s=0)
    assert str(raised.value).startswith(
        "No log line message.acknowledged order='1' outcome='fulfilled' (none of the 2 of this event has order; "
        "they have worker, order_id, outcome, message_id) within 0 s\n"
    )


@pytest.mark.parametrize("event", ["message.acknowledged", "message.released"])
def test_no_field_is_named_if_it_is_there_or_the_event_never_came(worker: Made, event: str) -> None:
    worker.log("message.acknowledged", order_id="1")
    with pytest.raises(AssertionError, match=f"No log line {event} order_id='2' within 0 s\n"):
        worker.wait_for(event, order_id="2", timeout_s=0)
