"""`orders requeue` and `orders escalate` with both workers on a local AWS: orders that hang are finished, once."""

import json

import pytest

from tests.integration.command_line import CARD, CommandLine
from tests.integration.conftest import Running
from tests.integration.pipeline import fulfilled, wait_until
from workers.domain.submissions import submission_name

WHO = ("--actor", "ada", "--note", "its message was deleted by hand")


@pytest.fixture(scope="module")
def orders(running: Running) -> CommandLine:
    return CommandLine(running.pipeline.stack)


def test_an_order_that_was_verified_and_lost_its_message_is_fulfilled(running: Running, orders: CommandLine) -> None:
    order_id = "lost-message"
    order = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
    assert orders("submit", "-", stdin=json.dumps(order)).code == 0
    wait_until(lambda: running.pipeline.status(order_id) == "FULFILLED")
    # As if its worker's write had been lost, and its message deleted by hand.
    execution = submission_name(order_id, 1)
    running.pipeline.put_order(order_id, ExecutionArn=running.pipeline.arn(execution))
    assert "`orders requeue lost-message`" in orders("show", order_id).out

    sent = orders("requeue", order_id)
    assert (sent.code, sent.err) == (0, "")
    wait_until(lambda: running.pipeline.status(order_id) == "FULFILLED")
    refused = orders("requeue", order_id)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("orders: order lost-message is FULFILLED: no worker is to fulfill it; ")


def test_an_order_that_nothing_verified_is_escalated_and_verified_by_its_resubmission(
    running: Running, orders: CommandLine
) -> None:
    order_id = "aborted"
    running.pipeline.put_order(order_id)
    refused = orders("requeue", order_id)
    assert (refused.code, refused.out) == (1, "")
    assert "nothing shows that it was verified; escalate it with `orders escalate`" in refused.err
    assert running.pipeline.status(order_id) == "RECEIVED"

    for _ in range(2):  # Repeated at once, it adds a message to the same case.
        assert orders("escalate", order_id, *WHO, "--yes").code == 0
    wait_until(lambda: running.pipeline.status(order_id) == "ESCALATED")
    case = running.pipeline.case(order_id)
    assert case is not None
    assert (case["State"], case["Reasons"], case["Episode"]) == ("OPEN", ["ORDER_STUCK"], 1)
    assert case["Evidence"][0]["Detail"] == "Escalated by ada: its message was deleted by hand"
    again = orders("escalate", order_id, *WHO)
    assert (again.code, again.out.splitlines()[0].startswith("Nothing was changed: ")) == (0, True)

    late = running.pipeline.send_order(order_id)
    running.fulfillment.wait_for("message.acknowledged", message_id=late, outcome="superseded")
    resubmitted = orders(
        "escalations", "resolve", order_id, "resubmit", *WHO, "--card-number-stdin", "--yes", stdin=CARD
    )
    assert resubmitted.code == 0
    wait_until(lambda: running.pipeline.status(order_id) == "FULFILLED")
    wait_until(lambda: fulfilled(running.fulfillment)[order_id] == 1)
    case = running.pipeline.case(order_id)
    assert case is not None
    assert case["State"] == "RESOLVED"
