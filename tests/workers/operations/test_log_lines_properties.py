"""A selection of log lines, tested unparsed and parsed."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import order_ids
from workers.operations.log_lines import ESCALATION_EVENT, Selection

SELECTIONS = st.builds(Selection, order_id=st.none() | order_ids, escalations=st.booleans())


@given(SELECTIONS, st.sampled_from([None, "order_id", "case_id", "other"]), st.booleans(), st.booleans(), order_ids)
def test_a_line_that_matches_is_never_ruled_out_unparsed(
    selection: Selection, place: str | None, escalation: bool, same: bool, other: str
) -> None:
    order_id = selection.order_id if same and selection.order_id else other
    fields = {"event": ESCALATION_EVENT if escalation else "order.fulfilled"}
    if place is not None:
        fields[place] = order_id
    expected = (
        selection.order_id is None or (place in {"order_id", "case_id"} and order_id == selection.order_id)
    ) and (escalation or not selection.escalations)
    assert selection.matches(fields) is expected
    if expected:
        assert selection.may_match(json.dumps(fields).encode())
    assert selection.everything == (selection == Selection())
