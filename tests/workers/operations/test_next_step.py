"""What to do next, for each state of an order, its case, its executions and its dead letters."""

import re
import shlex
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import click
import pytest

from tests.workers.operations.fakes import EXECUTION, NOW
from workers.cli.app import orders as app
from workers.clock import at
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Severity
from workers.domain.submissions import submission_name
from workers.operations.dead_letters import DeadLetter
from workers.operations.executions import Execution, Step
from workers.operations.history import runs_of
from workers.operations.next_step import next_step, next_step_of_case
from workers.operations.order_letters import Search
from workers.operations.story import Story

ONE, TWO = f"{EXECUTION}:{submission_name('001', 1)}", f"{EXECUTION}:two"
TO_FULFILLMENT, TO_ESCALATION = "Put message in OrderFulfillment Queue", "Put message in Escalation Queue"
REQUEUE = "send it again: `orders requeue 001`"
ESCALATE = "`orders escalate 001 --note TEXT`"
WHO = "--actor NAME --note TEXT"
OR_CANCEL_CASE = f", or `orders escalations resolve 001 cancel {WHO}`"
EITHER = f", or `orders escalations resolve 001 fulfill --shipment-id ID {WHO}`{OR_CANCEL_CASE}"
RESOLVE = f"resolve its case: `orders escalations resolve 001 resubmit {{0}}{WHO}`{{1}}"
OR_CANCEL = "; to cancel it instead: `orders cancel 001`"


def ago(seconds: float) -> str:
    return at((NOW - timedelta(seconds=seconds)).timestamp())


def execution(
    arn: str = ONE, status: str | None = "SUCCEEDED", *states: str, age_s: float = 60, problem: str | None = None
) -> Execution:
    steps = (Step(ago(age_s), "started"), Step(ago(age_s), str(status))) if status else ()
    return Execution(arn, status, states or (TO_FULFILLMENT,), steps, problem)


def order(status: str, age_s: float = 60, **fields: Any) -> dict[str, Any]:
    return {"OrderId": "001", "Status": status, "ExecutionArn": ONE, "UpdatedAt": ago(age_s)} | fields


def case(state: str = "OPEN", *reasons: str, **fields: Any) -> dict[str, Any]:
    return {"CaseId": "001", "OrderId": "001", "State": state, "Reasons": list(reasons)} | fields


def letter(
    arn: str | None = ONE, reason: str = "moved by SQS's own redrive", order_id: str | None = "001", name: str = "m-1"
) -> DeadLetter:
    return DeadLetter(
        queue="DLQ",
        id=name,
        body="",
        attributes={},
        reason=reason,
        error=None,
        order_id=order_id,
        execution_arn=arn,
        origin_message_id=None,
        first_received_at=None,
        sent_at=None,
    )


def searches(
    fulfillment: tuple[DeadLetter, ...] = (),
    escalation: tuple[DeadLetter, ...] = (),
    waiting: tuple[int | None, int | None] = (0, 0),
    oldest_s: int | None = None,
) -> tuple[Search, Search]:
    names = ("OrderFulfillmentQueue", "EscalationQueue")
    first, second = (
        Search(
            choice=choice,
            queue=name,
            waiting=count,
            oldest_s=oldest_s,
            letters=letters,
        )
        for choice, name, letters, count in zip(
            ("fulfillment", "escalation"), names, (fulfillment, escalation), waiting, strict=True
        )
    )
    return first, second


def advice(
    stored: dict[str, Any] | None = None,
    opened: dict[str, Any] | None = None,
    *executions: Execution,
    key: str = "001",
    found: tuple[Search, Search] | None = None,
    related_cases: dict[str, dict[str, Any]] | None = None,
) -> str:
    runs = runs_of(stored, opened, executions)
    line = next_step(Story(key, stored, opened, runs, found or searches(), [], related_cases or {}), NOW)
    assert line == " ".join(line.split()), "one line"
    check_commands(line)
    return line


def check_commands(line: str) -> None:
    """Check that the command line accepts each command of `orders` in *line*."""
    for command in re.findall(r"`orders ([^`]*)`", line):
        check_command(command)


@cache  # Hundreds of lines have the same few.
def check_command(command: str) -> None:
    arguments = shlex.split(command.replace("FILE", "-"))
    context: click.Context = click.Context(app, info_name="orders")
    group: click.Command = app
    while isinstance(group, click.Group):
        _, chosen, arguments = group.resolve_command(context, arguments)
        assert chosen is not None
        group = chosen
    group.make_context(group.name, [*arguments], parent=context)


def test_the_case_of_an_execution_is_closed_or_its_order_sent_by_its_own_id() -> None:
    opened = case(CaseId="execution-1")
    assert advice(order("FULFILLED"), opened, execution(), key="execution-1") == (
        "close its case: `orders escalations resolve execution-1 close --actor NAME --note TEXT`"
    )
    step = advice(order("RECEIVED", age_s=400), opened, execution(), key="execution-1")
    assert step == (f"its message is lost; {REQUEUE}; to cancel it instead: `orders cancel 001`")


def test_a_received_order_waits_for_its_worker() -> None:
    waiting = searches(waiting=(12, 0))
    assert advice(order("RECEIVED"), None, execution(), found=waiting) == (
        "wait: its message is in OrderFulfillmentQueue, or a worker has it"
        f" (inferred: its execution has ended, and about 12 messages are there){OR_CANCEL}"
    )
    aged = searches(waiting=(12, 0), oldest_s=120)
    assert "12 messages are there, the oldest for 2m)" in advice(order("RECEIVED"), None, execution(), found=aged)
    unknown = advice(order("RECEIVED"), None, Execution(ONE, problem="does not exist"), found=waiting)
    assert "(inferred: it is RECEIVED, and about 12 messages are there)" in unknown
    assert advice(order("RECEIVED"), None, execution()) == (
        "wait until 12:04:00 UTC: SQS counts no message in OrderFulfillmentQueue, but its counts may be late;"
        " if the order is still RECEIVED then, its message is lost" + OR_CANCEL
    )


def test_an_order_whose_execution_runs_waits_for_it() -> None:
    running = execution(ONE, "RUNNING")
    expected = f"wait: its execution {submission_name('001', 1)} is running"
    assert advice(order("RECEIVED"), None, running) == expected
    assert advice(None, None, running) == expected
    assert advice(order("ESCALATED", ExecutionArn=TWO), case(), execution(TWO), running) == expected


def test_an_execution_that_ran_out_long_ago_is_not_waited_for() -> None:
    stale = execution(ONE, "RUNNING", age_s=7200)
    assert advice(order("RECEIVED", 7200), None, stale).startswith("its message is lost")


def test_a_received_order_whose_queue_is_empty_has_lost_its_message() -> None:
    assert advice(order("RECEIVED", 301), None, execution()) == (f"its message is lost; {REQUEUE}{OR_CANCEL}")


def test_a_received_order_that_is_older_than_all_messages_has_lost_its_own() -> None:
    def step(age_s: float, attempts: object = 2) -> str:
        found = searches(waiting=(5, 0), oldest_s=100)
        return advice(order("RECEIVED", age_s, Attempts=attempts), None, execution(), found=found)

    assert step(400).startswith("wait: "), "the age from CloudWatch is some minutes late"
    assert step(401) == (
        "its message is probably lost (inferred: the oldest one in OrderFulfillmentQueue is younger than the order); "
        f"{REQUEUE}{OR_CANCEL}"
    )
    assert step(401, attempts=3).startswith("wait: "), "what was received three times is not counted"
    assert step(401, attempts="edited").startswith("its message is probably lost")


@pytest.mark.parametrize(
    "ended",
    [
        Execution(ONE, problem="does not exist, or no longer"),
        Execution(ONE, problem="these credentials do not allow GetExecutionHistory"),
        execution(ONE, "RUNNING", "Are details Proper", age_s=7200),
    ],
)
def test_an_order_that_nothing_shows_to_be_verified_is_escalated_and_not_sent(ended: Execution) -> None:
    escalate = f"escalate the order, as nothing shows that it was verified: {ESCALATE}"
    assert advice(order("RECEIVED", 400), None, ended) == f"its message is lost; {escalate}{OR_CANCEL}"
    long_ago = advice(order("RECEIVED", 7200), None, ended, found=searches(waiting=(5, 0)))
    assert long_ago.endswith(f"if it is lost, {escalate}{OR_CANCEL}")


def test_an_order_that_was_received_long_ago_may_lack_a_worker() -> None:
    assert advice(order("RECEIVED", 3600), None, execution(), found=searches(waiting=(5, 0))) == (
        "check with `orders queues` that the fulfillment workers run: its message is in OrderFulfillmentQueue, or a"
        " worker has it (inferred: its execution has ended, and about 5 messages are there);"
        f" if it is lost, {REQUEUE}{OR_CANCEL}"
    )


def test_a_queue_that_could_not_be_read_is_not_called_empty() -> None:
    unread = searches(waiting=(None, None))
    assert advice(order("RECEIVED", 400), None, execution(), found=unread).startswith("wait: ")
    assert advice(order("RECEIVED", 4000), None, execution(), found=unread).endswith(
        f"if it is lost, {REQUEUE}{OR_CANCEL}"
    )


@pytest.mark.parametrize(
    "ended", [("FAILED", TO_FULFILLMENT), ("ABORTED", "Are details Proper"), ("SUCCEEDED", TO_ESCALATION)]
)
def test_a_received_order_without_a_message_to_fulfill_it_waits_for_its_escalation(ended: tuple[str, str]) -> None:
    known = execution(ONE, *ended)
    assert advice(order("RECEIVED"), None, known) == "wait: its escalation is on the way" + OR_CANCEL
    assert advice(order("RECEIVED", 400), None, known, found=searches(waiting=(0, 1))).startswith("wait: ")
    assert advice(order("RECEIVED", 300), None, known).startswith("its execution ended without a message")
    assert advice(order("RECEIVED", 400), None, known) == (
        f"its execution ended without a message to a worker; open a case: {ESCALATE}{OR_CANCEL}"
    )


def test_an_order_whose_history_cannot_be_read_is_as_any_other() -> None:
    unknown = Execution(ONE, problem="these credentials do not allow GetExecutionHistory")
    assert advice(order("RECEIVED"), None, unknown).startswith("wait until 12:04:00 UTC: ")


@pytest.mark.parametrize("arn", [ONE, None])
def test_the_dead_letter_of_a_received_order_is_replayed(arn: str | None) -> None:
    replay = "replay its dead letter: `orders dead-letters replay {0} --order 001 --yes`"
    assert advice(order("RECEIVED"), None, execution(), found=searches((letter(arn),))) == replay.format("fulfillment")
    assert advice(order("RECEIVED"), None, execution(), found=searches((), (letter(arn),))) == replay.format(
        "escalation"
    )


def test_a_dead_letter_is_selected_by_its_id_if_the_order_has_others_that_have_no_effect() -> None:
    found = searches((letter(TWO, name="old"), letter(name="current")))
    assert advice(order("RECEIVED"), None, execution(), found=found) == (
        "replay its dead letter: `orders dead-letters replay fulfillment --id current --yes`"
    )


def test_a_dead_letter_that_cannot_be_decoded_is_not_replayed() -> None:
    found = searches((letter(reason="UNDECODABLE_MESSAGE: OrderId is no string"),))
    assert advice(order("RECEIVED", 301), None, execution(), found=found).startswith(
        "its message is lost; send it again"
    )


def test_a_notice_without_an_order_id_is_selected_by_its_id() -> None:
    found = searches((), (letter(order_id=None, name="-m"),))
    assert advice(order("RECEIVED"), None, execution(), found=found) == (
        "replay its dead letter: `orders dead-letters replay escalation --id -m --yes`"
    )


@pytest.mark.parametrize(
    ("reasons", "corrections"),
    [(["INVALID_PRICE"], "--price PRICE "), (["INVALID_CARD_NUMBER"], ""), (["FULFILLMENT_EXHAUSTED"], "")],
)
def test_an_escalated_order_has_its_case_resolved(reasons: list[str], corrections: str) -> None:
    assert advice(order("ESCALATED"), case("OPEN", *reasons), execution()) == RESOLVE.format(corrections, EITHER)


def test_the_case_of_an_order_that_was_never_recorded_needs_the_whole_order() -> None:
    whole = "--name TEXT --item TEXT --price PRICE "
    assert advice(None, case("OPEN", "MALFORMED_ORDER"), execution()) == RESOLVE.format(whole, OR_CANCEL_CASE)
    notice = {"CaseId": "two", "State": "OPEN", "Reasons": ["WORKFLOW_FAILED"]}
    assert advice(None, notice, execution(TWO), key="two") == RESOLVE.format(
        f"--order ORDER_ID {whole}", OR_CANCEL_CASE
    ).replace("001", "two")


def test_a_key_that_the_shell_would_split_is_quoted() -> None:
    notice = {"CaseId": "a b", "State": "OPEN", "Reasons": ["WORKFLOW_FAILED"]}
    assert "`orders escalations resolve 'a b' resubmit " in advice(None, notice, key="a b")


def test_the_case_of_an_undecodable_message_is_closed_once_the_message_was_read() -> None:
    key = "message-m-0"
    undecodable = {"CaseId": key, "State": "OPEN", "Reasons": ["UNDECODABLE_MESSAGE"]}
    close = "lose its case: `orders escalations resolve message-m-0 close --actor NAME --note TEXT`"
    assert advice(None, undecodable, key=key) == f"c{close}"
    found = searches((letter(None, "UNDECODABLE_MESSAGE: neither", None),))
    assert advice(None, undecodable, key=key, found=found) == (
        f"read the message: `orders dead-letters list fulfillment --id m-1 --bodies`; then c{close};"
        " then discard it: `orders dead-letters discard fulfillment --id m-1 --yes`"
    )


def test_an_escalated_order_without_an_open_case_gets_one() -> None:
    assert advice(order("ESCALATED"), None, execution()) == f"it has no case; open one: {ESCALATE}"


def test_an_escalated_order_whose_resubmission_recorded_nothing_is_submitted_again() -> None:
    assert advice(order("ESCALATED"), case("RESOLVED"), execution()) == (
        "look again in a minute: its resubmission has not recorded it yet;"
        " if that stays so, submit it again: `orders submit FILE --submission 2`"
    )


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_final_order_needs_nothing(status: str) -> None:
    for known in (None, case("RESOLVED")):
        assert advice(order(status), known, execution()) == f"nothing: the order is {status}"
    assert advice(order(status), None, execution(TWO, "RUNNING"), execution()) == f"nothing: the order is {status}"


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_the_case_that_a_final_order_has_left_open_is_closed(status: str) -> None:
    close = f": `orders escalations resolve 001 close {WHO}`"
    assert advice(order(status, 1), case(), execution()) == f"close its case{close}"
    opened_by_it = case(Order={"ExecutionArn": ONE})
    assert advice(order(status, 1), opened_by_it, execution()) == f"close its case{close}"
    earlier = case(Order={"ExecutionArn": TWO})  # The escalation worker closes it: the order was resubmitted.
    assert advice(order(status, 60), earlier, execution()) == f"close its case{close}"
    assert advice(order(status, 59), earlier, execution()) == f"close its case, if it is still open in a minute{close}"


SHIPPED = {"Evidence": [{"Detail": "Shipped as S-1, but the order is CANCELLED now."}]}
ASK = "ask the provider whether it shipped the order"


@pytest.mark.parametrize(
    ("status", "shipped", "unknown"),
    [
        (
            "CANCELLED",
            (
                "; if it did, let it stop or take back the shipment; then, if it did: `{0} close --actor NAME"
                " --note 'shipped as S-1'`; if not: `{0} close --actor NAME --note 'not shipped'`"
            ),
            "--note shipped`",
        ),
        (
            "FULFILLED",
            (
                "; then, if it did: `{0} close --actor NAME --note 'shipped as S-1'`;"
                " if not: `{0} close --actor NAME --note 'not shipped'`"
            ),
            "--note shipped`",
        ),
        (
            None,
            (
                "; then, if it did: `{0} close --actor NAME --note 'shipped as S-1'`;"
                " if not: `{0} close --actor NAME --note 'not shipped'`"
            ),
            "--note shipped`",
        ),
        (
            "RECEIVED",
            (
                "; then, if it did: `orders cancel 001 --note 'shipped as S-1'`;"
                " if not: `{0} close --actor NAME --note 'not shipped'`"
            ),
            "`orders cancel 001 --note shipped`",
        ),
        (
            "ESCALATED",
            "; then, if it did: `{0} fulfill --shipment-id S-1 {1}`; if not: `{0} resubmit {1}`, or `{0} cancel {1}`",
            "fulfill --shipment-id ID ",
        ),
    ],
)
def test_the_provider_is_asked_about_a_shipment_that_was_not_recorded(
    status: str | None, shipped: str, unknown: str
) -> None:
    stored = order(status, 1) if status else None
    found = searches((letter(),))  # It must not be replayed before: the order could be shipped twice.
    line = advice(stored, case("OPEN", "UNRECORDED_SHIPMENT", **SHIPPED), execution(), found=found)
    assert line == f"{ASK} as S-1" + shipped.format("orders escalations resolve 001", WHO)
    line = advice(stored, case("OPEN", "UNRECORDED_SHIPMENT"), execution())
    assert line.startswith(f"{ASK};")
    assert unknown in line


def test_of_two_shipments_the_last_one_counts() -> None:
    evidence = [{"Detail": f"Shipped as {each}, but the order is CANCELLED now."} for each in ("S-1", "S-2", "S-1")]
    evidence.insert(0, {"Detail": "The provider is down."})
    line = advice(order("ESCALATED"), case("OPEN", "UNRECORDED_SHIPMENT", Evidence=evidence), execution())
    assert line.startswith(f"{ASK} as S-1 and S-2; then, if it did: ")
    assert "fulfill --shipment-id S-2 " in line


def test_a_shipment_that_was_looked_into_is_not_asked_about_again() -> None:
    known = case("RESOLVED", "UNRECORDED_SHIPMENT", **SHIPPED)
    assert advice(order("CANCELLED"), known, execution()) == "nothing: the order is CANCELLED"


def test_the_case_of_a_dead_letter_is_closed_before_the_letter_is_discarded() -> None:
    bad = replace(letter(None, "UNDECODABLE_MESSAGE: neither"), origin_message_id="o-1")
    discard = "discard its dead letter, which has no effect: `orders dead-letters discard fulfillment {0} --yes`"
    assert advice(order("FULFILLED"), found=searches((bad,)), related_cases={"message-o-1": {"State": "OPEN"}}) == (
        "the order is FULFILLED; read its dead letter: `orders dead-letters list fulfillment --order 001 --bodies`;"
        f" then close that message's case: `orders escalations resolve message-o-1 close {WHO}`"
    )
    resolved = {"message-o-1": {"State": "RESOLVED"}}
    assert advice(order("FULFILLED"), found=searches((bad,)), related_cases=resolved) == (
        "the order is FULFILLED; " + discard.format("--order 001")
    )
    closed = {"CaseId": "message-o-1", "State": "RESOLVED", "Reasons": ["UNDECODABLE_MESSAGE"]}
    line = advice(None, closed, key="message-o-1", found=searches((replace(bad, order_id=None),)))
    assert line == discard.format("--id m-1")


def test_a_case_whose_order_has_another_id_leads_to_the_order() -> None:
    resubmitted = {"CaseId": "message-o-1", "State": "RESOLVED", "Reasons": ["UNDECODABLE_MESSAGE"]}
    for status in OrderStatus:
        assert advice(order(status), resubmitted, execution(), key="message-o-1") == (
            "look at its order: `orders show 001`"
        )


def test_dead_letters_that_were_not_looked_at_are_said() -> None:
    first, second = searches()
    found = (replace(first, problem="SQS says no"), second)
    assert advice(order("FULFILLED"), found=found) == (
        "nothing: the order is FULFILLED; but not all dead letters of OrderFulfillmentQueue are known"
    )


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_the_dead_letter_of_a_final_order_has_no_effect(status: str) -> None:
    assert advice(order(status), None, execution(), found=searches((letter(),))) == (
        f"the order is {status}; discard its dead letter, which has no effect:"
        " `orders dead-letters discard fulfillment --order 001 --yes`"
    )


def test_an_order_that_was_never_recorded_is_submitted() -> None:
    failed = execution(ONE, "FAILED", "Check the order")
    assert advice(None, None, failed) == "submit it, it was never recorded: `orders submit FILE --submission 2`"
    assert advice(None, None, failed, found=searches(waiting=(0, 2))) == "wait: its escalation is on the way"
    assert advice(found=searches((letter(),))) == (
        "submit it, it was never recorded: `orders submit FILE`; then discard its dead letter,"
        " which has no effect: `orders dead-letters discard fulfillment --order 001 --yes`"
    )
    assert advice(found=searches((), (letter(),))).startswith("replay its dead letter: ")


def test_an_order_that_the_table_does_not_have_any_more_needs_nothing() -> None:
    assert advice(None, None, execution(ONE, "SUCCEEDED", "Are details Proper", TO_FULFILLMENT)) == (
        "nothing: the order table does not have it any more"
    )
    assert advice(None, case("RESOLVED")) == "nothing: its case is resolved"


def test_a_case_that_was_merged_leads_to_the_order() -> None:
    merged = {"CaseId": "two", "State": "RESOLVED", "MergedInto": "001"}
    assert advice(None, merged, execution(TWO), key="two").endswith("merged into: `orders show 001`")


def test_an_unknown_status_is_to_be_corrected() -> None:
    assert advice(order("HELD"), case(), execution()) == (
        "correct its Status in the order table: it must be one of RECEIVED, FULFILLED, ESCALATED, CANCELLED"
    )


@pytest.mark.parametrize("status", [*OrderStatus, None])
@pytest.mark.parametrize("state", [*CaseState, None])
@pytest.mark.parametrize("ended", [None, "SUCCEEDED", "FAILED", "RUNNING"])
@pytest.mark.parametrize("letters", [(), (letter(),), (letter(TWO, "UNDECODABLE_MESSAGE"),)])
@pytest.mark.parametrize("age_s", [1, 10**6])
def test_every_combination_has_a_next_step(
    status: str | None, state: str | None, ended: str | None, letters: tuple[DeadLetter, ...], age_s: int
) -> None:
    for found in (searches(letters), searches((), letters), searches(letters, waiting=(None, None))):
        line = advice(
            order(status, age_s) if status else None,
            case(state, "INVALID_PRICE") if state else None,
            *([execution(ONE, ended, age_s=age_s)] if ended else []),
            found=found,
        )
        assert line


def test_an_order_that_waits_for_five_minutes_without_a_message_has_lost_it() -> None:
    assert advice(order("RECEIVED", 299), None, execution()).startswith("wait until 12:00:01 UTC: ")
    assert advice(order("RECEIVED", 300), None, execution()).startswith("its message is lost; ")
    edited = order("RECEIVED", UpdatedAt="yesterday")
    assert advice(edited, None, execution()).startswith("wait until 12:05:00 UTC: "), "from now on"


def test_the_next_step_of_a_case_whose_dead_letters_were_not_looked_for() -> None:
    at = ago(60)
    opened = Case(case_id="001", state=CaseState.OPEN, severity=Severity.WARNING, opened_at=at, updated_at=at)
    closed = replace(opened, state=CaseState.RESOLVED)
    escalated = Order("001", OrderStatus.ESCALATED, ONE)
    done = replace(escalated, status=OrderStatus.FULFILLED)
    assert next_step_of_case(opened, escalated, NOW).startswith("resolve its case: `orders escalations resolve 001 ")
    assert next_step_of_case(opened, done, NOW) == f"close its case: `orders escalations resolve 001 close {WHO}`"
    looks = "`orders show 001` looks for dead letters, too"
    assert next_step_of_case(closed, done, NOW) == f"nothing: the order is FULFILLED; {looks}"
    assert next_step_of_case(closed, None, NOW) == f"nothing: its case is resolved; {looks}"
