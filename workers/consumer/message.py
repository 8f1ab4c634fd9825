"""A received message, and how it is settled."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received message. `sent_at_s` and `first_received_at_s` are seconds since the epoch."""

    id: str
    receipt_handle: str
    body: str
    receive_count: int = 1
    sent_at_s: float = 0.0
    first_received_at_s: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedMessage(Message):
    """
    A message with the header of AWS X-Ray. Only if tracing is on is a message asked for it.

    A class of its own, because each field more costs every message a third of a microsecond.
    """

    trace_header: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """
    A handler is done with the message: delete it. `outcome` goes into the log.

    `used_downstream` is false if the handler did not call the downstream service: then its success does not show that
    an outage is over.
    """

    outcome: str
    used_downstream: bool = True


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A handler has sent a copy to the dead-letter queue: delete the original."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Released:
    """The message goes back to its queue and can be received again after `delay_s` seconds."""

    outcome: str
    delay_s: int = 0


Settlement = Acknowledged | DeadLettered | Released
