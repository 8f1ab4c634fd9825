"""The fault proxy injects the faults that it claims to inject."""

import contextlib
import json
import math
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from botocore.session import Session

from tests.chaos.conditions import Conditions, Latency
from tests.chaos.proxy import DELETE, EXTEND, NOTIFY, RECEIVE, Fault, FaultProxy, Rule, every_kind
from tests.chaos.traps import Exchange, Fate, Notification, Step, Trap, wait_for_answer
from tests.support import DeployedStack, DeployStack

CONNECTION_LOST = (ConnectionClosedError, EndpointConnectionError)


@pytest.fixture(scope="module")
def own_stack(deploy_stack: DeployStack) -> DeployedStack:
    return deploy_stack("chaos-proxy-")


@pytest.fixture
def proxy(own_stack: DeployedStack) -> Iterator[FaultProxy]:
    with FaultProxy(own_stack.local_aws.endpoint, seed=1) as proxy:
        yield proxy


@pytest.fixture
def url(own_stack: DeployedStack) -> str:
    """An empty queue."""
    url = own_stack.order_fulfillment_queue_url
    own_stack.client("sqs").purge_queue(QueueUrl=url)
    return url


@pytest.fixture
def sqs(proxy: FaultProxy) -> Any:
    return _client("sqs", proxy)


def _client(service: str, proxy: FaultProxy) -> Any:
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
    return Session().create_client(
        service,
        "us-east-1",
        endpoint_url=proxy.url,
        config=config,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def _visible(stack: DeployedStack, url: str) -> int:
    return _count(stack, url)[0]


def _count(stack: DeployedStack, url: str) -> list[int]:
    """Return the numbers of visible and invisible messages."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return [int(answer["Attributes"][name]) for name in names]


def _receive(sqs: Any, url: str, limit: int = 10, *, wait_s: int = 0) -> list[dict[str, Any]]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=limit,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def _entries(messages: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    return [{"Id": str(i), "ReceiptHandle": message["ReceiptHandle"], **more} for i, message in enumerate(messages)]


def test_without_rules_requests_are_forwarded_and_recorded(proxy: FaultProxy, sqs: Any, url: str) -> None:
    sent = sqs.send_message(QueueUrl=url, MessageBody="001")["MessageId"]
    _receive(sqs, url)
    assert [(request.action, request.fault) for request in proxy.requests] == [("SendMessage", None), (RECEIVE, None)]
    assert [(delivery.message_id, delivery.receive_count, delivery.body) for delivery in proxy.deliveries] == [
        (sent, 1, "001")
    ]


@pytest.mark.parametrize("service", ["sqs", "dynamodb"])
@pytest.mark.parametrize(
    ("fault", "codes"),
    [
        (Fault.ERROR, {"InternalError", "InternalServerError", "ServiceUnavailable"}),
        (
            Fault.THROTTLED,
            {
                "RequestThrottled",
                "ThrottlingException",
                "ProvisionedThroughputExceededException",
                "RequestLimitExceeded",
            },
        ),
        (Fault.EXPIRED, {"ExpiredTokenException"}),
    ],
)
def test_injected_errors_have_the_form_of_aws(proxy: FaultProxy, service: str, fault: Fault, codes: set[str]) -> None:
    proxy.inject(Rule(fault))
    client = _client(service, proxy)
    with pytest.raises(ClientError) as raised:
        client.list_queues() if service == "sqs" else client.list_tables()
    assert raised.value.response["Error"]["Code"] in codes


def test_a_reset_request_is_not_applied(own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str) -> None:
    proxy.inject(Rule(Fault.RESET, actions={"SendMessage"}))
    with pytest.raises(CONNECTION_LOST):
        sqs.send_message(QueueUrl=url, MessageBody="001")
    assert _visible(own_stack, url) == 0


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.HALF_ANSWER])
def test_a_request_whose_answer_is_lost_was_applied(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str, fault: Fault
) -> None:
    proxy.inject(Rule(fault))
    with pytest.raises((*CONNECTION_LOST, Exception)) as raised:
        sqs.send_message(QueueUrl=url, MessageBody="001")
    assert "onnection" in str(raised.value)
    assert _visible(own_stack, url) == 1


def test_a_garbled_answer_arrives_without_content(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str
) -> None:
    proxy.inject(Rule(Fault.GARBLED))
    assert "MessageId" not in sqs.send_message(QueueUrl=url, MessageBody="001")
    assert _visible(own_stack, url) == 1


def test_a_late_answer_arrives(proxy: FaultProxy, sqs: Any, url: str) -> None:
    proxy.inject(Rule(Fault.LATENCY, delay_s=0.4))
    started_s = time.monotonic()
    for _ in range(5):
        sqs.get_queue_attributes(QueueUrl=url)
    assert time.monotonic() - started_s > 0.4


def test_failed_entries_of_a_batch_are_not_applied(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str
) -> None:
    for number in range(8):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    messages = _receive(sqs, url)
    proxy.inject(Rule(Fault.FAILED_ENTRIES))
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=_entries(messages))
    failed = answer["Failed"]
    assert failed
    assert {entry["Code"] for entry in failed} == {"InternalError"}
    assert len(failed) + len(answer["Successful"]) == 8
    proxy.inject(Rule(Fault.LOST_RECEIPTS))
    kept = [messages[int(entry["Id"])] for entry in failed]
    refused = sqs.change_message_visibility_batch(QueueUrl=url, Entries=_entries(kept, VisibilityTimeout=0))["Failed"]
    assert {entry["Code"] for entry in refused} == {"ReceiptHandleIsInvalid"}
    assert _visible(own_stack, url) == len(kept) - len(refused)


def test_a_second_delete_succeeds_as_it_does_on_aws(proxy: FaultProxy, sqs: Any, url: str) -> None:
    sqs.send_message(QueueUrl=url, MessageBody="001")
    entries = _entries(_receive(sqs, url))
    proxy.inject(Rule(Fault.LOST_ANSWER, actions={DELETE}))
    with pytest.raises(CONNECTION_LOST):
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    proxy.clear()
    assert not sqs.delete_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def test_a_duplicate_is_in_the_same_receive_and_in_a_later_one(proxy: FaultProxy, sqs: Any, url: str) -> None:
    sent = sqs.send_message(QueueUrl=url, MessageBody="001")["MessageId"]
    proxy.inject(Rule(Fault.DUPLICATED))
    assert [message["MessageId"] for message in _receive(sqs, url)] == [sent, sent]
    assert [message["MessageId"] for message in _receive(sqs, url, limit=1)] == [sent]
    assert _receive(sqs, url, limit=1) == []


def test_short_receives_bring_between_one_message_and_as_many_as_asked_for(
    proxy: FaultProxy, sqs: Any, url: str
) -> None:
    for number in range(60):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    proxy.conditions = Conditions(short_receives=True)
    sizes = [len(_receive(sqs, url, limit=5)) for _ in range(12)]
    assert min(sizes) >= 1
    assert max(sizes) <= 5
    assert len(set(sizes)) > 2


def test_latencies_are_log_normal_around_their_medians(proxy: FaultProxy, sqs: Any, url: str) -> None:
    latency, rng = Latency(), random.Random(5)

    for action, of_sqs, median_s in [
        (RECEIVE, True, 0.015),
        (DELETE, True, 0.012),
        ("GetItem", False, 0.005),
        ("TransactWriteItems", False, 0.015),
    ]:
        drawn = [latency.draw_s(action, rng, sqs=of_sqs) for _ in range(2000)]
        assert statistics.median(drawn) == pytest.approx(median_s, rel=0.1)
        assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.35, rel=0.1)
    proxy.conditions = Conditions(latency=Latency(sqs_s=0.3, sigma=0))
    started_s = time.monotonic()
    sqs.get_queue_attributes(QueueUrl=url)
    assert time.monotonic() - started_s > 0.3


def test_a_repeated_message_comes_again_while_its_visibility_timeout_runs(
    proxy: FaultProxy, sqs: Any, url: str
) -> None:
    sent = sqs.send_message(QueueUrl=url, MessageBody="001")["MessageId"]
    proxy.conditions = Conditions(repeated=1.0, max_repeats=2)
    received = [message["MessageId"] for _ in range(3) for message in _receive(sqs, url, wait_s=2)]
    assert received == [sent] * 3
    assert _receive(sqs, url) == []
    assert [delivery.sender for delivery in proxy.deliveries] == ["local"] * 3


def test_a_delete_with_an_old_receipt_works_is_ignored_or_is_refused(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str
) -> None:
    for number in range(30):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    proxy.conditions = Conditions(repeated=1.0, max_repeats=1, old_deletes=True)
    old, newest = dict[str, Any](), dict[str, Any]()
    while len(newest) < 30:
        for message in _receive(sqs, url, wait_s=2):
            (newest if message["MessageId"] in old else old)[message["MessageId"]] = message
    accepted = 0
    for message in old.values():
        accepted += len(sqs.delete_message_batch(QueueUrl=url, Entries=_entries([message])).get("Successful", []))
    left = sum(_count(own_stack, url))
    assert 0 < 30 - left < accepted < 30
    for message in newest.values():
        assert not sqs.delete_message_batch(QueueUrl=url, Entries=_entries([message])).get("Failed")
    assert sum(_count(own_stack, url)) == 0


def test_a_conflict_cancels_a_transaction_because_of_some_of_its_items(
    own_stack: DeployedStack, proxy: FaultProxy
) -> None:
    dynamodb = _client("dynamodb", proxy)
    puts = [_put(own_stack, f"conflict-{number}") for number in range(10)]
    proxy.inject(Rule(Fault.CONFLICT))
    with pytest.raises(ClientError) as raised:
        dynamodb.transact_write_items(TransactItems=puts)
    codes = [reason["Code"] for reason in raised.value.response["CancellationReasons"]]
    assert raised.value.response["Error"]["Code"] == "TransactionCanceledException"
    assert len(codes) == 10
    assert set(codes) == {"TransactionConflict", "None"}
    proxy.clear()
    assert "Item" not in dynamodb.get_item(TableName=own_stack.order_table, Key={"OrderId": {"S": "conflict-0"}})


def test_unprocessed_keys_are_not_in_the_response(own_stack: DeployedStack, proxy: FaultProxy) -> None:
    dynamodb = _client("dynamodb", proxy)
    dynamodb.transact_write_items(TransactItems=[_put(own_stack, f"read-{number}") for number in range(10)])
    keys = [{"OrderId": {"S": f"read-{number}"}} for number in range(10)]
    asked = {own_stack.order_table: {"Keys": keys}, own_stack.escalation_table: {"Keys": [{"CaseId": {"S": "none"}}]}}
    proxy.inject(Rule(Fault.UNPROCESSED))
    answer = dynamodb.batch_get_item(RequestItems=asked)
    assert answer["Responses"].keys() == asked.keys()
    unread = [key for table in answer["UnprocessedKeys"].values() for key in table["Keys"]]
    read = [{"OrderId": item["OrderId"]} for item in answer["Responses"][own_stack.order_table]]
    assert 1 <= len(unread) <= 10
    assert not [key for key in read if key in unread]
    assert [key for key in keys if key in [*read, *unread]] == keys
    with pytest.raises(ClientError):
        dynamodb.batch_get_item(RequestItems={own_stack.order_table: {"Keys": keys[:1]}})


def _put(stack: DeployedStack, order_id: str) -> dict[str, Any]:
    return {"Put": {"TableName": stack.order_table, "Item": {"OrderId": {"S": order_id}}}}


@pytest.mark.parametrize(
    ("step", "fate", "applied", "answered"),
    [
        (Step.ARRIVED, Fate.CUT, False, False),
        (Step.APPLIED, Fate.CUT, True, False),
        (Step.ANSWERED, Fate.GOES_ON, True, True),
    ],
)
def test_a_trap_catches_a_request_at_its_step(
    own_stack: DeployedStack,
    proxy: FaultProxy,
    sqs: Any,
    url: str,
    *,
    step: Step,
    fate: Fate,
    applied: bool,
    answered: bool,
) -> None:
    caught = list[str]()

    def catch(exchange: Exchange) -> Fate:
        caught.append(f"{exchange.sender} {exchange.action}")
        return fate

    trap = proxy.set_trap(Trap(step, {"SendMessage"}, catch, skip=1))
    sqs.send_message(QueueUrl=url, MessageBody="not caught")
    assert caught == []
    with contextlib.nullcontext() if answered else pytest.raises(CONNECTION_LOST):
        sqs.send_message(QueueUrl=url, MessageBody="caught")
    trap.wait()  # A request whose answer was sent is caught after its client goes on.
    assert caught == ["local SendMessage"]
    assert _visible(own_stack, url) == (2 if applied else 1)
    sqs.send_message(QueueUrl=url, MessageBody="not caught")


def test_a_held_request_is_applied_when_its_trap_is_opened(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str
) -> None:
    trap = proxy.set_trap(Trap(Step.ARRIVED, {"SendMessage"}, lambda _: Fate.HELD))
    sender = threading.Thread(target=sqs.send_message, kwargs={"QueueUrl": url, "MessageBody": "001"})
    sender.start()
    trap.wait()
    assert _visible(own_stack, url) == 0
    proxy.open_trap(trap)
    assert wait_for_answer(trap.caught[0]) == 200
    sender.join()
    assert _visible(own_stack, url) == 1


def test_the_messages_of_a_killed_worker_become_visible_again(
    own_stack: DeployedStack, proxy: FaultProxy, sqs: Any, url: str
) -> None:
    for number in range(4):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    sqs.delete_message_batch(QueueUrl=url, Entries=_entries(_receive(sqs, url, limit=2)))
    _receive(sqs, url)
    assert _count(own_stack, url) == [0, 2]
    proxy.end_visibility("local")
    assert _count(own_stack, url) == [2, 0]


def test_the_webhook_accepts_notifications(proxy: FaultProxy) -> None:
    body = json.dumps({"NotificationId": "001#1#webhook", "CaseId": "001"}).encode()
    for _ in range(2):
        with urllib.request.urlopen(proxy.webhook_url("escalation-1"), body) as answer:
            assert answer.status == 200
        proxy.inject(Rule(Fault.LATENCY, actions={NOTIFY}, delay_s=0))
    assert proxy.notifications == [Notification("001#1#webhook", "001", "escalation-1")] * 2
    assert proxy.faults() == {"latency": 1}


def test_after_an_outage_the_port_is_the_same(proxy: FaultProxy, sqs: Any, url: str) -> None:
    before = proxy.url
    proxy.go_down()
    with pytest.raises(EndpointConnectionError):
        sqs.get_queue_attributes(QueueUrl=url)
    proxy.come_back()
    assert proxy.url == before
    sqs.get_queue_attributes(QueueUrl=url)


def test_the_same_seed_draws_the_same_faults_at_the_given_rates(own_stack: DeployedStack) -> None:
    def drawn() -> str:
        with FaultProxy(own_stack.local_aws.endpoint, seed=3) as proxy:
            proxy.inject(*every_kind(0.1))
            return json.dumps([proxy._draw(EXTEND) for _ in range(1000)])

    assert drawn() == drawn()
    assert 350 < drawn().count("null") < 600  # 0.9 ** 8 of them get no fault.
