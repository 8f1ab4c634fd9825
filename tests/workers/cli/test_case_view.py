import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.workers.domain.examples import case, evidence
from tests.workers.escalation import examples
from tests.workers.fakes import ANOTHER, EXECUTION, order
from tests.workers.fakes import NOW as AT
from workers import clock
from workers.cli.case_view import print_case
from workers.domain.cases import (
    Case,
    CaseState,
    Claim,
    Dropped,
    Episode,
    OrderCopy,
    Resolution,
    SentNotification,
)
from workers.domain.ids import execution_name
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shown(capsys: pytest.CaptureFixture[str], shown_case: Case, stored: Order | None) -> str:
    print_case(shown_case, stored, NOW)
    return " ".join(capsys.readouterr().out.split())


WHO = "--actor NAME --note TEXT"
RESOLVE = "orders escalations resolve 001"
OR_CANCEL = f", or `{RESOLVE} cancel {WHO}`"


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        (
            order("ESCALATED"),
            (f"resolve its case: `{RESOLVE} resubmit {WHO}`, or `{RESOLVE} fulfill --shipment-id ID {WHO}`{OR_CANCEL}"),
        ),
        (
            order("RECEIVED"),
            (
                "wait: the order is in progress; `orders show 001` says whether its message is lost;"
                " to cancel it instead: `orders cancel 001`"
            ),
        ),
        (order("FULFILLED"), f"close its case: `{RESOLVE} close {WHO}`"),
        (order("CANCELLED"), f"close its case: `{RESOLVE} close {WHO}`"),
        (
            None,
            (f"resolve its case: `{RESOLVE} resubmit --name TEXT --item TEXT --price PRICE {WHO}`{OR_CANCEL}"),
        ),
    ],
)
def test_an_open_case_says_what_to_do_next(capsys: pytest.CaptureFixture[str], stored: Order | None, step: str) -> None:
    assert f"Next {step}" in shown(capsys, case(), stored)


@pytest.mark.parametrize(("stored", "why"), [(order("CANCELLED"), "the order is CANCELLED"), (None, "its case is")])
def test_a_resolved_case_says_where_dead_letters_are_looked_for(
    capsys: pytest.CaptureFixture[str], stored: Order | None, why: str
) -> None:
    text = shown(capsys, case(state=CaseState.RESOLVED), stored)
    assert f"Next nothing: {why}" in text
    assert "`orders show 001` looks for dead letters, too" in text


def test_a_case_without_an_order_names_the_order_that_was_resubmitted_from_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim = Claim(actor="ada", note="x", at=AT, episode=1, number=1, order_id="x 1", execution_arn=EXECUTION)
    done = Resolution(action="resubmit", episode=1, actor="ada", note="x", at=AT, execution_arn=EXECUTION)
    nameless = case(order_id=None, claim=claim, resolutions=(done,))
    assert "Resubmitted as order x 1: `orders show 'x 1'`" in shown(capsys, nameless, None)
    assert "Resubmitted" not in shown(capsys, replace(nameless, resolutions=()), None)


def test_the_next_command_quotes_an_id_for_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert "`orders escalations resolve 'a(b)' resubmit " in shown(capsys, case(case_id="a(b)"), None)


def test_a_closed_case_says_where_it_went_and_what_it_has_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    closed = case(
        state=CaseState.RESOLVED, merged_into="002", dropped=Dropped(evidence=3, message_ids=1, resolutions=2)
    )
    text = shown(capsys, closed, order("FULFILLED"))
    assert "Merged into 002" in text
    assert "Not kept 3 messages, 1 ids of messages, 2 resolutions" in text
    assert "Next look at the order's case, which this one was merged into: `orders show 002`" in text


def test_a_case_shows_what_became_of_each_notification(capsys: pytest.CaptureFixture[str]) -> None:
    sent = SentNotification(channel="log", episode=1, at=AT)
    given_up = SentNotification(channel="chat", episode=1, at=AT, given_up="HTTP 422")
    print_case(examples.case("chat", "pager", routed=(sent, given_up)), None, clock.parse(AT))
    shown = capsys.readouterr().out.split("Notifications\n")[1].splitlines()[:4]
    assert [" ".join(line.split()) for line in shown] == [
        "EPISODE CHANNEL AT",
        "1 log 2026-11-22 11:00:00",
        "1 chat 2026-11-22 11:00:00, given up: HTTP 422",
        "1 pager not yet",
    ]


COPY = OrderCopy(
    order_id="001",
    status=OrderStatus.RECEIVED,
    name="Ada",
    item_name="Bicycle",
    price="-1",
    cc="************5678",
    created_at="2026-11-22T09:00:00.000000Z",
    attempts=2,
)
FULL = case(
    episode=2,
    severity=Severity.CRITICAL,
    reasons=(Reason.INVALID_PRICE, Reason.INVALID_CARD_NUMBER),
    sources=(Source.WORKFLOW, Source.FULFILLMENT),
    attempts=3,
    order=COPY,
    opened_at="2026-11-22T10:00:00.000000Z",
    evidence=(
        evidence("m1", "2026-11-22T10:00:00.000000Z"),
        evidence(
            "m2",
            "2026-11-22T11:58:30.000000Z",
            reasons=(Reason.INVALID_PRICE, Reason.FULFILLMENT_REJECTED),
            source=None,
            detail=None,
            execution_arn=None,
        ),
    ),
    message_ids=("m1", "m2"),
    rejected_executions=(ANOTHER,),
    channels=("log", "chat"),
    routed=(SentNotification(channel="log", episode=1, at=AT),),
    claim=Claim(
        actor="grace",
        note="again",
        at="2026-11-22T11:59:00.000000Z",
        episode=2,
        number=1,
        order_id="001",
        execution_arn=f"{EXECUTION}-claimed",
    ),
    episodes=(
        Episode(
            number=1,
            opened_at="2026-11-21T10:00:00.000000Z",
            last_seen_at="2026-11-21T11:00:00.000000Z",
            severity=Severity.WARNING,
            reasons=(Reason.INVALID_PRICE, Reason.WORKFLOW_FAILED),
            sources=(Source.WORKFLOW,),
            order=COPY,
        ),
        Episode(
            number=0,
            opened_at="2026-11-20T10:00:00.000000Z",
            last_seen_at="2026-11-20T11:00:00.000000Z",
            severity=Severity.INFO,
            reasons=(),
            sources=(),
        ),
    ),
    resolutions=(
        Resolution(
            action="resubmit", episode=1, actor="ada", note="a typo", at="2026-11-21T12:00:00.0Z", execution_arn=ANOTHER
        ),
        Resolution(
            action="fulfill", episode=1, actor="bob", note="sent", at="2026-11-21T13:00:00.0Z", shipment_id="S-4711"
        ),
        Resolution(action="cancel", episode=1, actor="eve", note="left", at="2026-11-21T14:00:00.0Z"),
    ),
)
LINES = f"""\
  Case          001
  State         OPEN, episode 2
  Severity      critical
  Reasons       INVALID_PRICE, INVALID_CARD_NUMBER
  Sources       workflow, fulfillment
  Order         001 (ESCALATED now, shipment S-1)
  Opened        2026-11-22 10:00:00 (2h ago)
  Last message  2026-11-22 11:58:30 (90s ago)
  Attempts      3
  Begun         a resubmission by grace at 2026-11-22 11:59:00
  Next          resolve its case: `orders escalations resolve 001 resubmit --price PRICE --actor NAME --note TEXT`, or \
`orders escalations resolve 001 fulfill --shipment-id ID --actor NAME --note TEXT`, or \
`orders escalations resolve 001 cancel --actor NAME --note TEXT`

The order when it was escalated (RECEIVED)
  Name      Ada
  ItemName  Bicycle
  Price     -1
  CC        ************5678
  Created   2026-11-22T09:00:00.000000Z
  Attempts  2

Messages
AT | SOURCE | REASONS | DETAIL | EXECUTION
2026-11-22 10:00:00 | workflow | INVALID_PRICE | The order's details are not proper. | one
2026-11-22 11:58:30 | - | INVALID_PRICE, FULFILLMENT_REJECTED | - | -

Notifications
EPISODE | CHANNEL | AT
1 | log | 2026-11-22 11:00:00
2 | log | not yet
2 | chat | not yet

Earlier episodes
EPISODE | OPENED | LAST MESSAGE | SEVERITY | REASONS | ORDER AT THAT TIME
1 | 2026-11-21 10:00:00 | 2026-11-21 11:00:00 | warning | INVALID_PRICE, WORKFLOW_FAILED | Ada; Bicycle; -1
0 | 2026-11-20 10:00:00 | 2026-11-20 11:00:00 | info | -

Resolutions
AT | EPISODE | BY | ACTION | NOTE | SHIPMENT OR EXECUTION
2026-11-21 12:00:00 | 1 | ada | resubmit | a typo | two
2026-11-21 13:00:00 | 1 | bob | fulfill | sent | S-4711
2026-11-21 14:00:00 | 1 | eve | cancel | left | -

Ids
  Execution            {execution_name(EXECUTION)}
  Refused by provider  {execution_name(ANOTHER)}
  Message              m1
  Message              m2
"""


def columns(text: str) -> list[str]:
    """Return the lines, those of tables with a bar between the columns."""
    return [line if re.match(" {2}[^ ]", line) else re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]


def test_everything_about_a_case_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    print_case(FULL, order("ESCALATED", shipment_id="S-1"), NOW)
    assert columns(capsys.readouterr().out) == LINES.splitlines()
    print_case(FULL, None, NOW, wide=True)
    assert columns(capsys.readouterr().out)[-4:-2] == [
        f"  Execution            {EXECUTION}",
        f"  Refused by provider  {ANOTHER}",
    ]


def test_a_case_without_an_order_or_a_message_is_shown_without_their_parts(capsys: pytest.CaptureFixture[str]) -> None:
    bare = Case(
        case_id="message-1",
        state=CaseState.OPEN,
        severity=Severity.INFO,
        opened_at="yesterday",
        updated_at=AT,
        reasons=(Reason.UNDECODABLE_MESSAGE,),
    )
    print_case(bare, None, NOW)
    assert columns(capsys.readouterr().out) == [
        "  Case          message-1",
        "  State         OPEN, episode 1",
        "  Severity      info",
        "  Reasons       UNDECODABLE_MESSAGE",
        "  Opened        yesterday",
        "  Last message  yesterday",
        (
            "  Next          read the message: `orders show message-1` names its dead letter;"
            " then close its case: `orders escalations resolve message-1 close --actor NAME --note TEXT`"
        ),
        "",
        "Messages",
        "AT | SOURCE | REASONS | DETAIL | EXECUTION",
        "",
        "Notifications",
        "EPISODE | CHANNEL | AT",
        "",
        "Ids",
    ]


def test_a_missing_order_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Order 001 (not in the table)" in shown(capsys, case(), None)
    assert "Order 001 (CANCELLED now) " in shown(capsys, case(), order("CANCELLED"))


@pytest.mark.parametrize(
    "changes",
    [{"state": CaseState.RESOLVED}, {"resolutions": (replace(FULL.resolutions[0], execution_arn="claimed"),)}],
)
def test_a_resubmission_that_is_recorded_has_not_only_begun(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    assert FULL.claim is not None
    claim = replace(FULL.claim, execution_arn="claimed")
    assert "Begun" in shown(capsys, case(claim=claim), None)
    assert "Begun" not in shown(capsys, case(claim=claim, **changes), None)


def test_everything_that_is_not_kept_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    dropped = Dropped(
        evidence=1,
        message_ids=2,
        execution_arns=3,
        rejected_executions=4,
        routed=5,
        resolutions=6,
        episodes=7,
    )
    assert (
        "Not kept 1 messages, 2 ids of messages, 3 executions, 4 refused executions, 5 notifications, 6 resolutions,"
        " 7 episodes "
    ) in shown(capsys, case(dropped=dropped), None)
    assert "Not kept" not in shown(capsys, case(dropped=Dropped()), None)


def test_no_notification_of_a_resolved_case_is_awaited(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not yet" not in shown(capsys, examples.case("chat", state=CaseState.RESOLVED), None)


def test_card_numbers_and_control_characters_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = case(evidence=(evidence("m1", AT, detail="\x1b[2J 4929 1234 1234 5678"),))
    text = shown(capsys, hostile, None)
    assert "\x1b" not in text
    assert "4929 1234" not in text


def test_numbers_of_episodes_are_aligned_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_case(FULL, None, NOW)
    lines = capsys.readouterr().out.splitlines()
    assert "      1  log      2026-11-22 11:00:00" in lines
    assert (
        "      1  2026-11-21 10:00:00  2026-11-21 11:00:00  warning   INVALID_PRICE, WORKFLOW_FAILED  Ada; Bicycle; -1"
        in lines
    )
    assert "2026-11-21 12:00:00        1  ada  resubmit  a typo  two" in lines
