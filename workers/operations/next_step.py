"""Says in one line what an operator should do next about an order or a case."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from workers.aws.case_items import case_item
from workers.aws.items import from_item
from workers.domain.cases import Case, CaseState
from workers.domain.ids import execution_name
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason
from workers.domain.submissions import submission_number
from workers.domain.text import clean
from workers.operations.ages import format_age, seconds_since
from workers.operations.dead_letters import DeadLetter
from workers.operations.history import Run
from workers.operations.order_letters import Search
from workers.operations.story import Story

# SQS's counts may be a minute late, and EventBridge's notice of a failed execution some minutes.
LATE_S = 300.0
SOON_S = 60.0
LONG_S = 3_600.0
# AWS: a message that was received three times has left the age of the oldest one.
UNCOUNTED_RECEIVES = 3
MAX_IDS = 3  # Ids of dead letters in a command.

_FINAL = {OrderStatus.FULFILLED, OrderStatus.CANCELLED}
_WHO = "--actor NAME --note TEXT"
_SHIPPED = re.compile(r"Shipped as (\S+), but ")  # The detail of an unrecorded shipment: `unrecorded_shipment`.


def next_step(story: Story, now: datetime) -> str:
    """Return what to do next about *story*."""
    return _Advice(story, now).line()


def next_step_of_case(case: Case, order: Order | None, now: datetime) -> str:
    """Return what to do next about *case*, whose executions and dead letters were not looked for."""
    known = None if order is None else {"OrderId": order.order_id, "Status": str(order.status)}
    return next_step(Story(case.case_id, known, from_item(case_item(case)), [], (), []), now)


class _Advice:
    def __init__(self, story: Story, now: datetime) -> None:
        self._story = story
        self._now = now
        self._order: Mapping[str, Any] = story.order or {}
        self._case: Mapping[str, Any] = story.case or {}
        self._current = next((run for run in story.runs if run.is_current), None)
        self._id = _quoted(story.key)
        self._is_open = self._case.get("State") == CaseState.OPEN
        self._reasons: Sequence[str] = self._case.get("Reasons", []) if self._is_open else []
        self._order_id = str(self._order.get("OrderId", story.key))  # The key may be the id of its case.

    def line(self) -> str:
        if (running := self._running()) is not None:
            return f"wait: its execution {running.execution.name} is running"
        if Reason.UNRECORDED_SHIPMENT in self._reasons:
            return self._ask_provider()
        if useful := self._letters(useful=True):
            return f"replay its dead letter: {_orders(f'dead-letters replay {self._selected(*useful)} --yes')}"
        if (elsewhere := self._elsewhere()) is not None:
            return self._rest() or elsewhere
        match self._order.get("Status"):
            case OrderStatus.RECEIVED:
                step = f"{self._received()}; to cancel it instead: {_orders(f'cancel {_quoted(self._order_id)}')}"
            case OrderStatus.FULFILLED | OrderStatus.CANCELLED as status:
                step = self._final(str(status))
            case OrderStatus.ESCALATED | None if self._is_open:
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
        return next((run for run in reversed(self._story.runs) if run.execution.is_running(self._now)), None)

    def _elsewhere(self) -> str | None:
        """Return where to look if this is a resolved case whose order has another id."""
        if not self._case or self._is_open:
            return None
        if merged_into := self._case.get("MergedInto"):
            shown = _orders(f"show {_quoted(merged_into)}")
            return f"look at the order's case, which this one was merged into: {shown}"
        is_other = self._order and self._order_id != self._story.key
        return f"look at its order: {_orders(f'show {_quoted(self._order_id)}')}" if is_other else None

    def _received(self) -> str:
        if not self._story.searches:
            show = _orders(f"show {_quoted(self._order_id)}")
            return f"wait: the order is in progress; {show} says whether its message is lost"
        fulfillment, escalation = self._story.searches
        age_s = seconds_since(self._order.get("UpdatedAt"), self._now) or 0.0
        if self._current is not None and not self._current.execution.may_have_sent_to_fulfillment:
            if escalation.waiting or age_s < LATE_S:
                return "wait: its escalation is on the way"
            return f"its execution ended without a message to a worker; open a case: {self._escalate()}"
        if fulfillment.waiting == 0:
            return self._not_counted(fulfillment, age_s)
        return self._waiting(fulfillment, age_s)

    def _waiting(self, queue: Search, age_s: float) -> str:
        attempts = self._order.get("Attempts")
        counted = not (isinstance(attempts, int) and attempts >= UNCOUNTED_RECEIVES)
        if counted and queue.oldest_s is not None and age_s > queue.oldest_s + LATE_S:
            oldest = f"the oldest one in {queue.queue} is younger than the order"
            return f"its message is probably lost (inferred: {oldest}); {self._again()}"
        because = "its execution has ended" if self._current and self._current.execution.status else "it is RECEIVED"
        if queue.waiting:
            oldest = f", the oldest for {format_age(queue.oldest_s)}" if queue.oldest_s is not None else ""
            because += f", and about {queue.waiting} messages are there{oldest}"
        inferred = f"its message is in {queue.queue}, or a worker has it (inferred: {because})"
        if age_s < LONG_S:
            return f"wait: {inferred}"
        lost = f"if it is lost, {self._again()}"
        return f"check with `orders queues` that the fulfillment workers run: {inferred}; {lost}"

    def _again(self) -> str:
        """Return how the order goes on if its message is lost."""
        if self._current is not None and self._current.execution.reached_fulfillment:
            return f"send it again: {_orders(f'requeue {_quoted(self._order_id)}')}"
        return f"escalate the order, as nothing shows that it was verified: {self._escalate()}"

    def _not_counted(self, queue: Search, age_s: float) -> str:
        if age_s >= LATE_S:
            return f"its message is lost; {self._again()}"
        until = self._now + timedelta(seconds=LATE_S - age_s)
        return (
            f"wait until {until:%H:%M:%S} UTC: SQS counts no message in {queue.queue}, but its counts may be late;"
            " if the order is still RECEIVED then, its message is lost"
        )

    def _final(self, status: str) -> str:
        if self._is_open:
            return f"close its case{self._unless_closed()}: {self._resolution('close')}"
        rest = self._rest()
        return f"the order is {status}; {rest}" if rest else self._nothing(f"the order is {status}")

    def _unless_closed(self) -> str:
        """Return a condition if the escalation worker may close the case: soon after a resubmitted order's end."""
        age_s = seconds_since(self._order.get("UpdatedAt"), self._now)
        escalated = (self._case.get("Order") or {}).get("ExecutionArn")
        is_resubmitted = escalated is not None and escalated != self._order.get("ExecutionArn")
        return ", if it is still open in a minute" if is_resubmitted and age_s is not None and age_s < SOON_S else ""

    def _ask_provider(self) -> str:
        """Return what to do about a shipment that may have been made, and that nothing has recorded."""
        details = (str(item.get("Detail")) for item in self._case.get("Evidence", []))
        found = list(dict.fromkeys(match[1] for detail in details if (match := _SHIPPED.match(detail))))
        named = f" as {clean(' and '.join(found))}" if found else ""
        ask, shipped = f"ask the provider whether it shipped the order{named}", f"shipped{named}"
        close = f"escalations resolve {self._id} close --actor NAME --note"
        yes, no = _orders(f"{close} {_quoted(shipped)}"), _orders(f"{close} 'not shipped'")
        match self._order.get("Status"):
            case OrderStatus.RECEIVED:  # Or it would be shipped twice.
                yes = _orders(f"cancel {_quoted(self._order_id)} --note {_quoted(shipped)}")
            case OrderStatus.ESCALATED:
                yes = self._resolution(f"fulfill --shipment-id {_quoted(found[-1]) if found else 'ID'}")
                no = f"{self._resolution('resubmit')}, or {self._resolution('cancel')}"
            case OrderStatus.CANCELLED:
                ask += "; if it did, let it stop or take back the shipment"
        return f"{ask}; then, if it did: {yes}; if not: {no}"

    def _resolve(self) -> str:
        if Reason.UNDECODABLE_MESSAGE in self._reasons:
            close = f"close its case: {self._resolution('close')}"
            if not self._story.searches:
                return f"read the message: {_orders(f'show {self._id}')} names its dead letter; then {close}"
            if (letters := self._letters(useful=False)) is None:
                return close
            return f"read the message: {self._read(*letters)}; then {close}; then discard it: {self._discard(*letters)}"
        corrections = "--price PRICE " if Reason.INVALID_PRICE in self._reasons else ""
        if not self._order:
            order_id = "" if self._case.get("OrderId") else "--order ORDER_ID "
            corrections = f"{order_id}--name TEXT --item TEXT --price PRICE "
        ways = ["cancel"] if not self._order else ["fulfill --shipment-id ID", "cancel"]
        return "resolve its case: " + ", or ".join(map(self._resolution, (f"resubmit {corrections}".strip(), *ways)))

    def _resolution(self, action: str) -> str:
        return _orders(f"escalations resolve {self._id} {action} {_WHO}")

    def _escalated(self) -> str:
        if self._case:
            again = f"if that stays so, submit it again: {self._submit()}"
            return f"look again in a minute: its resubmission has not recorded it yet; {again}"
        return f"it has no case; open one: {self._escalate()}"

    def _missing(self) -> str:
        rest = self._rest()
        if self._case:
            return rest or self._nothing("its case is resolved")
        if any(run.has_recorded for run in self._story.runs):
            return rest or self._nothing("the order table does not have it any more")
        if self._story.runs and self._story.searches[1].waiting:
            return "wait: its escalation is on the way"
        submit = f"submit it, it was never recorded: {self._submit()}"
        return f"{submit}; then {rest}" if rest else submit

    def _rest(self) -> str | None:
        """Return what is left to do if neither the order nor its case need anything."""
        if (letters := self._letters(useful=False)) is None:
            return None
        search, found = letters
        for letter in found:
            if self._story.related_cases.get(letter.case_id or "", {}).get("State") == CaseState.OPEN:
                close = _orders(f"escalations resolve {_quoted(letter.case_id)} close {_WHO}")
                return f"read its dead letter: {self._read(search, [letter])}; then close that message's case: {close}"
        return f"discard its dead letter, which has no effect: {self._discard(*letters)}"

    def _nothing(self, why: str) -> str:
        if not self._story.searches:
            return f"nothing: {why}; {_orders(f'show {self._id}')} looks for dead letters, too"
        gaps = [search.queue for search in self._story.searches if search.gap]
        return f"nothing: {why}" + (f"; but not all dead letters of {' and '.join(gaps)} are known" if gaps else "")

    def _read(self, search: Search, letters: Sequence[DeadLetter]) -> str:
        return _orders(f"dead-letters list {self._selected(search, letters)} --bodies")

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
        return _orders(f"dead-letters discard {self._selected(search, letters)} --yes")

    def _selected(self, search: Search, letters: Sequence[DeadLetter]) -> str:
        """Return the arguments that select *letters*, or the first of them if there are many."""
        if letters == [letter for letter in search.letters if letter.order_id == self._story.key]:
            return f"{search.choice} --order {self._id}"
        return " ".join([search.choice, *(f"--id {_quoted(letter.id)}" for letter in letters[:MAX_IDS])])

    def _submit(self) -> str:
        numbers = (submission_number(self._order_id, execution_name(run.execution.arn)) for run in self._story.runs)
        last = max((number for number in numbers if number is not None), default=0)
        return _orders("submit FILE" + (f" --submission {last + 1}" if last else ""))

    def _escalate(self) -> str:
        return _orders(f"escalate {_quoted(self._order_id)} --note TEXT")


def _quoted(text: object) -> str:
    """Return *text* as one word of a command."""
    return shlex.quote(clean(text))


def _orders(arguments: str) -> str:
    return f"`orders {arguments}`"
