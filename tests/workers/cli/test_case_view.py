from datetime import UTC, datetime

import pytest

from tests.workers.domain.examples import case
from tests.workers.escalation import examples
from tests.workers.fakes import NOW as AT
from tests.workers.fakes import order
from workers import clock
from workers.cli.case_view import print_case
from workers.domain.cases import Case, CaseState, Dropped, SentNotification
from workers.domain.orders import Order

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shown(capsys: pytest.CaptureFixture[str], shown_case: Case, stored: Order | None) -> str:
    print_case(shown_case, stored, NOW)
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("stored", "step"),
    [
        (order("ESCALATED"), "Next orders escalations resolve 001 resubmit, fulfill or cancel"),
        (order("RECEIVED"), "Next wait: the order is in progress"),
        (
            order("FULFILLED"),
            "Next orders escalations resolve 001 close: the order is FULFILLED, only the case is left",
        ),
        (
            order("CANCELLED"),
            "Next orders escalations resolve 001 close: the order is CANCELLED, only the case is left",
        ),
        (None, "Next orders escalations resolve 001 resubmit, cancel or close"),
    ],
)
def test_an_open_case_says_what_to_do_next(capsys: pytest.CaptureFixture[str], stored: Order | None, step: str) -> None:
    assert step in shown(capsys, case(), stored)


def test_a_closed_case_says_where_it_went_and_what_it_has_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    closed = case(
        state=CaseState.RESOLVED, merged_into="002", dropped=Dropped(evidence=3, message_ids=1, resolutions=2)
    )
    text = shown(capsys, closed, order("FULFILLED"))
    assert "Merged into 002" in text
    assert "Not kept 3 messages, 1 ids of messages, 2 resolutions" in text
    assert "Next" not in text


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
