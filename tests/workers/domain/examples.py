"""An example case with its evidence and the copy of its order, for the tests of the domain."""

from dataclasses import replace
from typing import Any

from tests.workers.fakes import EXECUTION
from workers.domain.cases import Case, CaseState, Evidence, OrderCopy, SentNotification
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason, Severity, Source

THEN = "2026-11-22T10:00:00.000000Z"
CARD = "4929123412345678"
UUID = "12345678-1234-1234-1234-123456789012"


def case(**changes: Any) -> Case:
    """Return a case that message `m1` opened and that was routed to the log."""
    return replace(
        Case(
            case_id="001",
            state=CaseState.OPEN,
            severity=Severity.WARNING,
            opened_at=THEN,
            opened_by="m1",
            updated_at=THEN,
            order_id="001",
            reasons=(Reason.INVALID_CARD_NUMBER,),
            sources=(Source.WORKFLOW,),
            execution_arns=(EXECUTION,),
            message_ids=("m1",),
            evidence=(evidence("m1", THEN),),
            channels=("log",),
            routed=(SentNotification(channel="log", episode=1, at=THEN),),
            version=2,
        ),
        **changes,
    )


def evidence(message_id: str, at: str, **changes: Any) -> Evidence:
    return replace(
        Evidence(
            at=at,
            message_id=message_id,
            reasons=(Reason.INVALID_PRICE,),
            source=Source.WORKFLOW,
            detail="The order's details are not proper.",
            execution_arn=EXECUTION,
            attempts=None,
            queue=None,
            origin_message_id=None,
        ),
        **changes,
    )


def order_copy(status: str, execution_arn: str = EXECUTION) -> OrderCopy:
    """Return the copy of `order()` that a case keeps."""
    return OrderCopy(order_id="001", status=OrderStatus(status), execution_arn=execution_arn)
