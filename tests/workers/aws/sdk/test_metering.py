from types import SimpleNamespace
from typing import Any

from botocore.hooks import HierarchicalEmitter

from workers.aws.sdk.metering import Meter
from workers.metrics import Metrics


def test_calls_are_counted_by_action_and_result() -> None:
    metrics, events = Metrics(), HierarchicalEmitter()
    client: Any = SimpleNamespace(meta=SimpleNamespace(events=events))
    meter = Meter(client, metrics.requests)
    meter.count("GetItem", "ok")
    model = SimpleNamespace(name="ReceiveMessage")
    answers: list[dict[str, Any]] = [{}, {"Error": {"Code": "Throttled"}}, {"Error": {}}]
    for parsed in answers:
        events.emit("after-call.sqs.ReceiveMessage", parsed=parsed, model=model)
    events.emit("after-call-error.sqs.ReceiveMessage", exception=TimeoutError())
    samples = [sample for family in metrics.requests.collect() for sample in family.samples]
    assert {
        (sample.labels["action"], sample.labels["result"]): sample.value
        for sample in samples
        if sample.name.endswith("_total")
    } == {
        ("GetItem", "ok"): 1,
        ("ReceiveMessage", "ok"): 2,
        ("ReceiveMessage", "Throttled"): 1,
        ("ReceiveMessage", "TimeoutError"): 1,
    }
