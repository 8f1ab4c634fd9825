"""The moments at which a worker is killed: one of its requests has reached a step."""

from dataclasses import dataclass

from tests.chaos.proxy import DELETE, NOTIFY
from tests.chaos.traps import Step

READ = frozenset({"GetItem", "BatchGetItem"})
ESCALATE = frozenset({"TransactWriteItems"})
RECORD = frozenset({"UpdateItem"})  # The escalation worker's record of a sent notification.
FULFILL = frozenset({"BatchExecuteStatement"})
SETTLE = frozenset({DELETE})
SEND = frozenset({NOTIFY})
REPORT = frozenset({"SendMessage"})  # Of the end of an order, or of an escalation.


@dataclass(frozen=True, slots=True)
class Moment:
    """
    A request with one of these actions has reached *step*.

    A request that has only arrived is lost with its worker; with *late* it is applied after everything else is done.
    """

    name: str
    actions: frozenset[str]
    step: Step
    late: bool = False


READ_PASSED = Moment("read passed", READ, Step.APPLIED)
WRITE_LOST = Moment("transaction lost", ESCALATE, Step.ARRIVED)
WRITE_LATE = Moment("transaction applied late", ESCALATE, Step.ARRIVED, late=True)
WRITE_PASSED = Moment("transaction passed", ESCALATE, Step.APPLIED)
WRITE_ANSWERED = Moment("transaction answered", ESCALATE, Step.ANSWERED)
SEND_LOST = Moment("notification lost", SEND, Step.ARRIVED)
SEND_ACCEPTED = Moment("notification accepted", SEND, Step.APPLIED)
RECORD_LOST = Moment("record lost", RECORD, Step.ARRIVED)
RECORD_PASSED = Moment("record passed", RECORD, Step.APPLIED)
REPORT_LOST = Moment("report lost", REPORT, Step.ARRIVED)
REPORT_ACCEPTED = Moment("report accepted", REPORT, Step.APPLIED)
DELETE_LOST = Moment("delete lost", SETTLE, Step.ARRIVED)
DELETE_PASSED = Moment("delete passed", SETTLE, Step.APPLIED)
UPDATE_LOST = Moment("update lost", FULFILL, Step.ARRIVED)
UPDATE_LATE = Moment("update applied late", FULFILL, Step.ARRIVED, late=True)
UPDATE_PASSED = Moment("update passed", FULFILL, Step.APPLIED)
UPDATE_ANSWERED = Moment("update answered", FULFILL, Step.ANSWERED)
