"""Workers of your own, on queues of their own: the example of docs/own-workers.md, and what may go wrong."""

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command_line import CommandLine
from tests.integration.pipeline import wait_until
from tests.support import SHORT_VISIBILITY, DeployedStack, StartWorker

EXAMPLE = "run tests.examples.returns:open_returns"
NUMBERS = itertools.count(1)
SCRIPTED = "run tests.integration.own_handler:scripted"


@dataclass
class Shop:
    """The shop of the example. `status` is its answer to a return; `taken` has the returns in order."""

    status: dict[str, int] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, order_id: str) -> int:
        self.taken.append(order_id)
        return self.status.get(order_id, 200)


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(shop.answer(self.path.rpartition("/")[2]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shop.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield shop
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Returns:
    """The queue of the worker, and its dead-letter queue."""

    sqs: Any
    name: str
    url: str
    dead_letter_url: str

    def send(self, body: object) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        return str(self.sqs.send_message(QueueUrl=self.url, MessageBody=text)["MessageId"])

    def dead_letters(self) -> dict[str, str]:
        """Return the reasons of the dead letters, by body. They stay hidden."""
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letter_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=0
        )
        return {
            message["Body"]: message["MessageAttributes"]["Reason"]["StringValue"]
            for message in answer.get("Messages", [])
        }

    def counts(self) -> tuple[int, int]:
        """Return how many messages are in the queue, waiting or in flight, and in its dead-letter queue."""
        both = []
        for url in (self.url, self.dead_letter_url):
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            both.append(sum(int(found[f"ApproximateNumberOfMessages{state}"]) for state in ("", "NotVisible")))
        return both[0], both[1]


@pytest.fixture
def returns(stack: DeployedStack) -> Returns:
    sqs, name = stack.client("sqs"), f"Returns-{next(NUMBERS)}"
    dead_letter_url = sqs.create_queue(QueueName=f"{name}-DLQ")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})
    url = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive, "VisibilityTimeout": "6"})["QueueUrl"]
    return Returns(sqs, name, url, dead_letter_url)


def test_the_example_takes_returns_and_its_dead_letters_can_be_replayed(
    stack: DeployedStack, returns: Returns, shop: Shop, start_worker: StartWorker
) -> None:
    shop.status["r-2"] = 404
    worker = start_worker(f"{EXAMPLE} --queue {returns.name} --name returns", env={"SHOP_URL": shop.url})
    accepted = returns.send({"order_id": "r-1", "item": "bike"})
    unknown = returns.send({"order_id": "r-2", "item": "bike"})
    undecodable = returns.send({"order_id": "r-3"})
    done = worker.wait_for("message.acknowledged", message_id=accepted, outcome="handled")
    assert (done["worker"], done["queue"]) == ("returns", returns.name)
    worker.wait_for("message.dead_lettered", message_id=unknown, outcome="permanent_error")
    worker.wait_for("message.dead_lettered", message_id=undecodable, outcome="undecodable")
    assert returns.counts() == (0, 2)
    assert sorted(returns.dead_letters().values()) == [
        "PERMANENT_ERROR: the shop has no such order",
        "UNDECODABLE_MESSAGE: item is missing",
    ]

    orders = CommandLine(stack)
    for name in (returns.name, f"{returns.name}-DLQ"):
        assert json.loads(orders("queues", name, "--json").out)[0]["dead_letters"] == 2
    shop.status.clear()
    replayed = orders("dead-letters", "replay", f"{returns.name}-DLQ", "--reason", "PERMANENT", "--yes")
    assert replayed.code == 0, replayed.err
    wait_until(lambda: shop.taken.count("r-2") == 2 and returns.counts() == (0, 1))
    assert worker.stop() == 0, worker.output()


def test_in_an_outage_of_the_shop_returns_are_held_and_then_taken(
    returns: Returns, shop: Shop, start_worker: StartWorker
) -> None:
    shop.status["r-1"] = 503
    env = {"SHOP_URL": shop.url, "WORKER_MAX_ATTEMPTS": "1"}
    worker = start_worker(f"{EXAMPLE} --queue {returns.name}", env=env)
    held = returns.send({"order_id": "r-1", "item": "bike"})
    wait_until(lambda: shop.taken.count("r-1") >= 3)
    shop.status.clear()
    worker.wait_for("message.acknowledged", message_id=held)
    assert returns.counts() == (0, 0)
    assert worker.stop() == 0, worker.output()


def test_failures_and_a_crash_deliver_again_and_attempts_end(
    returns: Returns, start_worker: StartWorker, tmp_path: Path
) -> None:
    env = {"JOURNAL": str(tmp_path / "journal"), "WORKER_MAX_ATTEMPTS": "2"}
    command = f"{SCRIPTED} --queue {returns.name}"
    worker = start_worker(command, env=env)
    returns.send("fails")
    worker.wait_for("message.released", outcome="unexpected_error")
    worker.wait_for("message.dead_lettered", outcome="attempts_exhausted")
    assert returns.dead_letters() == {"fails": "ATTEMPTS_EXHAUSTED: failed at delivery 2; last error: key error"}
    assert worker.stop() == 0, worker.output()
    env |= SHORT_VISIBILITY
    worker = start_worker(command, env=env)
    slow = returns.send("slow once")
    wait_until(lambda: "begin slow once 1\n" in (tmp_path / "journal").read_text())
    worker.kill()
    worker = start_worker(command, env=env)
    worker.wait_for("message.acknowledged", message_id=slow)
    assert worker.stop() == 0, worker.output()
    steps = (tmp_path / "journal").read_text().splitlines()
    assert [step for step in steps if step in {"open", "close"}] == ["open", "close", "open", "open", "close"]
    assert steps[-1] == "close"


def test_what_cannot_be_opened_for_now_is_waited_for(
    returns: Returns, start_worker: StartWorker, tmp_path: Path
) -> None:
    (tmp_path / "down").touch()
    env = {"JOURNAL": str(tmp_path / "journal"), "DOWN": str(tmp_path / "down")}
    worker = start_worker(f"{SCRIPTED} --queue {returns.name}", env=env)
    waiting = worker.wait_for("aws.unavailable")
    assert (
        waiting["reason"] == f"{SCRIPTED.split()[1]} cannot be opened: connection refused error: the database is down"
    )
    (tmp_path / "down").unlink()
    worker.wait_for("worker.started")
    assert worker.stop() == 0, worker.output()


def test_a_worker_that_cannot_start_says_why_in_one_line(stack: DeployedStack, start_worker: StartWorker) -> None:
    stack.client("sqs").create_queue(QueueName="returns-without")
    for arguments, reason in {
        "--queue returns-without": "queue returns-without has no dead-letter queue (RedrivePolicy)",
        "--queue returns-nowhere": "there is no queue returns-nowhere: create it, or correct --queue",
    }.items():
        worker = start_worker(f"{SCRIPTED} {arguments}")
        assert worker.wait() == 1
        assert worker.lines()[-1]["reason"] == reason
