"""Receipts: deleting messages, and extending and ending their visibility timeouts, with newer and older receipts."""

from tests.aws_facts.fact import RECORDED, AnyOf, facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.queues import SQS_API, SQS_GUIDE, delete, handle_of, hide, is_visible, receive_one, redrive, send

fact = facts_of("sqs")

_LOCALSTACK = RECORDED + "sqs/test_sqs.py"
_DELETE = SQS_API + "API_DeleteMessage.html"
_EXPIRES_S = 1.3  # After a visibility timeout of one second.


@fact(
    "A receipt whose visibility timeout has run out still deletes its message, if it was not received again.",
    source=_LOCALSTACK + " (test_delete_after_visibility_timeout)",
    relied_on_by=("workers/consumer/acknowledger.py::Acknowledger", "workers/aws/sqs.py::delete_message_batch"),
    expected=["ok", False],
)
def an_expired_receipt_deletes(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="1")
    send(lab, url)
    handle = handle_of(lab, url)
    lab.sleep(_EXPIRES_S)
    return [*delete(lab, url, handle), is_visible(lab, url)]


@fact(
    "A delete with an older receipt, after the message was received again, succeeds, whether it deletes or not.",
    source=_DELETE,
    relied_on_by=("workers/operations/hold.py::delete", "workers/consumer/acknowledger.py::newest"),
    expected=["ok"],
)
def a_delete_with_an_older_receipt_succeeds(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="1")
    send(lab, url)
    handle = handle_of(lab, url)
    receive_one(lab, url, VisibilityTimeout=20, WaitTimeSeconds=5)
    return delete(lab, url, handle)


@fact(
    "In a batch, a text that is not a receipt fails alone, with ReceiptHandleIsInvalid; the other entries succeed.",
    source=SQS_API + "API_DeleteMessageBatch.html",
    relied_on_by=("workers/aws/sqs.py::_RECEIPT_LOST",),
    expected=["ok", "ReceiptHandleIsInvalid"],
)
def an_invalid_receipt_fails_alone(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    return delete(lab, url, handle_of(lab, url), "no-such-receipt")


@fact(
    "A delete that is repeated succeeds again.",
    source=_LOCALSTACK + " (test_delete_message_with_deleted_receipt_handle)",
    relied_on_by=("workers/consumer/acknowledger.py::Acknowledger", "workers/aws/sqs.py::_RECEIPT_LOST"),
    expected=["ok"],
)
def a_repeated_delete_succeeds(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    handle = handle_of(lab, url)
    delete(lab, url, handle)
    return delete(lab, url, handle)


@fact(
    "A batch of deletes may hold the same message twice, with two receipts: both succeed.",
    source=_DELETE,
    relied_on_by=("workers/aws/sqs.py::delete", "workers/consumer/acknowledger.py::Acknowledger"),
    expected=["ok", "ok"],
)
def a_message_may_be_twice_in_a_batch_of_deletes(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="0")
    send(lab, url)
    return delete(lab, url, handle_of(lab, url), handle_of(lab, url))


@fact(
    "A receipt whose visibility timeout has run out still hides its message, if it was not received again.",
    source=_LOCALSTACK + " (test_change_message_visibility_after_visibility_timeout_expiration)",
    relied_on_by=("workers/consumer/visibility.py::VisibilityExtender", "workers/operations/hold.py::Hold"),
    expected=["ok", False],
)
def an_expired_receipt_hides(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="1")
    send(lab, url)
    handle = handle_of(lab, url)
    lab.sleep(_EXPIRES_S)
    return [hide(lab, url, handle, 30), is_visible(lab, url)]


@fact(
    "An older receipt changes the visibility of a message that another receiver has. So our own clock must say when a "
    "receipt is not to be used any more.",
    source=_LOCALSTACK + " (test_terminate_visibility_timeout_after_receive)",
    relied_on_by=("workers/consumer/visibility.py::VisibilityExtender", "workers/operations/hold.py::holds"),
    expected="ok",
)
def an_older_receipt_changes_the_visibility(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="1")
    send(lab, url)
    handle = handle_of(lab, url)
    receive_one(lab, url, VisibilityTimeout=20, WaitTimeSeconds=5)
    return hide(lab, url, handle, 20)


@fact(
    "The visibility of a deleted message cannot be changed: InvalidParameterValue, in a batch for its entry alone.",
    source=_LOCALSTACK + " (test_change_visibility_on_deleted_message_raises_invalid_parameter_value)",
    relied_on_by=("workers/aws/sqs.py::_RECEIPT_LOST",),
    expected="InvalidParameterValue",
)
def a_deleted_message_cannot_be_hidden(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    handle = handle_of(lab, url)
    delete(lab, url, handle)
    return hide(lab, url, handle, 5)


@fact(
    "A message can be hidden for 12 hours after it was received, not longer: later, 12 more hours are refused.",
    source=SQS_GUIDE + "sqs-visibility-timeout.html",
    relied_on_by=("workers/aws/sqs.py::_BATCH_FAULTS", "workers/settings.py::11 * 3600"),
    expected=AnyOf(("InvalidParameterValue", "request: InvalidParameterValue")),
)
def a_message_is_hidden_for_12_hours_at_most(lab: Lab) -> object:
    url = lab.queue()
    send(lab, url)
    handle = handle_of(lab, url)
    lab.sleep(_EXPIRES_S)
    return hide(lab, url, handle, 43_200)


@fact(
    "A visibility timeout of 0 makes a message visible at once.",
    source=SQS_GUIDE + "sqs-visibility-timeout.html",
    relied_on_by=("workers/consumer/acknowledger.py::_release", "workers/operations/hold.py::__aexit__"),
    expected=["ok", True],
)
def a_timeout_of_0_makes_a_message_visible(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="600")
    send(lab, url)
    handle = handle_of(lab, url)
    return [hide(lab, url, handle, 0), is_visible(lab, url)]


@fact(
    "Each receive of a message gives another receipt handle.",
    source=_DELETE,
    relied_on_by=("workers/consumer/in_flight.py::renew_receipt",),
    expected=True,
)
def each_receive_has_its_own_receipt(lab: Lab) -> object:
    url = lab.queue(VisibilityTimeout="0")
    send(lab, url)
    return handle_of(lab, url) != handle_of(lab, url)


@fact(
    "A delete with a receipt from before a redrive succeeds, and leaves the message in the dead-letter queue.",
    source=_DELETE,
    relied_on_by=("workers/consumer/acknowledger.py::Acknowledger",),
    expected=AnyOf((["ok", True], ["ReceiptHandleIsInvalid", True])),
)
def a_delete_after_a_redrive_leaves_the_dead_letter(lab: Lab) -> object:
    dead_letters = lab.queue()
    url = lab.queue(VisibilityTimeout="0", RedrivePolicy=redrive(lab, dead_letters, 1))
    send(lab, url)
    handle = handle_of(lab, url)
    is_visible(lab, url)
    return [*delete(lab, url, handle), is_visible(lab, dead_letters)]


@fact(
    "A batch has at most ten entries.",
    source=SQS_API + "API_DeleteMessageBatch.html",
    relied_on_by=("workers/consumer/ports.py::MAX_BATCH",),
    expected="TooManyEntriesInBatchRequest",
)
def a_batch_has_at_most_ten_entries(lab: Lab) -> object:
    entries = [{"Id": str(n), "ReceiptHandle": f"x{n}"} for n in range(11)]
    code = error_of(lab.sqs.delete_message_batch, QueueUrl=lab.queue(), Entries=entries)
    return code.rpartition(".")[2]  # With the older name or the newer one.
