from tests.support import DeployedStack, StartWorker


def test_long_polls_keep_no_other_call_waiting(stack: DeployedStack, start_worker: StartWorker) -> None:
    """During a long poll of 20 s, escalations are sent and messages deleted: nothing waits for its end."""
    fulfillment = start_worker("fulfillment", env={"WORKER_WAIT_S": "20"})
    fulfillment.wait_for("worker.started")
    sqs = stack.client("sqs")
    for number in range(3):
        sqs.send_message(QueueUrl=stack.order_fulfillment_queue_url, MessageBody=f"polled-{number}")
        line = fulfillment.wait_for("message.acknowledged", order_id=f"polled-{number}")
        assert (line["outcome"], line["duration_ms"] < 15_000) == ("escalated", True)
    fulfillment.kill()
