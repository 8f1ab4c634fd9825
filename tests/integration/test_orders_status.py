"""`orders status` on the local AWS, with both workers, while the provider is down."""

import json
from pathlib import Path
from typing import Any

from tests.integration.command_line import CommandLine
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployStack, free_port

PREFIX = "status-"


def test_a_provider_that_is_down_is_shown_with_its_worker_and_its_queue(
    deploy_stack: DeployStack, tmp_path: Path
) -> None:
    pipeline = Pipeline(deploy_stack(PREFIX))
    ports = {name: free_port() for name in ("fulfillment", "escalation", "provider")}
    orders = CommandLine(pipeline.stack)
    urls = " ".join(f"{name}=http://127.0.0.1:{ports[name]}" for name in ("fulfillment", "escalation"))

    def status() -> dict[str, Any]:
        ran = orders("status", "--json", WORKER_HEALTH_URLS=urls)
        assert ran.code == 0, ran.err
        found: dict[str, Any] = json.loads(ran.out)
        return found

    fulfillment = pipeline.start(
        "fulfillment",
        tmp_path / "fulfillment.log",
        FULFILLMENT_PROVIDER="http",
        FULFILLMENT_URL=f"http://127.0.0.1:{ports['provider']}",  # Nothing listens there.
        WORKER_HEALTH_PORT=str(ports["fulfillment"]),
        WORKER_RELEASE="r1",
    )
    escalation = pipeline.start("escalation", tmp_path / "escalation.log", WORKER_HEALTH_PORT=str(ports["escalation"]))
    try:
        for worker in (fulfillment, escalation):
            worker.wait_for("worker.started")
        pipeline.put_order("waits")
        pipeline.send_order("waits")
        pipeline.send_escalation({"OrderId": "unknown", "Reasons": ["ORDER_NOT_FOUND"], "Source": "fulfillment"})
        wait_until(lambda: pipeline.case("unknown"))
        fulfillment.wait_for("downstream.failed")

        shown = wait_until(lambda: (found := status())["open_cases"] == 1 and found)
        worker, other = shown["workers"]
        assert (worker["state"], worker["held"], worker["held_by"], worker["release"]) == (
            "running",
            True,
            "downstream",
            "r1",
        )
        assert worker["held_since_at"] is not None
        assert "the provider cannot be reached" in worker["held_reason"]
        assert (other["state"], other["held"], other["release"]) == ("running", False, None)
        assert worker["last_poll_at"] is not None
        (provider,) = shown["services"]
        assert (provider["service"], provider["state"]) == ("provider", "down")
        assert provider["down_since_at"] is not None
        assert "the provider cannot be reached" in provider["last_error"]
        queue = shown["queues"][0]
        assert (queue["queue"], queue["depth"] + queue["in_flight"]) == (f"{PREFIX}OrderFulfillmentQueue", 1)
        assert queue["drained_per_second"] is None  # It was looked at once.
        assert shown["orders"][0]["orders"] == 1
        assert [count["reason"] for count in shown["cases"]] == ["ORDER_NOT_FOUND"]
        assert "orders escalations list --severity" in str(shown["needs"])
        assert "the oldest RECEIVED order waits" in str(shown["needs"])

        fulfillment.kill()
        ran = orders("status", WORKER_HEALTH_URLS=urls)
        assert ran.code == 0
        assert "the fulfillment worker is not running: nothing listens at" in ran.out
        assert "provider: the fulfillment worker does not say" in ran.out
    finally:
        fulfillment.kill()
        escalation.kill()
