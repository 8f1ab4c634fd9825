"""The types of arguments and options that take one of a few words: a reason, a status, a queue."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason
from workers.queue_address import QueueAddress, check_queue

if TYPE_CHECKING:
    from workers.operations.names import Names

QUEUES = ("fulfillment", "escalation")
STATUSES = (OrderStatus.RECEIVED, OrderStatus.ESCALATED, OrderStatus.FULFILLED, OrderStatus.CANCELLED)
_BETWEEN_WORDS = re.compile(r"[\s_-]+")


class _Words(click.ParamType[str]):
    """One of *words*, in upper or lower case. Its words may also be separated by dashes or spaces."""

    def __init__(self, name: str, words: Collection[str]) -> None:
        self.name = name
        self._words = words

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        found = self._find(value)
        if found is None:
            self.fail(f"{value!r} must be one of {', '.join(self._words)}", param, ctx)
        return found

    def _find(self, value: str) -> str | None:
        word = _BETWEEN_WORDS.sub("_", value.strip()).upper()
        return next((known for known in self._words if known == word), None)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        return completions(self._words, incomplete)


class StatusName(_Words):
    """The status of an order."""

    def __init__(self) -> None:
        super().__init__("status", STATUSES)


class ReasonName(_Words):
    """The reason of an escalation. The begin of its name is enough if no other begins so."""

    def __init__(self) -> None:
        super().__init__("reason", list(Reason))

    def _find(self, value: str) -> str | None:
        begin = _BETWEEN_WORDS.sub("_", value.strip()).upper()
        found = [known for known in self._words if known.startswith(begin)]
        return super()._find(value) or (found.pop() if len(found) == 1 else None)


class ReasonText(ReasonName):
    """The reason of a dead letter: that of an escalation, or a part of its text."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("is empty, must be a reason, or a part of its text", param, ctx)
        return self._find(value) or value


class QueueName(click.ParamType[str]):
    """
    A queue of the stack, `fulfillment` or `escalation`, or the name, URL or ARN of any other queue.

    A queue of the stack is known by the name that it is deployed with, or that it is set to, too. So is each queue by
    the name of its dead-letter queue: tables show it.
    """

    name = "queue"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature.
        return f"{{{'|'.join(QUEUES)}|QUEUE}}" if param.required else "|".join((*QUEUES, "QUEUE"))

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        return f"Choose from: {', '.join(QUEUES)}, or the name of another queue"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value.strip().lower() in QUEUES:
            return value.strip().lower()
        known = {} if ctx is None or ctx.obj is None else _deployed(ctx.obj.names)
        queue = next((queue for queue, names in known.items() if value in names), None)
        if queue is not None:
            return queue
        try:
            return check_queue(value)
        except ValueError as error:
            self.fail(f"{value!r} must be {', '.join(QUEUES)} or {str(error).removeprefix('must be ')}", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        return completions(QUEUES, incomplete)


class AnyQueueName(QueueName):
    """A queue of the stack, as `QueueName`, or any other by its name, URL or ARN. Becomes what names it on AWS."""

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature.
        return "QUEUE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        given = value.strip()
        known = {} if ctx is None or ctx.obj is None else _deployed(ctx.obj.names)
        if given.lower() in known:
            return known[given.lower()][1]
        if any(given in dead_letters for _, _, *dead_letters in known.values()):
            self.fail(f"{given!r} is a dead-letter queue, must be a queue that workers receive from", param, ctx)
        try:
            return check_queue(given)
        except ValueError as error:
            self.fail(f"{given!r} must be {', '.join(QUEUES)}, or {str(error).removeprefix('must be ')}", param, ctx)


def completions(words: Collection[str], incomplete: str) -> list[CompletionItem]:
    """Return those of *words* that begin with *incomplete*, in upper or lower case."""
    return [CompletionItem(word) for word in words if word.lower().startswith(incomplete.lower())]


def _deployed(names: "Names") -> dict[str, list[str]]:
    """Return the names of each queue, and that of its dead-letter queue if both are named as in the template."""
    known = dict[str, list[str]]()
    for queue, given in zip(QUEUES, (names.order_fulfillment_queue, names.escalation_queue), strict=True):
        name = QueueAddress.parse(given).name
        dead_letters = [f"{name.removesuffix('Queue')}DLQ"] if name.endswith("Queue") else []
        known[queue] = [name, given, *dead_letters]
    return known
