import json
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import EXECUTION, STATE_MACHINE, FakeClient, FakeSession, fake_stack, refused
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

POLICY = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ", "maxReceiveCount": 11})


def sqs(*existing: str, **attributes: str) -> FakeClient:
    def get_queue_url(**request: Any) -> dict[str, str]:
        if request["QueueName"] not in existing:
            raise refused("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl")
        return {"QueueUrl": f"http://sqs/{request['QueueName']}"}

    return FakeClient(
        get_queue_url=get_queue_url,
        get_queue_attributes=lambda **_: {"Attributes": attributes},
        list_dead_letter_source_queues=lambda **_: {"queueUrls": []},
    )


def shared(*sources: str, **attributes: str) -> FakeClient:
    """Return an SQS with the dead-letter queue `DLQ` of the queues *sources*, and its other *attributes*."""
    client = sqs("DLQ", *sources)

    def get_queue_attributes(QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        return {"Attributes": attributes if QueueUrl.endswith("/DLQ") else {"RedrivePolicy": POLICY}}

    client.operations |= {
        "get_queue_attributes": get_queue_attributes,
        "list_dead_letter_source_queues": lambda **_: {"queueUrls": [f"http://sqs/{source}" for source in sources]},
    }
    return client


async def test_a_dead_letter_queue_stands_for_the_only_queue_it_belongs_to() -> None:
    queue = await fake_stack(sqs=shared("Returns")).queue("DLQ")
    assert (queue.name, queue.dead_letter_queue, queue.worker) == ("Returns", "DLQ", None)
    arn = "arn:aws:sqs:us-east-1:000000000000:Refunds"
    allowed = json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [arn]})
    client = shared("Refunds", "Returns", RedriveAllowPolicy=allowed)
    assert (await fake_stack(sqs=client).queue("DLQ")).name == "Refunds"
    assert "list_dead_letter_source_queues" not in [operation for operation, _ in client.requests]


async def test_a_dead_letter_queue_of_several_queues_is_refused_with_their_names() -> None:
    with pytest.raises(OperationError) as raised:
        await fake_stack(sqs=shared("Returns", "Refunds")).queue("DLQ")
    assert str(raised.value) == "DLQ is the dead-letter queue of several queues, name one of them: Refunds, Returns"


def without_the_call(code: str, *queues: str) -> FakeClient:
    """Return an SQS with these queues that refuses `ListDeadLetterSourceQueues`. `Deleted` is only listed."""

    def refuse(**_: Any) -> None:
        raise refused(code, "ListDeadLetterSourceQueues", 400)

    def get_queue_attributes(QueueUrl: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        name = QueueUrl.rpartition("/")[2]
        if name == "Deleted":
            raise refused("AWS.SimpleQueueService.NonExistentQueue", "GetQueueAttributes")
        redrive = {"RedrivePolicy": POLICY.replace("DLQ", f"{name[0]}DLQ")} if "DLQ" not in name else {}
        return {"Attributes": {"QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{name}"} | redrive}

    client = sqs(*queues)
    client.operations |= {
        "get_queue_attributes": get_queue_attributes,
        "list_dead_letter_source_queues": refuse,
        "list_queues": lambda **_: {"QueueUrls": [f"http://sqs/{name}" for name in ("Deleted", *queues)]},
    }
    return client


async def test_an_endpoint_that_does_not_know_the_call_is_asked_for_each_queue() -> None:
    client = without_the_call("InvalidAction", "Orders", "ODLQ", "Returns", "Refunds", "RDLQ", "UnusedDLQ")
    assert (await fake_stack(sqs=client).queue("ODLQ")).name == "Orders"
    with pytest.raises(OperationError, match=r"of several queues, name one of them: Refunds, Returns$"):
        await fake_stack(sqs=client).queue("RDLQ")
    with pytest.raises(OperationError, match=r"^queue UnusedDLQ has no dead-letter queue \(RedrivePolicy\)$"):
        await fake_stack(sqs=client).queue("UnusedDLQ")


async def test_an_endpoint_that_denies_the_call_is_asked_no_more() -> None:
    client = without_the_call("AccessDenied", "Orders", "ODLQ")
    with pytest.raises(ClientError, match="AccessDenied"):
        await fake_stack(sqs=client).queue("ODLQ")
    assert "list_queues" not in [operation for operation, _ in client.requests]


async def test_a_queue_that_may_not_be_looked_at_is_not_taken_for_a_deleted_one() -> None:
    client = without_the_call("InvalidAction", "Orders", "ODLQ")
    attributes = client.operations["get_queue_attributes"]

    def get_queue_attributes(QueueUrl: str, **_: Any) -> Any:  # noqa: N803 - boto3's name.
        if QueueUrl.endswith("/Orders"):
            raise refused("AccessDenied", "GetQueueAttributes")
        return attributes(QueueUrl=QueueUrl)

    client.operations["get_queue_attributes"] = get_queue_attributes
    with pytest.raises(ClientError, match="AccessDenied"):
        await fake_stack(sqs=client).queue("ODLQ")


@pytest.mark.parametrize(
    ("given", "worker"),
    [
        ("OrderFulfillmentQueue", "fulfillment"),
        ("http://localhost:4566/000000000000/EscalationQueue", "escalation"),
        ("Orders", None),
    ],
)
async def test_a_queue_of_ours_is_known_however_it_is_named(given: str, worker: str | None) -> None:
    client = sqs("OrderFulfillmentQueue", "EscalationQueue", "Orders", "DLQ", RedrivePolicy=POLICY)
    assert (await fake_stack(sqs=client).queue(given)).worker == worker


async def test_an_arn_of_the_state_machine_needs_no_call() -> None:
    stack = fake_stack()
    assert await stack.state_machine_arn() == STATE_MACHINE
    assert await stack.execution_arn("one") == f"{EXECUTION}:one"


async def test_a_name_of_the_state_machine_is_completed_once_by_the_credentials() -> None:
    sts = FakeClient(get_caller_identity=lambda: {"Arn": "arn:aws-cn:sts::123456789012:assumed-role/ops/ada"})
    stack = fake_stack("Orders", sts=sts)
    assert await stack.state_machine_arn() == "arn:aws-cn:states:us-east-1:123456789012:stateMachine:Orders"
    await stack.execution_arn("one")
    assert len(sts.requests) == 1


async def test_a_queue_is_found_with_its_dead_letter_queue() -> None:
    queue = await fake_stack(sqs=sqs("Orders", "DLQ", RedrivePolicy=POLICY)).queue("Orders")
    assert (queue.name, queue.url) == ("Orders", "http://sqs/Orders")
    assert (queue.dead_letter_queue, queue.dead_letter_url) == ("DLQ", "http://sqs/DLQ")
    assert queue.attributes == {"RedrivePolicy": POLICY}


@pytest.mark.parametrize(
    "given", ["arn:aws:sqs:us-east-1:111122223333:Orders", "http://localhost:1/111122223333/Orders"]
)
async def test_a_queue_in_another_account_is_found_there_with_its_dead_letter_queue(given: str) -> None:
    client = sqs("Orders", "DLQ", RedrivePolicy=POLICY)
    queue = await fake_stack(sqs=client).queue(given)
    assert (queue.name, queue.account, queue.dead_letter_queue) == ("Orders", "111122223333", "DLQ")
    assert [request for operation, request in client.requests if operation == "get_queue_url"] == [
        {"QueueName": name, "QueueOwnerAWSAccountId": "111122223333"} for name in ("Orders", "DLQ")
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            "arn:aws:sqs:eu-west-1:111122223333:Orders",
            (
                "the queue arn:aws:sqs:eu-west-1:111122223333:Orders is in eu-west-1, must be in the region of "
                "the calls, us-east-1: correct AWS_REGION or the variable that names the queue"
            ),
        ),
        (
            "arn:aws:sqs:us-east-1:111122223333:Mine",
            (
                "there is no queue Mine in account 111122223333, or its policy denies access: must be fulfillment, "
                "escalation, or an existing queue"
            ),
        ),
        ("Orders", "queue Orders has the dead-letter queue arn:aws:sqs:us-east-1:1:D.fifo, must be a standard queue"),
    ],
)
async def test_a_queue_that_cannot_be_used_is_explained(given: str, problem: str) -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:D.fifo"})
    with pytest.raises(OperationError) as raised:
        await fake_stack(sqs=sqs("Orders", RedrivePolicy=policy)).queue(given)
    assert str(raised.value) == problem


async def test_all_attributes_of_a_queue_are_read() -> None:
    client = sqs(DelaySeconds="0")
    assert await fake_stack(sqs=client).attributes("http://sqs/Orders") == {"DelaySeconds": "0"}
    request = {"QueueUrl": "http://sqs/Orders", "AttributeNames": ["All"]}
    assert client.requests == [("get_queue_attributes", request)]


async def test_a_queue_that_may_not_be_looked_up_is_not_taken_for_a_missing_one() -> None:
    def get_queue_url(**_: Any) -> None:
        raise refused("AccessDenied", "GetQueueUrl")

    with pytest.raises(ClientError, match="AccessDenied"):
        await fake_stack(sqs=FakeClient(get_queue_url=get_queue_url)).queue("Orders")


def test_ages_are_asked_for_once_and_with_short_timeouts() -> None:
    session = FakeSession({"cloudwatch": FakeClient()})
    assert Stack({}, session=session).cloudwatch
    assert session.config["cloudwatch"] == {
        "connect_timeout": 2,
        "read_timeout": 5,
        "retries": {"mode": "standard", "total_max_attempts": 1},
    }


async def test_without_a_session_clients_come_from_the_environment() -> None:
    stack = Stack({"AWS_REGION": "eu-central-1", "ORDER_TABLE": "mine"})
    assert (await stack.region(), stack.names.order_table) == ("eu-central-1", "mine")
    assert stack.now().tzinfo is UTC


@pytest.mark.parametrize(
    ("client", "problem"),
    [
        (
            sqs("DLQ", RedrivePolicy=POLICY),
            "there is no queue Orders: must be fulfillment, escalation, or an existing queue",
        ),
        (sqs("Orders", RedrivePolicy=POLICY), "there is no queue DLQ: the RedrivePolicy of Orders names it"),
        (sqs("Orders", "DLQ"), "queue Orders has no dead-letter queue (RedrivePolicy)"),
    ],
)
async def test_a_missing_queue_is_named(client: FakeClient, problem: str) -> None:
    with pytest.raises(OperationError) as raised:
        await fake_stack(sqs=client).queue("Orders")
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("OrderTable", "there is no table OrderTable: deploy the stack, or correct ORDER_TABLE"),
        ("EscalationTable", "there is no table EscalationTable: deploy the stack, or correct ESCALATION_TABLE"),
        (None, "there is no table OrderTable or no table EscalationTable"),
    ],
)
async def test_a_missing_table_is_named(missing: str | None, line: str) -> None:
    def describe_table(**request: Any) -> dict[str, Any]:
        if request["TableName"] == missing:
            raise refused("ResourceNotFoundException", "DescribeTable")
        return {}

    stack = fake_stack(dynamodb=FakeClient(describe_table=describe_table))
    assert await stack.missing_table() == line


async def test_without_permission_to_look_both_tables_may_be_missing() -> None:
    def describe_table(**request: Any) -> None:
        missing = request["TableName"] == "EscalationTable"
        raise refused("ResourceNotFoundException" if missing else "AccessDeniedException", "DescribeTable")

    stack = fake_stack(dynamodb=FakeClient(describe_table=describe_table))
    assert await stack.missing_table() == "there is no table OrderTable or no table EscalationTable"


async def test_an_internal_error_is_not_taken_for_a_missing_table() -> None:
    def describe_table(**_: Any) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await fake_stack(dynamodb=FakeClient(describe_table=describe_table)).missing_table()


def test_each_service_has_its_client() -> None:
    names = ("dynamodb", "sqs", "stepfunctions", "cloudwatch", "logs", "s3", "ecs")
    clients = {name: FakeClient() for name in names}
    stack = fake_stack(STATE_MACHINE, **clients)
    assert [getattr(stack, name) for name in names] == [clients[name] for name in names]


@pytest.mark.parametrize(("account", "own"), [(None, True), ("123456789012", True), ("210987654321", False)])
async def test_a_queue_of_another_account_is_told_from_ones_own(account: str | None, own: bool) -> None:
    sts = FakeClient(get_caller_identity=lambda: {"Arn": "arn:aws:sts::123456789012:assumed-role/ops/ada"})
    queue: Any = SimpleNamespace(account=account)
    assert await fake_stack(sts=sts).owns(queue) is own


async def test_a_missing_queue_of_ours_says_what_names_it() -> None:
    with pytest.raises(OperationError) as raised:
        await fake_stack(sqs=sqs()).queue("EscalationQueue")
    assert str(raised.value) == (
        "there is no queue EscalationQueue: deploy the stack, or correct the variable that names it"
    )


async def test_the_endpoints_are_those_of_the_services_that_commands_change() -> None:
    class Named(FakeClient):
        def __init__(self, name: str) -> None:
            super().__init__()
            self._name = name

        async def endpoint(self) -> str:
            return f"https://{self._name}"

    names = ("dynamodb", "sqs", "stepfunctions", "s3")
    session = FakeSession({name: Named(name) for name in names})
    assert await Stack({}, session=session).endpoints() == [f"https://{name}" for name in names]
