"""Queues: missing ones, their attributes, and redrive to a dead-letter queue."""

import json

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.queues import SQS_API, SQS_GUIDE, arn_of, receive_one, redrive, send, text

fact = facts_of("sqs")

_DEAD_LETTERS = SQS_GUIDE + "sqs-dead-letter-queues.html"
_GONE = "AWS.SimpleQueueService.NonExistentQueue 400"


@fact(
    "A missing queue is AWS.SimpleQueueService.NonExistentQueue with status 400: by its name, and for each call.",
    source=SQS_API + "API_GetQueueUrl.html",
    relied_on_by=("workers/aws/errors.py::_QUEUE_GONE", "workers/aws/sqs.py::queue_url"),
    expected=[_GONE] * 4,
)
def a_missing_queue_has_one_code(lab: Lab) -> object:
    sqs, name = lab.sqs, lab.name()
    url = lab.queue()[: -len(name)] + name  # Like that of a queue of this account, but of none that there is.
    entries = [{"Id": "0", "ReceiptHandle": "x"}]
    return [
        error_of(sqs.get_queue_url, QueueName=name, status=True),
        error_of(sqs.send_message, QueueUrl=url, MessageBody="x", status=True),
        error_of(sqs.receive_message, QueueUrl=url, status=True),
        error_of(sqs.delete_message_batch, QueueUrl=url, Entries=entries, status=True),
    ]


@fact(
    "A queue is found by its name and the id of its account; the code for a missing one is the same.",
    source=SQS_API + "API_GetQueueUrl.html",
    relied_on_by=("workers/queue_address.py::QueueOwnerAWSAccountId",),
    expected=["found", _GONE],
)
def a_queue_is_found_in_its_account(lab: Lab) -> object:
    url, sqs = lab.queue(), lab.sqs
    *_, account, name = arn_of(lab, url).split(":")
    found = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
    missing = error_of(sqs.get_queue_url, QueueName=lab.name(), QueueOwnerAWSAccountId=account, status=True)
    return ["found" if found == url else "another", missing]


@fact(
    "The SDK raises `exceptions.QueueDoesNotExist` for a missing queue.",
    source=SQS_API + "API_GetQueueUrl.html",
    relied_on_by=("deploy/stacks/contents.py::QueueDoesNotExist",),
    expected="QueueDoesNotExist",
)
def a_missing_queue_has_an_exception_of_its_own(lab: Lab) -> object:
    try:
        lab.sqs.get_queue_url(QueueName=lab.name())
    except lab.sqs.exceptions.QueueDoesNotExist as error:
        return type(error).__name__
    return "found"


@fact(
    "RedrivePolicy comes as a JSON text with deadLetterTargetArn and maxReceiveCount.",
    source=SQS_API + "API_GetQueueAttributes.html",
    relied_on_by=("workers/aws/sqs.py::describe_queue", "workers/operations/stack.py::RedrivePolicy"),
    expected=["deadLetterTargetArn", "maxReceiveCount", 20],
)
def a_redrive_policy_is_json(lab: Lab) -> object:
    url = lab.queue(RedrivePolicy=redrive(lab, lab.queue(), 20))
    attributes = lab.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
    policy = json.loads(attributes["Attributes"]["RedrivePolicy"])
    return [*sorted(policy), int(policy["maxReceiveCount"])]


@fact(
    "A tag of a queue may have any value of 256 letters, digits, spaces and _ . : / = + - @, as it was set. It is gone "
    "once it was removed, and to remove it again is no error. Other tags stay.",
    source=SQS_GUIDE + "sqs-queue-tags.html",
    relied_on_by=("workers/aws/pauses.py::MAX_VALUE_CHARS", "workers/operations/pauses.py::untag_queue"),
    expected=[True, ["other"]],
)
def a_queue_keeps_a_tag(lab: Lab) -> object:
    url, value = lab.queue(), "2026-11-26T21:08:18Z/ada/_ .:=C3+-@".ljust(256, "x")
    lab.sqs.tag_queue(QueueUrl=url, Tags={"other": "x"})
    lab.sqs.tag_queue(QueueUrl=url, Tags={"workers:paused": value})
    kept = lab.sqs.list_queue_tags(QueueUrl=url)["Tags"]
    for _ in range(2):
        lab.sqs.untag_queue(QueueUrl=url, TagKeys=["workers:paused"])
    return [kept == {"other": "x", "workers:paused": value}, [*lab.sqs.list_queue_tags(QueueUrl=url)["Tags"]]]


@fact(
    "A message that was received `maxReceiveCount` times goes to the dead-letter queue at the next receive, with its "
    "id, body and attributes.",
    source=_DEAD_LETTERS,
    relied_on_by=("deploy/pipeline.yaml::RedrivePolicy", "workers/operations/dead_letters.py::DeadLetter"),
    expected=["received", "received", "not received", "dead letter: same id, body and attributes"],
)
def redrive_follows_the_last_receive(lab: Lab) -> object:
    dead_letters = lab.queue()
    url = lab.queue(VisibilityTimeout="0", RedrivePolicy=redrive(lab, dead_letters, 2))
    sent = send(lab, url, MessageAttributes={"Attribute": text("x")})
    received = [_received(lab, url) for _ in range(3)]
    moved = receive_one(lab, dead_letters, WaitTimeSeconds=10)
    same = (moved["MessageId"], moved["Body"], moved["MessageAttributes"]["Attribute"]["StringValue"]) == (
        sent["MessageId"],
        "x",
        "x",
    )
    return [*received, f"dead letter: {'same' if same else 'other'} id, body and attributes"]


def _received(lab: Lab, url: str) -> str:
    answer = lab.sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    return "received" if answer.get("Messages") else "not received"


@fact(
    "A message that SQS has moved to a dead-letter queue has DeadLetterQueueSourceArn.",
    source=SQS_API + "API_ReceiveMessage.html",
    relied_on_by=("workers/operations/dead_letters.py::DeadLetterQueueSourceArn",),
    expected=True,
)
def a_redriven_message_names_its_queue(lab: Lab) -> object:
    dead_letters = lab.queue()
    url = lab.queue(VisibilityTimeout="0", RedrivePolicy=redrive(lab, dead_letters, 1))
    send(lab, url)
    for _ in range(2):
        _received(lab, url)
    moved = receive_one(lab, dead_letters, WaitTimeSeconds=10)
    return moved["Attributes"].get("DeadLetterQueueSourceArn") == arn_of(lab, url)


@fact(
    "A queue that a RedriveAllowPolicy does not name cannot use that dead-letter queue.",
    source=SQS_API + "API_SetQueueAttributes.html",
    relied_on_by=("deploy/pipeline.yaml::RedriveAllowPolicy",),
    expected="refused",
)
def a_redrive_allow_policy_is_enforced(lab: Lab) -> object:
    dead_letters = lab.queue(RedriveAllowPolicy={"redrivePermission": "denyAll"})
    policy = {"RedrivePolicy": redrive(lab, dead_letters, 2)}
    code = error_of(lab.sqs.set_queue_attributes, QueueUrl=lab.queue(), Attributes=policy)
    return code if code == "ok" else "refused"


@fact(
    "ListDeadLetterSourceQueues of a dead-letter queue has the URLs of the queues that use it, in `queueUrls`.",
    source=SQS_API + "API_ListDeadLetterSourceQueues.html",
    relied_on_by=("workers/operations/stack.py::list_dead_letter_source_queues",),
    expected=[["none"], ["source"]],
)
def a_dead_letter_queue_names_its_sources(lab: Lab) -> object:
    dead_letters, other = lab.queue(), lab.queue()
    source = lab.queue(RedrivePolicy=redrive(lab, dead_letters, 2))
    names = {source.rpartition("/")[2]: "source"}
    return [_sources(lab, url, names) for url in (other, dead_letters)]


def _sources(lab: Lab, url: str, names: dict[str, str]) -> list[str]:
    try:
        urls = lab.sqs.list_dead_letter_source_queues(QueueUrl=url).get("queueUrls") or []
    except lab.sqs.exceptions.ClientError as error:
        return [error.response["Error"]["Code"]]
    return [names.get(found.rpartition("/")[2], "another") for found in urls] or ["none"]
