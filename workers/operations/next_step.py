"""Says in one line what an operator should do next about an order or a case."""

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from workers.domain.cases import CaseState
from workers.domain.ids import execution_name
from workers.domain.orders import OrderStatus, is_order_id
from workers.domain.reasons import Reason
from workers.domain.submissions import submission_number
from workers.operations.ages import seconds_since
from workers.operations.dead_letters import DeadLetter
from workers.operations.executions import RUNNING, Execution
from workers.operations.history import Run
from workers.operations.order_letters import Search
from workers.operations.story import Story
from workers.operations.text import clean

# SQS's counts may be a minute late, and EventBridge's notice of a failed execution some minutes.
LATE_S = 300.0
SOON_S = 60.0
LONG_S = 3_600.0
MAX_IDS = 3  # Ids of dead letters in a command.

_FINAL = {OrderStatus.FULFILLED, OrderStatus.CANCELLED}
_WHO = "--actor NAME --note TEXT"


def next_step(story: Story, now: datetime, endpoint: str | None = None) -> str:
    """Return what to do next about *story*. Commands for the AWS CLI go to *endpoint*, if it is given."""
    return _Advice(story, now, endpoint).line()


class _Advice:
    def __init__(self, story: Story, now: datetime, endpoint: str | None) -> None:
        self._story = story
        self._now = now
        self._endpoint = endpoint
        self._order: Mapping[str, Any] = story.order or {}
        self._case: Mapping[str, Any] = story.case or {}
        self._current = next((run for run in story.runs if run.is_current), None)
        self._id = _quoted(story.key)
        self._order_id = str(self._order.get("OrderId", story.key))  # The key may be the id of its case.

    def line(self) -> str:
        if (running := self._running()) is not None:
            return f"wait: its execution {running.execution.name} is running"
        if useful := self._letters(useful=True):
            return f"replay its dead letter: {_orders(f'dead-letters replay {self._selected(*useful)} --execute')}"
        match self._order.get("Status"):
            case OrderStatus.RECEIVED:
                step = f"{self._received()}; to cancel it instead: {_orders(f'cancel {_quoted(self._order_id)}')}"
            case OrderStatus.FULFILLED | OrderStatus.CANCELLED as status:
                step = self._final(str(status))
            case OrderStatus.ESCALATED | None if self._case.get("State") == CaseState.OPEN:
                step = self._resolve()
            case OrderStatus.ESCALATED:
                step = self._escalated()
            case None:
                step = self._missing()
            case _:
                step = f"correct its Status in the order table: it must be one of {', '.join(OrderStatus)}"
        return step

    def _running(self) -> Run | None:
        """Return an execution that may still change the order, because it is running."""
        if self._order.get("Status") in _FINAL:
            return None
        return next((run for run in reversed(self._story.runs) if self._is_running(run.execution)), None)

    def _is_running(self, execution: Execution) -> bool:
        # The state machine's timeout is 15 minutes. A local AWS that is killed leaves executions that never end.
        age_s = seconds_since(execution.steps[-1].at, self._now) if execution.steps else None
        return execution.status == RUNNING and (age_s or 0.0) < LONG_S

    def _received(self) -> str:
        fulfillment, escalation = self._story.searches
        age_s = seconds_since(self._order.get("UpdatedAt"), self._now) or 0.0
        if self._current is not None and not self._current.execution.may_have_sent_to_fulfillment:
            if escalation.waiting or age_s < LATE_S:
                return "wait: its escalation is on the way"
            return f"its execution ended without a message to a worker; open a case: {self._send(escalation)}"
        if fulfillment.waiting == 0 and age_s >= LATE_S:
            return f"its message is lost; send it again: {self._send(fulfillment)}"
        waiting = f" (about {fulfillment.waiting} messages)" if fulfillment.waiting else ""
        if age_s < LONG_S:
            return f"wait: its message is in {fulfillment.queue}{waiting}, or a worker has it"
        return (
            f"check with `orders queues` that the fulfillment workers run: its message should be in"
            f" {fulfillment.queue}{waiting}; if it is lost, send it again: {self._send(fulfillment)}"
        )

    def _final(self, status: str) -> str:
        close = _orders(f"escalations resolve {self._id} close {_WHO}")
        if self._case.get("State") == CaseState.OPEN:
            if Reason.UNRECORDED_SHIPMENT in self._case.get("Reasons", []):
                shown = _orders(f"escalations show {self._id}")
                return f"ask the provider about the shipment that {shown} names, then close its case: {close}"
            # The escalation worker closes the case of a resubmitted order soon after the order's end.
            age_s = seconds_since(self._order.get("UpdatedAt"), self._now) or 0.0
            when = ", if it is still open in a minute" if age_s < SOON_S else ""
            return f"close its case{when}: {close}"
        if useless := self._letters(useful=False):
            return f"the order is {status}; discard its dead letter, which has no effect: {self._discard(*useless)}"
        return f"nothing: the order is {status}"

    def _resolve(self) -> str:
        resolve = f"escalations resolve {self._id}"
        reasons = self._case.get("Reasons", [])
        if Reason.UNDECODABLE_MESSAGE in reasons:
            letters = self._letters(useful=False)
            bodies = _orders(f"dead-letters list {self._selected(*letters)} --bodies") if letters else None
            read = f"read the message: {bodies}; then " if bodies else ""
            return f"{read}close its case: {_orders(f'{resolve} close {_WHO}')}"
        corrections = "--price PRICE " if Reason.INVALID_PRICE in reasons else ""
        if not self._order:
            order_id = "" if self._case.get("OrderId") else "--order-id ID "
            corrections = f"{order_id}--name TEXT --item-name TEXT --price PRICE "
        ways = "cancel" if not self._order else "fulfill --shipment-id ID`, or `... cancel"
        return f"resolve its case: {_orders(f'{resolve} resubmit {corrections}{_WHO}')}, or `... {ways}`"

    def _escalated(self) -> str:
        if self._case.get("State") == CaseState.RESOLVED:
            again = f"if that stays so, submit it again: {self._submit()}"
            return f"look again in a minute: its resubmission has not recorded it yet; {again}"
        return f"it has no case; open one: {self._send(self._story.searches[1])}"

    def _missing(self) -> str:
        if merged_into := self._case.get("MergedInto"):
            return (
                f"look at the order's case, which this one was merged into: {_orders(f'show {_quoted(merged_into)}')}"
            )
        if self._case:
            return "nothing: its case is resolved"
        if any(run.has_recorded for run in self._story.runs):
            return "nothing: the order table does not have it any more"
        if self._story.runs and self._story.searches[1].waiting:
            return "wait: its escalation is on the way"
        letters = self._letters(useful=False)
        then = f", then discard its dead letter: {self._discard(*letters)}" if letters else ""
        return f"submit it, it was never recorded: {self._submit()}{then}"

    def _letters(self, *, useful: bool) -> tuple[Search, list[DeadLetter]] | None:
        """Return the dead letters of one queue that would, or would not, have an effect if they were replayed."""
        for search in self._story.searches:
            letters = [letter for letter in search.letters if self._is_useful(search, letter) is useful]
            if letters:
                return search, letters
        return None

    def _is_useful(self, search: Search, letter: DeadLetter) -> bool:
        if letter.undecodable:
            return False
        if not self._order:
            return search.choice == "escalation" and not self._case
        is_current = letter.execution_arn in {None, self._order.get("ExecutionArn")}
        return is_current and self._order.get("Status") == OrderStatus.RECEIVED

    def _discard(self, search: Search, letters: Sequence[DeadLetter]) -> str:
        return _orders(f"dead-letters discard {self._selected(search, letters)} --execute")

    def _selected(self, search: Search, letters: Sequence[DeadLetter]) -> str:
        """Return the arguments that select *letters*, or the first of them if there are many."""
        if letters == [letter for letter in search.letters if letter.order_id == self._story.key]:
            return f"{search.choice} --order {self._id}"
        return " ".join([search.choice, *(f"--id {_quoted(letter.id)}" for letter in letters[:MAX_IDS])])

    def _submit(self) -> str:
        numbers = (submission_number(self._order_id, execution_name(run.execution.arn)) for run in self._story.runs)
        last = max((number for number in numbers if number is not None), default=0)
        return _orders("submit FILE" + (f" --submission {last + 1}" if last else ""))

    def _send(self, search: Search) -> str:
        """Return the command that sends the bare OrderId to a queue, or the same in words."""
        order_id = _quoted(self._order_id)
        if search.queue_url is None or not is_order_id(self._order_id):
            return f"send {order_id} to {search.queue}"
        endpoint = f" --endpoint-url {shlex.quote(self._endpoint)}" if self._endpoint else ""
        url = shlex.quote(search.queue_url)
        return f"`aws sqs send-message{endpoint} --queue-url {url} --message-body {order_id}`"


def _quoted(text: object) -> str:
    """Return *text* as one word of a command."""
    return shlex.quote(clean(text))


def _orders(arguments: str) -> str:
    return f"`orders {arguments}`"
