"""A case that is stored is the case that is read."""

from dataclasses import fields, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unicode_text
from workers.aws.case_items import case_item, case_of
from workers.aws.items import from_item
from workers.domain.cases import (
    Case,
    CaseState,
    Claim,
    Dropped,
    Episode,
    Evidence,
    HandledReminder,
    OrderCopy,
    Resolution,
    SentNotification,
)

WORDS = st.sampled_from(["", "m1", "2026-11-22T10:00:00.000000Z", "CC"]) | unicode_text
NUMBERS = st.integers(0, 10**6)
MAYBE_NUMBERS, MAYBE_WORDS = st.none() | NUMBERS, st.none() | WORDS


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, max_size=2).map(tuple)


ORDERS = st.none() | st.builds(
    OrderCopy,
    execution_arn=...,
    name=...,
    item_name=...,
    price=...,
    cc=...,
    created_at=...,
    attempts=NUMBERS,
    shipment_id=...,
)
CASES = st.builds(  # `...`: any value of the field's type. What is not named here is required, and any value, too.
    Case,
    order_id=...,
    episode=NUMBERS,
    reasons=...,
    sources=...,
    execution_arns=some(WORDS),
    rejected_executions=some(WORDS),
    message_ids=some(WORDS),
    evidence=some(st.builds(Evidence, attempts=MAYBE_NUMBERS)),
    order=ORDERS,
    channels=some(WORDS),
    routed=some(st.builds(SentNotification, episode=NUMBERS, given_up=MAYBE_WORDS)),
    resolutions=some(st.builds(Resolution, episode=NUMBERS, shipment_id=..., execution_arn=...)),
    episodes=some(st.builds(Episode, number=NUMBERS, attempts=MAYBE_NUMBERS, order=ORDERS)),
    claim=st.none() | st.builds(Claim, episode=NUMBERS, number=NUMBERS),
    attempts=MAYBE_NUMBERS,
    opened_by=MAYBE_WORDS,
    merged_into=MAYBE_WORDS,
    reminder=st.none() | st.builds(HandledReminder, episode=NUMBERS, tries=NUMBERS),
    dropped=st.none() | st.builds(Dropped, **dict.fromkeys((field.name for field in fields(Dropped)), NUMBERS)),
    version=NUMBERS,
)


@given(CASES)
def test_a_case_is_the_same_there_and_back(case: Case) -> None:
    stored = case_item(case)
    assert case_of(from_item(stored)) == replace(case, version=case.version + 1)
    assert stored["OpenKey"]["S"].startswith("OPEN#" if case.state is CaseState.OPEN else "RESOLVED#")
    assert stored.get("ExecutionArn") == ({"S": case.execution_arns[-1]} if case.execution_arns else None)


@given(CASES)
def test_what_a_dropped_list_does_not_count_is_zero(case: Case) -> None:
    item = from_item(case_item(replace(case, dropped=Dropped(evidence=1))))
    assert case_of(item | {"Dropped": {}}).dropped == Dropped()
