"""An example case to route, for the tests of this folder."""

from dataclasses import replace
from typing import Any

from tests.workers.fakes import EXECUTION, NOW
from workers.domain.cases import Case, CaseState, Evidence, SentNotification
from workers.domain.reasons import Reason, Severity, Source


def case(*channels: str, **changes: Any) -> Case:
    """Return an open case for the log and *channels*, as it is written when it is opened."""
    opened = Case(
        case_id="001",
        state=CaseState.OPEN,
        severity=Severity.WARNING,
        opened_at=NOW,
        updated_at=NOW,
        order_id="001",
        reasons=(Reason.INVALID_PRICE,),
        channels=("log", *channels),
        routed=(SentNotification(channel="log", episode=1, at=NOW),),
        opened_by="m1",
        version=1,
        evidence=(
            Evidence(
                at=NOW,
                message_id="m1",
                reasons=(Reason.INVALID_PRICE,),
                source=Source.WORKFLOW,
                detail="Not proper.",
                execution_arn=EXECUTION,
                attempts=None,
                queue=None,
                origin_message_id=None,
            ),
        ),
    )
    return replace(opened, **changes)
