from dataclasses import replace
from typing import Any

import pytest

from tests.workers.domain.examples import THEN, case, evidence
from tests.workers.fakes import ANOTHER, EXECUTION, NOW
from workers.domain.bounds import MAX_MESSAGE_IDS
from workers.domain.cases import Case, CaseState, Claim, Dropped, Resolution, SentNotification
from workers.domain.merges import can_merge, merge, pointer
from workers.domain.reasons import Reason, Severity, Source

EARLIER, LATER = "2026-11-22T09:00:00.000000Z", "2026-11-22T10:30:00.000000Z"
PAGED = SentNotification(channel="pager", episode=2, at=EARLIER, given_up="HTTP 422")
CLAIM = Claim(actor="ada", note="x", at=THEN, episode=1, number=1, order_id="001", execution_arn=ANOTHER)


def execution_case(**changes: Any) -> Case:
    """Return the case of an execution, which an earlier and a later message than that of `case()` are about."""
    return replace(
        case(
            case_id="one",
            order_id=None,
            severity=Severity.CRITICAL,
            opened_at=EARLIER,
            opened_by="e1",
            episode=2,
            reasons=(Reason.WORKFLOW_FAILED, Reason.INVALID_CARD_NUMBER),
            sources=(Source.EVENTBRIDGE, Source.WORKFLOW),
            execution_arns=(ANOTHER, EXECUTION),
            rejected_executions=("r2", "r1"),
            message_ids=("e1", "m1", "e2"),
            evidence=(evidence("e1", EARLIER), evidence("e2", LATER)),
            channels=("log", "pager"),
            routed=(SentNotification(channel="log", episode=1, at=EARLIER), PAGED),
        ),
        **changes,
    )


def order_case(**changes: Any) -> Case:
    sent = tuple(SentNotification(channel="log", episode=episode, at=THEN) for episode in (2, 3))
    return case(episode=3, rejected_executions=("r0", "r1"), routed=sent, **changes)


def expected(**changes: Any) -> Case:
    """Return what the order's case has after every merge, whatever the states of the two cases."""
    return replace(
        order_case(),
        execution_arns=(ANOTHER, EXECUTION),
        rejected_executions=("r0", "r1", "r2"),
        message_ids=("e1", "m1", "e2"),
        evidence=(evidence("e1", EARLIER), evidence("m1", THEN), evidence("e2", LATER)),
        **changes,
    )


SAME_EPISODE: dict[str, Any] = {
    "severity": Severity.CRITICAL,
    "reasons": (Reason.WORKFLOW_FAILED, Reason.INVALID_CARD_NUMBER),
    "sources": (Source.EVENTBRIDGE, Source.WORKFLOW),
}
NOTIFIED: dict[str, Any] = {
    "opened_at": EARLIER,
    "channels": ("log", "pager"),
    "routed": (SentNotification(channel="log", episode=2, at=THEN), replace(PAGED, episode=3)),
}


@pytest.mark.parametrize(
    ("state", "execution_state", "opens", "changes"),
    [
        (CaseState.OPEN, CaseState.OPEN, True, SAME_EPISODE | NOTIFIED),
        (CaseState.OPEN, CaseState.OPEN, False, SAME_EPISODE),
        (CaseState.OPEN, CaseState.RESOLVED, True, {}),
        (CaseState.RESOLVED, CaseState.OPEN, True, {"state": CaseState.RESOLVED}),
    ],
)
def test_the_orders_case_gets_what_the_case_of_its_execution_says(
    state: CaseState, execution_state: CaseState, opens: bool, changes: dict[str, Any]
) -> None:
    merged, closed = merge(order_case(state=state), execution_case(state=execution_state), NOW, opens=opens)
    assert merged == expected(**changes)
    note = Resolution(action="merged", episode=2, actor="workflow", note="It is about order 001: see case 001.", at=NOW)
    assert closed == execution_case(state=CaseState.RESOLVED, updated_at=NOW, resolutions=(note,), merged_into="001")


def test_the_higher_severity_of_two_cases_stays() -> None:
    merged, _ = merge(
        order_case(severity=Severity.CRITICAL), execution_case(severity=Severity.WARNING), NOW, opens=False
    )
    assert merged.severity is Severity.CRITICAL


def test_a_merged_case_is_bounded() -> None:
    full = order_case(message_ids=tuple(f"m{number}" for number in range(MAX_MESSAGE_IDS)))
    merged, _ = merge(full, execution_case(), NOW, opens=False)
    assert len(merged.message_ids) == MAX_MESSAGE_IDS
    assert merged.dropped == Dropped(message_ids=2)


@pytest.mark.parametrize(
    ("changes", "order_id", "execution_arn", "can"),
    [
        ({}, "001", EXECUTION, True),
        ({}, None, ANOTHER, True),
        ({"order_id": "001"}, "001", EXECUTION, True),
        ({"order_id": "002"}, "001", EXECUTION, False),
        ({"merged_into": "001"}, "001", EXECUTION, False),
        ({}, "001", None, False),
        ({"execution_arns": (ANOTHER,)}, "001", EXECUTION, False),
        ({"execution_arns": (EXECUTION,), "claim": CLAIM, "episode": 1}, "001", EXECUTION, False),
        ({"execution_arns": (EXECUTION,), "claim": CLAIM}, "001", EXECUTION, True),
    ],
)
def test_a_case_is_merged_if_it_is_about_the_execution(
    changes: dict[str, Any], order_id: str | None, execution_arn: str | None, can: bool
) -> None:
    assert can_merge(execution_case(**changes), order_id, execution_arn) is can


def test_a_pointer_is_a_closed_case_of_one_execution() -> None:
    assert pointer(order_case(severity=Severity.CRITICAL), "one", ANOTHER, NOW) == Case(
        case_id="one",
        state=CaseState.RESOLVED,
        severity=Severity.CRITICAL,
        opened_at=THEN,
        updated_at=NOW,
        execution_arns=(ANOTHER,),
        merged_into="001",
    )
