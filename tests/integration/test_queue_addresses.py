"""Queues that are named by ARN, also in another account, and by URL: workers and `orders` find them."""

import json

import boto3

from tests.integration.command_line import CommandLine
from tests.support import DeployedStack, StartWorker
from workers.queue_address import QUEUE
from workers.testing.sdk import REGION

OTHER_ACCOUNT = "111122223333"


def test_a_queue_in_another_account_and_a_url_with_another_host_work_everywhere(
    stack: DeployedStack, start_worker: StartWorker
) -> None:
    other = boto3.client(  # The local AWS takes the id of a key for the account.
        "sqs",
        endpoint_url=stack.local_aws.endpoint,
        region_name=REGION,
        aws_access_key_id=OTHER_ACCOUNT,
        aws_secret_access_key="x",
    )
    arn = f"arn:aws:sqs:{REGION}:{OTHER_ACCOUNT}:elsewhere"
    other.create_queue(QueueName="elsewhere-DLQ")
    redrive = json.dumps({"deadLetterTargetArn": f"{arn}-DLQ", "maxReceiveCount": 100})
    url = other.create_queue(QueueName="elsewhere", Attributes={"RedrivePolicy": redrive})["QueueUrl"]
    escalations = "/".join(["http://another-host:1", *stack.escalation_queue_url.split("/")[-2:]])
    named = {"ORDER_FULFILLMENT_QUEUE": arn, "ESCALATION_QUEUE": escalations}

    fulfillment, escalation = (start_worker(name, env=named) for name in ("fulfillment", "escalation"))
    for body in ("elsewhere-1", "{}"):
        other.send_message(QueueUrl=url, MessageBody=body)
    escalated = fulfillment.wait_for("message.acknowledged", order_id="elsewhere-1", outcome="escalated")
    dead_lettered = fulfillment.wait_for("message.dead_lettered")
    assert [line["queue"] for line in (escalated, dead_lettered)] == ["elsewhere", "elsewhere"]
    routed = escalation.wait_for("escalation.routed", order_id="elsewhere-1")
    assert routed["queue"] == stack.outputs["EscalationQueueName"]
    assert [worker.stop() for worker in (fulfillment, escalation)] == [0, 0]

    orders = CommandLine(stack)
    queues = json.loads(orders("queues", "--json", **named).out)
    assert next((queue["queue"], queue["dead_letters"]) for queue in queues) == ("elsewhere", 1)
    assert queues[1]["queue"] == stack.outputs["EscalationQueueName"]
    (letter,) = json.loads(orders("dead-letters", "list", "fulfillment", "--json", **named).out)
    assert letter["queue"] == "elsewhere-DLQ"
    replayed = orders("dead-letters", "replay", "fulfillment", "--yes", **named)
    assert replayed.code == 0, replayed.err
    assert (
        other.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"]
        == "1"
    )

    refused = orders("queues", ESCALATION_QUEUE="Escalations.fifo")
    assert refused.code == 1
    assert refused.err == f"orders: ESCALATION_QUEUE is 'Escalations.fifo', must be {QUEUE}\n"
