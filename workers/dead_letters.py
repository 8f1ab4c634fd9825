"""The attributes that workers add to a message when they move it to a dead-letter queue."""

from enum import StrEnum


class DeadLetterAttribute(StrEnum):
    """
    The message attributes that workers add to a dead letter, all of type String. SQS's own redrive adds none of them.

    A letter from a worker always has `REASON` and `ORIGIN_MESSAGE_ID`. The others are absent if the sender's own
    attributes leave no room: SQS allows ten.
    """

    REASON = "Reason"  # Why it was moved, in words that never quote the body.
    ORIGIN_MESSAGE_ID = "OriginMessageId"  # Its id in the queue it came from; the copy has another id.
    ORIGIN_QUEUE = "OriginQueue"  # The name of that queue.
    FIRST_RECEIVED_AT = "FirstReceivedAt"  # When a worker first received it, RFC 3339.
    ERROR_CLASS = "ErrorClass"  # The class of the error that caused the move, if one did.
