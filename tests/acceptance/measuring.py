"""Measurements on the deployed pipeline, before its workers start: single calls, receives, trace headers."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from deploy.errors import DeployError
from tests.acceptance.account import Account
from tests.acceptance.plan import Plan

QUEUE = "Measured"
MAX_BATCH = 10
STATEMENTS = 25
RECEIVERS = 8
# SQS shows a new queue everywhere within a second:
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html
NEW_QUEUE_S = 1.0
TRACED_WITHIN_S = 120.0


def calls_ms(account: Account, plan: Plan, order_table: str) -> dict[str, list[float]]:
    """Time single calls, one after the other: of SQS on a queue of its own, of DynamoDB on items of its own."""
    sqs, dynamodb = account.client("sqs"), account.client("dynamodb")
    url = _queue(account, plan)
    timed = _Timed()
    for number in range(plan.probes):
        timed("SendMessage", sqs.send_message, QueueUrl=url, MessageBody=str(number))
        received = timed("ReceiveMessage", sqs.receive_message, QueueUrl=url, WaitTimeSeconds=5)
        for message in received.get("Messages", []):
            timed("DeleteMessage", sqs.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    keys = [{"OrderId": {"S": f"measured-{number}"}} for number in range(plan.probes)]
    for key in keys:
        timed("PutItem", dynamodb.put_item, TableName=order_table, Item=key)
        timed("GetItem", dynamodb.get_item, TableName=order_table, Key=key, ConsistentRead=True)
        update = _update(order_table, key)
        timed("UpdateItem", dynamodb.update_item, **update)
        timed("TransactWriteItems of 2", dynamodb.transact_write_items, TransactItems=_pair(order_table, key))
    statement = f'UPDATE "{order_table}" SET "Measured"=? WHERE "OrderId"=?'
    statements = [
        {"Statement": statement, "Parameters": [{"N": "1"}, key["OrderId"]]} for key in (keys * STATEMENTS)[:STATEMENTS]
    ]
    unique = list({str(entry["Parameters"]): entry for entry in statements}.values())
    for _ in range(plan.probes):
        timed(f"BatchExecuteStatement of {len(unique)}", dynamodb.batch_execute_statement, Statements=unique)
    for key in keys:
        timed("DeleteItem", dynamodb.delete_item, TableName=order_table, Key=key)
        timed("DeleteItem", dynamodb.delete_item, TableName=order_table, Key=_second(key))
    return timed.ms


class _Timed:
    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {}

    def __call__(self, name: str, call: Callable[..., Any], /, **parameters: Any) -> Any:
        began_s = time.perf_counter()
        answer = call(**parameters)
        self.ms.setdefault(name, []).append((time.perf_counter() - began_s) * 1000)
        return answer


def _update(table: str, key: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "TableName": table,
        "Key": key,
        "UpdateExpression": "SET Measured = :one",
        "ConditionExpression": "attribute_exists(OrderId)",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }


def _pair(table: str, key: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"Update": _update(table, key)}, {"Put": {"TableName": table, "Item": _second(key)}}]


def _second(key: Mapping[str, Any]) -> dict[str, Any]:
    return {"OrderId": {"S": f"{key['OrderId']['S']}-2"}}


def receives(account: Account, plan: Plan) -> tuple[dict[int, int], list[float]]:
    """
    Fill a queue, then empty it as a worker under backlog does: several receives at a time, each for ten messages.

    Returns how many receives brought how many messages, and the durations of those that brought some.
    """
    sqs, url = account.client("sqs"), _queue(account, plan)
    for first in range(0, plan.backlog, MAX_BATCH):
        bodies = [str(number) for number in range(first, min(first + MAX_BATCH, plan.backlog))]
        entries = [{"Id": body, "MessageBody": body} for body in bodies]
        failed = sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
        if failed:
            raise DeployError(f"SQS refused {len(failed)} messages: {failed[0]['Code']}")
    with ThreadPoolExecutor(RECEIVERS, "receives") as pool:
        seen = [
            received
            for emptied in pool.map(lambda _: list(_emptied(sqs, url)), range(RECEIVERS))
            for received in emptied
        ]
    sizes = Counter(size for size, _ in seen)
    return dict(sorted(sizes.items())), [ms for size, ms in seen if size]


def _emptied(sqs: Any, url: str) -> Iterator[tuple[int, float]]:
    """Receive and delete until a receive brings nothing; yield the size and the duration of each."""
    size = 1
    while size:
        began_s = time.perf_counter()
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=MAX_BATCH, WaitTimeSeconds=1)
        messages = answer.get("Messages", [])
        size = len(messages)
        yield size, (time.perf_counter() - began_s) * 1000
        entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
        if entries:
            sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def _queue(account: Account, plan: Plan) -> str:
    url = account.client("sqs").create_queue(QueueName=f"{plan.prefix}{QUEUE}", Attributes={"VisibilityTimeout": "120"})
    if not account.is_local:
        time.sleep(NEW_QUEUE_S)
    return str(url["QueueUrl"])


def trace_header(account: Account, queue_url: str) -> str:
    """Wait for a message of the workflow; say whether it has a trace header. The message goes back to the queue."""
    sqs = account.client("sqs")
    deadline_s = time.monotonic() + TRACED_WITHIN_S
    messages: list[dict[str, Any]] = []
    while not messages:
        if time.monotonic() > deadline_s:
            raise DeployError(f"The workflow sent no message to {queue_url} within {TRACED_WITHIN_S:.0f} s")
        messages = sqs.receive_message(
            QueueUrl=queue_url, WaitTimeSeconds=5, MessageSystemAttributeNames=["AWSTraceHeader"]
        ).get("Messages", [])
    for message in messages:
        sqs.change_message_visibility(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return described(messages[0].get("Attributes", {}).get("AWSTraceHeader"))


def described(header: str | None) -> str:
    """Describe a trace header, without its ids: `Root=1-...;Parent=...;Sampled=1`."""
    if not header:
        return "no trace header"
    fields = [field.partition("=") for field in header.split(";")]
    shown = [f"{name}={value if name == 'Sampled' else '...'}" for name, _, value in fields if name]
    return f"yes: {';'.join(shown)}"
