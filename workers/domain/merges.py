"""Merges the case of an execution into the case of its order. The order's case always wins."""

from dataclasses import replace
from typing import TypeVar

from workers.domain.bounds import bounded
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.reasons import Severity
from workers.domain.resolutions import WORKFLOW, pending_claim, resolved

_T = TypeVar("_T")


def can_merge(execution_case: Case, order_id: str | None, execution_arn: str | None) -> bool:
    """
    Return whether the case found under an execution's id is about this execution, and can be merged.

    Executions may be named like orders, so the case may be about another order. A resubmission that a person has begun
    is finished first.
    """
    return (
        execution_case.merged_into is None
        and execution_case.order_id in {None, order_id}
        and execution_arn in execution_case.execution_arns
        and pending_claim(execution_case) is None
    )


def merge(case: Case, execution_case: Case, now: str, *, opens: bool) -> tuple[Case, Case]:
    """
    Return *case* with what *execution_case* says, and *execution_case* closed with a pointer.

    *opens*: the current escalation has opened this episode. People were notified about the execution already, so the
    episode takes over that notification: only the channels that have not got it get it now.
    """
    others = [arn for arn in execution_case.execution_arns if arn not in case.execution_arns]
    merged = replace(
        case,
        execution_arns=(*others, *case.execution_arns),  # The last one is the key of the index.
        rejected_executions=_both(case.rejected_executions, execution_case.rejected_executions),
        message_ids=_both(execution_case.message_ids, case.message_ids),
        evidence=tuple(sorted(_both(execution_case.evidence, case.evidence), key=lambda item: item.at)),
    )
    if execution_case.state is CaseState.OPEN and case.state is CaseState.OPEN:
        merged = replace(
            merged,
            severity=Severity.highest((case.severity, execution_case.severity)),
            reasons=_both(execution_case.reasons, case.reasons),
            sources=_both(execution_case.sources, case.sources),
        )
        if opens:
            merged = _notified(merged, execution_case)
    note = Resolution(
        action="merged",
        episode=execution_case.episode,
        actor=WORKFLOW,
        note=f"It is about order {case.order_id}: see case {case.case_id}.",
        at=now,
    )
    return bounded(merged), replace(resolved(execution_case, note, now), merged_into=case.case_id)


def pointer(case: Case, case_id: str, execution_arn: str, now: str) -> Case:
    """
    Return a closed case under the id of an execution that points to *case*.

    The index finds a case only by its newest execution. So a late notice about an earlier one finds this instead.
    """
    return Case(
        case_id=case_id,
        state=CaseState.RESOLVED,
        severity=case.severity,
        opened_at=case.opened_at,
        updated_at=now,
        execution_arns=(execution_arn,),
        merged_into=case.case_id,
    )


def _notified(case: Case, execution_case: Case) -> Case:
    """Return *case* with the channels and the notifications of *execution_case*'s episode as those of its own."""
    sent = [
        replace(each, episode=case.episode) for each in execution_case.routed if each.episode == execution_case.episode
    ]
    earlier = [each for each in case.routed if each.episode != case.episode]
    return replace(case, opened_at=execution_case.opened_at, channels=execution_case.channels, routed=(*earlier, *sent))


def _both(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys((*first, *second)))
