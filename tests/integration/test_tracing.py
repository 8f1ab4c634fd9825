"""One trace: real workers, the local AWS, a provider, a webhook and an OTLP receiver. The test sends the header."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.integration.faulty_provider import Fault, FaultyProvider
from tests.integration.hooks import Hooks
from tests.integration.pipeline import Pipeline, wait_until
from tests.otlp import ReceivedSpan, Receiver, otlp_receiver
from tests.support import DeployStack, StartWorker

CARD, GROUPED = "4929123412345678", "4929 1234 1234 5678"
SENDER = "00f067aa0ba902b7"
NOBODY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "100"}


@pytest.fixture(scope="module")
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("tracing-"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider(seed=1) as provider:
        yield provider


def trace_id(number: int) -> str:
    return f"4bf92f35{number:024x}"


def send(pipeline: Pipeline, body: str, number: int, *, xray: bool = False, **attributes: str) -> str:
    """Send *body* to the fulfillment queue with the context of a trace, in AWS's way or in that of W3C."""
    trace = trace_id(number)
    named = attributes if xray else {"traceparent": f"00-{trace}-{SENDER}-01", **attributes}
    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent={SENDER};Sampled=1"
    system: Any = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}} if xray else {}
    sent = pipeline.client("sqs").send_message(
        QueueUrl=pipeline.stack.order_fulfillment_queue_url,
        MessageBody=body,
        MessageAttributes={name: {"DataType": "String", "StringValue": text} for name, text in named.items()},
        MessageSystemAttributes=system,
    )
    return str(sent["MessageId"])


def webhook(tmp_path: Path, hooks: Hooks) -> dict[str, str]:
    path = tmp_path / "rules.toml"
    path.write_text(
        '[[rules]]\nseverity = "warning"\nchannels = ["chat"]\n'
        f'[channels.chat]\ntype = "webhook"\nurl = "{hooks.url("s3cret")}"\n',
        encoding="utf-8",
    )
    return {"ESCALATION_RULES": str(path)}


def path_of(span: ReceivedSpan, spans: list[ReceivedSpan]) -> list[str]:
    """Return the names of *span* and the spans above it, the outermost first."""
    parents = [each for each in spans if each.span_id == span.parent_id]
    return [*(path_of(parents[0], spans) if parents else [span.parent_id]), span.name]


def paths(receiver: Receiver, number: int) -> set[tuple[str, ...]]:
    spans = [span for span in receiver.spans() if span.trace_id == trace_id(number)]
    return {tuple(path_of(span, spans)) for span in spans}


def test_a_trace_goes_from_the_message_to_the_provider_and_on_to_the_webhook(  # noqa: PLR0917 - fixtures.
    pipeline: Pipeline,
    receiver: Receiver,
    provider: FaultyProvider,
    hooks: Hooks,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    stack, tables = pipeline.stack, (pipeline.stack.order_table, pipeline.stack.escalation_table)
    process, escalate = f"process {stack.name_prefix}OrderFulfillmentQueue", f"{stack.name_prefix}EscalationQueue"
    http = {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": provider.url}
    fulfillment = start_worker("fulfillment", stack=stack, env=receiver.environment | http)
    escalation = start_worker("escalation", stack=stack, env=receiver.environment | webhook(tmp_path, hooks))
    provider.curses["refused"] = Fault.REFUSED
    for order_id in ("shipped", "refused"):
        pipeline.put_order(order_id, Name=f"Ada {GROUPED}")
    send(pipeline, f'{{"OrderId": "shipped", "ExecutionArn": "{pipeline.arn("of-shipped")}"}}', 1, xray=True)
    send(
        pipeline,
        f'{{"OrderId": "refused", "ExecutionArn": "{pipeline.arn("of-refused")}"}}',
        2,
        tracestate=f"vendor={CARD}",
        note=CARD,
    )
    undecodable = send(pipeline, f'{{"OrderId": "{GROUPED}"}}', 3)

    wait_until(lambda: all(pipeline.status(order_id) != "RECEIVED" for order_id in ("shipped", "refused")))
    for case_id in ("refused", f"message-{undecodable}"):
        wait_until(lambda case_id=case_id: "chat" in str((pipeline.case(case_id) or {}).get("Routed")))  # type: ignore[misc]
    assert (fulfillment.stop(), escalation.stop()) == (0, 0)

    shipped = {
        (SENDER, process),
        (SENDER, process, f"BatchGetItem {tables[0]}"),
        (SENDER, process, "ship order"),
        (SENDER, process, "ship order", "POST"),
        (SENDER, process, f"BatchExecuteStatement {tables[0]}"),
    }
    assert paths(receiver, 1) == shipped
    sent = (SENDER, process, f"send {escalate}")
    handled = (*sent, f"process {escalate}")
    written = {
        handled,
        (*handled, f"BatchGetItem {tables[1]}"),
        (*handled, f"TransactWriteItems {tables[1]}"),
        (*handled, "notify chat"),
        (*handled, "notify chat", "POST"),
        (*handled, f"UpdateItem {tables[1]}"),
    }
    # A webhook that answers late is tried again, which adds spans.
    rejected = shipped - {(SENDER, process, f"BatchExecuteStatement {tables[0]}")}
    assert rejected | {sent} | written <= paths(receiver, 2)
    letter = (SENDER, process, f"send {stack.name_prefix}OrderFulfillmentDLQ")
    assert {(SENDER, process), sent, letter} | written <= paths(receiver, 3)
    assert {path[:2] for number in (2, 3) for path in paths(receiver, number)} == {(SENDER, process)}
    check_attributes(receiver, process, pipeline)
    check_headers(receiver, provider, hooks)
    for number, worker in ((1, fulfillment), (2, fulfillment), (2, escalation), (3, escalation)):
        traced = [line for line in worker.lines() if line.get("trace_id") == trace_id(number)]
        assert {"message.acknowledged", "message.dead_lettered"} & {line["event"] for line in traced}
    digits = [request.replace(b" ", b"").replace(b"-", b"") for request in receiver.requests]
    assert not [request for request in digits if CARD.encode() in request or b"s3cret" in request or b"Ada" in request]
    (dead_letter,) = pipeline.take(f"{stack.order_fulfillment_queue_url.rpartition('/')[0]}/{letter[-1][5:]}")
    assert dead_letter["MessageAttributes"]["traceparent"]["StringValue"].split("-")[1] == trace_id(3)


def check_attributes(receiver: Receiver, process: str, pipeline: Pipeline) -> None:
    (span,) = receiver.named(process, worker__order_id="refused")
    attributes = dict(span.attributes)
    assert (span.kind, span.failed, span.service) == ("CONSUMER", False, "order-fulfillment-fulfillment")
    assert (attributes["worker.receive_count"], attributes["worker.ending"]) == (1, "acknowledged")
    assert attributes["worker.outcome"] == "escalated"
    assert attributes["worker.execution_arn"] == pipeline.arn("of-refused")
    (undecodable,) = receiver.named(process, worker__outcome="undecodable")
    assert (undecodable.failed, undecodable.attributes["worker.ending"]) == (True, "dead_lettered")
    (refused,) = receiver.named("ship order", error__type="RejectedError")
    assert (refused.trace_id, refused.failed) == (trace_id(2), True)


def check_headers(receiver: Receiver, provider: FaultyProvider, hooks: Hooks) -> None:
    asked = {found[1] for body in provider.bodies if (found := re.search(r"'traceparent': '([^']+)'", body))}
    given = asked | {header for header in hooks.traceparents if header is not None}
    posts = [span for span in receiver.named("POST") if span.kind == "CLIENT"]
    assert {header.split("-")[2] for header in given} <= {span.span_id for span in posts}
    assert {header.split("-")[1] for header in given} == {trace_id(number) for number in (1, 2, 3)}


def test_a_worker_whose_receiver_is_down_works_and_stops_in_time(pipeline: Pipeline, start_worker: StartWorker) -> None:
    worker = start_worker("fulfillment", stack=pipeline.stack, env=NOBODY)
    for n in range(30):
        pipeline.put_order(f"dead-{n}")
        pipeline.send_order(f"dead-{n}")
    wait_until(lambda: all(pipeline.status(f"dead-{n}") == "FULFILLED" for n in range(30)))
    worker.wait_for("trace_export.failed", reason="connection error")
    assert worker.stop() == 0
    assert [line["event"] for line in worker.lines() if "opentelemetry" in str(line)] == []


def test_a_worker_of_your_own_traces_too_and_its_handler_sees_the_span(
    pipeline: Pipeline, receiver: Receiver, start_worker: StartWorker
) -> None:
    stack = pipeline.stack
    name, url = f"{stack.name_prefix}OrderFulfillmentQueue", stack.order_fulfillment_queue_url
    worker = start_worker(
        f"run tests.integration.traced_handler:refuse --queue {name}", stack=stack, env=receiver.environment
    )
    message_id = send(pipeline, f"refuse {GROUPED}", 4, tracestate="vendor=1")
    worker.wait_for("message.dead_lettered", message_id=message_id, outcome="permanent_error")
    assert worker.stop() == 0

    process, letter = f"process {name}", f"send {stack.name_prefix}OrderFulfillmentDLQ"
    assert paths(receiver, 4) == {(SENDER, process), (SENDER, process, "look"), (SENDER, process, letter)}
    assert {span.service for span in receiver.spans()} == {f"order-fulfillment-{name}"}
    traced = [line for line in worker.lines() if line.get("message_id") == message_id]
    assert {line["trace_id"] for line in traced} == {trace_id(4)}
    letters = f"{url.rpartition('/')[0]}/{letter[5:]}"
    (moved,) = [found for found in pipeline.take(letters) if found["Body"] == f"refuse {GROUPED}"]
    assert moved["MessageAttributes"]["traceparent"]["StringValue"].split("-")[1] == trace_id(4)
    assert moved["MessageAttributes"]["tracestate"]["StringValue"] == "vendor=1"
    assert not [request for request in receiver.requests if GROUPED.encode() in request]


@pytest.mark.process
def test_a_worker_without_tracing_imports_nothing_of_it() -> None:
    program = """
import asyncio, sys
import workers.command
from workers.connections import open_clients
from workers.metrics import Metrics
from workers.kinds import Worker
from workers.settings import Settings

async def open_and_close():
    async with open_clients(Worker.FULFILLMENT, Settings.read({}), None, Metrics()):
        pass

asyncio.run(open_and_close())
print([name for name in sys.modules if name.startswith(("opentelemetry", "google", "requests"))])
"""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "AWS_REGION": "eu-central-1",
        "OTEL_SERVICE_NAME": "orders",  # It does not switch tracing on.
    }
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]"], run.stderr
