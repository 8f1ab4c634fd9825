"""What is said about an order before something is done with it, and after."""

from typing import Any

import pytest

from tests.workers.operations.fakes import fake_stack
from workers.console.audit import Person
from workers.console.pages import order_actions
from workers.console.pages.acting import Subject
from workers.console.pages.order_actions import ACTS
from workers.domain.orders import OrderStatus
from workers.domain.resolutions import Action, Request
from workers.operations.cancel import Cancelled
from workers.operations.unstick import Sent

ORDER = {"OrderId": "1", "Status": "RECEIVED", "Name": "Ada", "ItemName": "Bicycle", "Price": "5", "UpdatedAt": "now"}
FACTS = {"Status": "RECEIVED", "Name": "Ada", "Item": "Bicycle", "Price": "5"}
ADA = Person("ada", "asked for")
SENT = Sent("1", "OrderFulfillmentQueue", "m-1", 0)


def returning(monkeypatch: pytest.MonkeyPatch, **values: Any) -> list[Any]:
    """Let functions of the module return *values*; return the list of what each was called with."""
    calls: list[Any] = []

    def replaced(value: Any) -> Any:
        async def call(_stack: object, *arguments: Any) -> Any:
            calls.append(arguments)
            return value

        return call

    for name, value in values.items():
        monkeypatch.setattr(order_actions, name, replaced(value))
    return calls


@pytest.mark.parametrize(
    ("status", "reasons", "case", "nothing"),
    [
        ("RECEIVED", None, "none", None),
        ("RECEIVED", ["A", "B"], "A, B", None),
        ("CANCELLED", None, "none", "It is CANCELLED already: nothing was changed"),
    ],
)
async def test_an_order_is_shown_before_it_is_cancelled(
    status: str, reasons: list[str] | None, case: str, nothing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    returning(monkeypatch, read_to_cancel=ORDER | {"Status": status}, open_case=reasons)
    seen = await ACTS["cancel"].read(fake_stack(), "1")
    assert seen == Subject(FACTS | {"Status": status, "Open case": case}, f"{status} now", nothing)


TRIED = "Its shipment was tried 2 times and failed. If a failure was a timeout, ask the provider"


@pytest.mark.parametrize(
    ("done", "lines"),
    [
        (Cancelled("1", OrderStatus.RECEIVED, {}, False), []),
        (Cancelled("1", OrderStatus.RECEIVED, {"Attempts": 2}, False), [TRIED]),
        (Cancelled("1", OrderStatus.RECEIVED, {"Attempts": 0}, False), []),
        (Cancelled("1", OrderStatus.ESCALATED, {"Attempts": 2}, True), ["Its case is closed"]),
        (Cancelled("1", OrderStatus.ESCALATED, {}, False, ("A", "B")), ["Its case is open: A, B"]),
    ],
)
async def test_a_cancelled_order_is_told_with_its_case_and_its_attempts(
    done: Cancelled, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = returning(monkeypatch, cancel_order=done)
    told = await ACTS["cancel"].do(fake_stack(), "1", ADA)
    assert told == [f"The order is CANCELLED; it was {done.was}", *lines]
    assert calls == [("1", Request(action=Action.CANCEL, actor="ada", note="asked for"))]


@pytest.mark.parametrize(
    ("waiting", "paused", "lines"),
    [
        (0, None, []),
        (3, None, ["About 3 messages are there already. If its own is one of them, that does no harm"]),
        (0, "It is paused", ["It is paused"]),
    ],
)
async def test_a_message_is_told_with_the_others_and_a_pause(
    waiting: int, paused: str | None, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = Sent("1", "OrderFulfillmentQueue", "m-1", waiting)
    calls = returning(monkeypatch, requeue=sent, pause_warning=paused, read_to_requeue=ORDER)
    assert await ACTS["requeue"].read(fake_stack(), "1") == Subject(FACTS, "RECEIVED now")
    told = await ACTS["requeue"].do(fake_stack(), "1", ADA)
    assert told == ["Its message was sent to OrderFulfillmentQueue again (m-1)", *lines]
    assert calls[-1] == ("OrderFulfillmentQueue",)


@pytest.mark.parametrize(
    ("reasons", "nothing"), [(None, None), (["A", "B"], "It is escalated already, and its case is open: A, B")]
)
async def test_an_order_is_escalated_with_its_actor_and_note(
    reasons: list[str] | None, nothing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = returning(
        monkeypatch, read_to_escalate=(ORDER | {"Attempts": 2}, reasons), escalate=SENT, pause_warning="It is paused"
    )
    seen = await ACTS["escalate"].read(fake_stack(), "1")
    assert seen == Subject(FACTS | {"Attempts": 2}, "RECEIVED now", nothing)
    assert await ACTS["escalate"].do(fake_stack(), "1", ADA) == [
        "It is escalated as ORDER_STUCK (m-1)",
        "Its case is there as soon as a worker has handled that message",
        "It is paused",
    ]
    assert calls[-2:] == [(ORDER | {"Attempts": 2}, "ada", "asked for"), ("EscalationQueue",)]


def test_only_what_is_final_is_marked_and_only_an_escalation_needs_a_note() -> None:
    assert {name: (act.name, act.is_final, act.note_required) for name, act in ACTS.items()} == {
        "cancel": ("cancel", True, False),
        "requeue": ("requeue", False, False),
        "escalate": ("escalate", False, True),
    }
