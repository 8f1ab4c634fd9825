"""What `orders workers pause` and `resume` take and print."""

import json

import pytest

from tests.workers.cli.console import done, run
from tests.workers.operations.fakes import empty_queues, fake_stack, refused
from tests.workers.operations.test_pauses import Tags
from workers.aws.pauses import PAUSED_TAG
from workers.cli import dead_letters, escalate, requeue
from workers.cli.pauses import command
from workers.operations.stack import Stack
from workers.operations.unstick import Sent

BY_ADA = ("--actor", "ada", "--note", "new prices")


def test_pause_and_resume_say_what_was_done() -> None:
    stack = fake_stack(sqs=Tags())
    assert done(command, "pause", "Returns", *BY_ADA, stack=stack).stdout.splitlines() == [
        "Returns: paused since 2026-11-22 12:00:00 by ada: new prices",
        "Its workers receive nothing more within about a minute, and end what they are handling",
    ]
    assert done(command, "pause", "Returns", "--actor", "bob", stack=stack).stdout == (
        "Nothing was changed: Returns is paused already, since 2026-11-22 12:00:00 by ada: new prices\n"
    )
    assert done(command, "resume", "Returns", "--actor", "bob", "--note", "done", stack=stack).stdout.splitlines() == [
        "Returns: resumed. It was paused since 2026-11-22 12:00:00 by ada: new prices",
        "Its workers receive again within about a minute",
    ]
    assert done(command, "resume", "Returns", stack=stack).stdout == "Nothing was changed: Returns is not paused\n"


def test_for_scripts_both_are_json() -> None:
    stack = fake_stack(sqs=Tags())
    paused = {"paused_since_at": "2026-11-22T12:00:00Z", "paused_by": "ada", "paused_note": "new prices"}
    for action, changed, more in (
        ("pause", True, paused),
        ("pause", False, paused),
        ("resume", True, paused),
        ("resume", False, dict.fromkeys(paused)),
    ):
        found = json.loads(done(command, action, "Returns", *BY_ADA, "--json", stack=stack).stdout)
        assert found == {"queue": "Returns", "changed": changed, "paused": action == "pause"} | more


@pytest.mark.parametrize("given", ["fulfillment", "FULFILLMENT", "OrderFulfillmentQueue"])
def test_a_queue_of_the_stack_has_a_short_name(given: str) -> None:
    sqs = Tags()
    sqs.tags["http://sqs/OrderFulfillmentQueue"] = {}
    done(command, "pause", given, *BY_ADA, stack=fake_stack(sqs=sqs))
    assert PAUSED_TAG in sqs.tags["http://sqs/OrderFulfillmentQueue"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pause", "Re turns"), "'Re turns' must be fulfillment, escalation, or the name, the URL or the ARN of a"),
        (("resume", "Returns.fifo"), "'Returns.fifo' must be fulfillment, escalation, or the name"),
        (("pause", "EscalationDLQ"), "'EscalationDLQ' is a dead-letter queue, must be a queue that workers receive"),
        (("pause", "Returns", "--note", " "), "the note must be 1 to 1000 characters"),
        (("resume", "Returns", "--actor", ""), "the actor must be 1 to 128 characters"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    ran = run(command, *arguments, stack=fake_stack(sqs=Tags()))
    assert ran.exit_code == 2
    assert said in ran.stderr


def test_a_refusal_is_explained() -> None:
    sqs = Tags()

    def denied(**_: object) -> None:
        raise refused("AccessDenied", "TagQueue", 403)

    sqs.operations["tag_queue"] = denied
    ran = run(command, "pause", "Returns", *BY_ADA, stack=fake_stack(sqs=sqs))
    assert str(ran.exception) == "these credentials do not allow TagQueue (AccessDenied)"


def test_who_runs_it_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_ACTOR", "eve")
    stack = fake_stack(sqs=Tags())
    assert " by eve: no reason given" in done(command, "pause", "Returns", stack=stack).stdout


PAUSED_SINCE = "is paused since 2026-11-22 11:55:00 by ada: new prices."


def paused_stack() -> Stack:
    """Return a stack whose queues are empty and paused."""
    sqs = empty_queues()
    sqs.operations["list_queue_tags"] = lambda **_: {"Tags": {PAUSED_TAG: "2026-11-22T11:55:00Z/ada/new prices"}}
    sqs.operations["receive_message"] = lambda **_: {}
    return fake_stack(sqs=sqs)


def test_a_replay_to_a_paused_queue_says_so() -> None:
    ran = done(dead_letters.command, "replay", "fulfillment", "--yes", stack=paused_stack())
    assert f"OrderFulfillmentQueue {PAUSED_SINCE}" in " ".join(ran.stderr.split())
    assert "`orders workers resume OrderFulfillmentQueue`" in " ".join(ran.stderr.split())


def test_a_message_that_is_sent_to_a_paused_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(_stack: object, order_id: str) -> Sent:
        return Sent(order_id, "OrderFulfillmentQueue", "m-1", 0)

    monkeypatch.setattr("workers.operations.unstick.requeue", send)
    ran = done(requeue.command, "001", stack=paused_stack())
    assert ran.stdout == "Order 001: its message was sent to OrderFulfillmentQueue again (m-1)\n"
    assert f"OrderFulfillmentQueue {PAUSED_SINCE}" in " ".join(ran.stderr.split())


def test_an_escalation_to_a_paused_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_stack: object, order_id: str) -> tuple[dict[str, str], None]:
        return {"OrderId": order_id, "Status": "RECEIVED"}, None

    async def send(_stack: object, order: dict[str, str], *_: str) -> Sent:
        return Sent(order["OrderId"], "EscalationQueue", "m-1", 0)

    monkeypatch.setattr("workers.operations.unstick.read_to_escalate", read)
    monkeypatch.setattr("workers.operations.unstick.escalate", send)
    ran = done(escalate.command, "001", "--yes", "--note", "lost", stack=paused_stack())
    assert f"EscalationQueue {PAUSED_SINCE}" in " ".join(ran.stderr.split())


def test_a_pause_that_cannot_be_read_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(_stack: object, order_id: str) -> Sent:
        return Sent(order_id, "OrderFulfillmentQueue", "m-1", 0)

    def denied(**_: object) -> None:
        raise refused("AccessDenied", "ListQueueTags", 403)

    monkeypatch.setattr("workers.operations.unstick.requeue", send)
    sqs = empty_queues()
    sqs.operations["list_queue_tags"] = denied
    assert done(requeue.command, "001", stack=fake_stack(sqs=sqs)).stderr == ""
