"""`orders workers` on the local AWS: a worker whose queue is paused receives nothing, and the next one does."""

import json
import urllib.request
from pathlib import Path

from tests.integration.command_line import CommandLine
from tests.integration.pipeline import Pipeline
from tests.support import DeployStack, free_port

PREFIX = "paused-"
QUEUE = f"{PREFIX}OrderFulfillmentQueue"


def test_a_paused_worker_is_ready_and_receives_nothing_until_it_is_resumed(
    deploy_stack: DeployStack, tmp_path: Path
) -> None:
    pipeline = Pipeline(deploy_stack(PREFIX))
    orders, port = CommandLine(pipeline.stack), free_port()
    note = "the provider's prices: 50 % more, ä"
    assert orders("workers", "pause", "fulfillment", "--actor", "ada", "--note", note).out.startswith(
        f"{QUEUE}: paused"
    )
    pipeline.put_order("waits")
    pipeline.send_order("waits")

    worker = pipeline.start("fulfillment", tmp_path / "paused.log", WORKER_HEALTH_PORT=str(port))
    try:
        line = worker.wait_for("consumer.paused")
        assert (line["actor"], line["note"]) == ("ada", note)
        for path, said in (("healthz", b"ok: paused since "), ("readyz", b"ok\n")):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
                assert (answer.status, answer.read()[: len(said)]) == (200, said)
        shown = json.loads(orders("queues", "--json").out)[0]
        assert (shown["paused"], shown["paused_by"], shown["paused_note"], shown["depth"]) == (True, "ada", note, 1)
        assert worker.stop() == 0, worker.output()
    finally:
        worker.kill()
    assert "message.acknowledged" not in worker.output()

    assert orders("workers", "resume", QUEUE, "--actor", "bob", "--note", "done").out.startswith(f"{QUEUE}: resumed")
    worker = pipeline.start("fulfillment", tmp_path / "resumed.log")
    try:
        worker.wait_for("order.fulfilled", order_id="waits")
    finally:
        worker.kill()
    assert orders("workers", "resume", QUEUE).out == f"Nothing was changed: {QUEUE} is not paused\n"
    assert "there is no queue Nowhere" in orders("workers", "pause", "Nowhere").err
