"""A person resolves cases in a browser: a form, what would change, and what came of each."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.workers.console.desk import Desk
from tests.workers.console.site import READ_ONLY, Page, Site
from tests.workers.fakes import NOW, order
from tests.workers.operations.fakes import refused
from workers.console.pages.resolve import JOBS
from workers.console.resolving import MAX_CASES, Job
from workers.domain.cases import CaseState
from workers.domain.resolutions import Action, Request
from workers.operations.errors import OperationError
from workers.operations.status import Status

CARD = "4929123412345678"
WHO = {"actor": "ada", "note": "as agreed"}
STATUS = Status(at=NOW)
HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{7*7}}\u202e"


async def preview(site: Site, case_id: str = "1", **fields: str) -> Page:
    """Send the form of a case, and return what it leads to."""
    form = (await site.get(f"/cases/{case_id}/resolve")).forms[0]
    sent = await site.submit(form, **(WHO | fields))
    return await site.get(sent.headers["Location"]) if sent.status == 303 else sent


async def confirm(site: Site, page: Page, **fields: str) -> Page:
    """Confirm a preview, wait until the work has ended, and return what came of it."""
    sent = await site.submit(page.forms[0], **fields)
    if sent.status != 303:
        return sent
    await ended(site)
    return await site.get(sent.headers["Location"])


async def ended(site: Site) -> None:
    await asyncio.gather(*(job.task for job in jobs(site) if job.task is not None), return_exceptions=True)


def jobs(site: Site) -> list[Job]:
    return list(site.application[JOBS]._jobs)


async def test_a_case_is_resubmitted_with_a_card_number_that_is_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    with capture_logs() as lines:
        async with Site.started(status=STATUS) as site:
            seen = await preview(site, action="resubmit", price="80000")
            assert seen.tables[0][1:] == [
                ["Order", "1", "stays"],
                ["Name", "Ada", "stays"],
                ["Item", "Bicycle", "stays"],
                ["Price", "-123", "80000"],
                ["Status", "ESCALATED", "RECEIVED"],
                [
                    "Card number",
                    "************5678",
                    "16 digits. It is sent to the workflow only; nothing here keeps it.",
                ],
            ]
            assert "By ada: as agreed" in seen.text
            assert desk.executions.started == {}
            async with site.refreshing():
                done = await confirm(site, seen, **{"card.0": "4929 1234 1234 5678"})
            assert done.tables[0][1] == ["1", "resolved", "resubmit, card ending in 5678 · order 1"]
            assert CARD not in done.html + seen.html + repr(jobs(site)[0].plan)
    (started,) = desk.executions.started.values()
    assert (started["CC"], started["Price"]) == (CARD, "80000")
    assert desk.cases["1"].state is CaseState.RESOLVED
    (line,) = [line for line in lines if line["event"] == "console.action"]
    assert (line["action"], line["actor"], line["note"], line["targets"]) == ("resolve", "ada", "as agreed", ["1"])
    assert line["outcome"] == "resubmit: 1 resolved"
    assert CARD not in str(lines)


async def test_the_card_field_is_of_a_kind_that_browsers_do_not_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="resubmit", price="80000")
        field = seen.main.one("input", type="password")
        assert (field.attributes["autocomplete"], field.attributes.get("value")) == ("off", None)
        assert [each.attributes["name"] for each in seen.main.all("input", type="hidden")] == ["csrf"]


@pytest.mark.parametrize(
    ("action", "fields", "changes", "ends"),
    [
        ("fulfill", {"shipment_id": "S-1"}, [["Shipment", "none", "S-1"]], "FULFILLED"),
        ("cancel", {}, [], "CANCELLED"),
    ],
)
async def test_an_order_is_fulfilled_or_cancelled(
    monkeypatch: pytest.MonkeyPatch, action: str, fields: dict[str, str], changes: list[list[str]], ends: str
) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action=action, **fields)
        assert seen.tables[0][1:] == [["Status", "ESCALATED", ends], *changes]
        assert desk.states() == [("OPEN", "ESCALATED")]
        done = await confirm(site, seen)
        assert "1 resolved" in done.text
    assert desk.states() == [("RESOLVED", ends)]


@pytest.mark.parametrize("shipment_id", ["4929123412345678", "a b", "W" * 5_000])
async def test_a_stored_shipment_id_that_no_person_could_give_is_said(
    monkeypatch: pytest.MonkeyPatch, shipment_id: str
) -> None:
    desk = Desk(monkeypatch)
    desk.orders["1"] = replace(desk.orders["1"], shipment_id=shipment_id)
    async with Site.started(status=STATUS) as site:
        page = await site.get("/cases/1/resolve")
        refused_actions = [
            each.attributes["value"] for each in page.main.all("input", type="radio") if "disabled" in each.attributes
        ]
        assert (page.status, refused_actions) == (200, ["fulfill", "close"])
        assert shipment_id not in page.html


async def test_a_case_whose_order_is_final_is_closed_and_what_is_not_possible_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch)
    desk.orders["1"] = order("FULFILLED", "1", shipment_id="S-9")
    async with Site.started(status=STATUS) as site:
        form = await site.get("/cases/1/resolve")
        possible = [
            each.attributes["value"]
            for each in form.main.all("input", type="radio")
            if "disabled" not in each.attributes
        ]
        assert possible == ["fulfill", "close"]
        assert "the order is already FULFILLED; close closes its case" in form.text
        done = await confirm(site, await preview(site, action="close"))
        assert "1 resolved" in done.text
    assert desk.states() == [("RESOLVED", "FULFILLED")]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"action": ""}, "choose what to do"),
        ({"action": "delete"}, "choose what to do"),
        ({"action": "cancel", "actor": " "}, "your name must be 1 to 128"),
        ({"action": "cancel", "note": ""}, "the note must be 1 to 1,000"),
        ({"action": "cancel", "note": "x" * 1001}, "the note must be 1 to 1,000"),
        ({"action": "fulfill"}, "needs a shipment id"),
        ({"action": "fulfill", "shipment_id": CARD}, "masked"),
        ({"action": "resubmit"}, "Price must be a price above 0"),
        ({"action": "resubmit", "price": "1.234"}, "Price must be"),
        ({"action": "resubmit", "price": CARD}, "Price must be"),
        ({"action": "resubmit", "price": "5", "name": "x" * 300}, "malformed: Name"),
        ({"action": "close"}, "close would leave it waiting"),
        ({"action": "cancel", "episode": "x"}, "load the page again"),
        ({"action": "cancel", "episode": "7"}, "opened again meanwhile"),
    ],
)
async def test_what_is_wrong_in_the_form_is_said_and_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], problem: str
) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        answer = await preview(site, **fields)
        assert answer.status == 400
        assert problem in (answer.main.one(role="alert").text if "shipment_id" not in fields else answer.text)
        assert CARD not in answer.html
        assert jobs(site) == []
    assert desk.states() == [("OPEN", "ESCALATED")]


@pytest.mark.parametrize("card", ["", "   ", "1234", "492912341234567x", "4929123412345678" * 3])
async def test_a_wrong_card_number_is_asked_for_again_and_not_shown(monkeypatch: pytest.MonkeyPatch, card: str) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="resubmit", price="5")
        again = await confirm(site, seen, **{"card.0": card})
        assert again.status == 400
        assert again.main.one("input", type="password").attributes.get("value") is None
        assert not card.strip() or card not in again.html
        assert "Type the card number again: " in again.main.one(role="alert").text
        done = await confirm(site, again, **{"card.0": CARD})
        assert "1 resolved" in done.text
    assert len(desk.executions.started) == 1


@pytest.mark.parametrize("field", ["name", "item_name", "note", "actor"])
async def test_a_card_number_in_a_wrong_field_is_masked_at_once(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    desk = Desk(monkeypatch)
    with capture_logs() as lines:
        async with Site.started(status=STATUS) as site:
            seen = await preview(site, **({"action": "resubmit", "price": "5"} | {field: f"x {CARD}"}))
            done = await confirm(site, seen, **{"card.0": "5500000000000004"})
            assert "1 resolved" in done.text
            assert CARD not in seen.html + done.html
    (started,) = desk.executions.started.values()
    assert CARD not in str(started) + str(lines) + str(desk.cases)


async def test_a_double_click_and_a_step_back_do_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    with capture_logs() as lines:
        async with Site.started(status=STATUS) as site:
            seen = await preview(site, action="resubmit", price="5")
            both = await asyncio.gather(*(site.submit(seen.forms[0], **{"card.0": CARD}) for _ in range(2)))
            assert [each.status for each in both] == [303, 303]
            await ended(site)
            late = await confirm(site, seen, **{"card.0": CARD})
            assert "1 resolved" in late.text
    assert len(desk.executions.started) == 1
    assert [line["event"] for line in lines].count("console.action") == 1


async def test_of_two_tabs_the_second_is_told_who_was_first(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        first, second = await preview(site, action="cancel"), await preview(site, action="fulfill", shipment_id="S-1")
        assert "1 resolved" in (await confirm(site, first)).text
        told = await confirm(site, second)
        assert "already resolved by ada" in told.text
        assert "1 failed" in told.text
    assert desk.states() == [("RESOLVED", "CANCELLED")]


async def test_a_case_that_orders_has_resolved_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="fulfill", shipment_id="S-1")
        await desk.resolver.resolve("1", Request(action=Action.CANCEL, actor="bob", note="left"))
        told = await confirm(site, seen)
        assert "already resolved by bob" in told.text
        form = await site.get("/cases/1/resolve")
        assert "cancel by bob" in form.text
        assert form.forms == []


async def test_a_case_that_was_opened_again_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, 2)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="cancel")
        desk.open_again("1")
        assert "opened again meanwhile" in (await confirm(site, seen)).text
        of_many = await many(site, ["1:1", "1:2"], action="resubmit", **{"price.0": "5", "price.1": "5"})
        assert [row[2].partition(",")[0] for row in of_many.tables[0][1:]] == [
            "the case has been opened again meanwhile",
            "resubmit",
        ]
    assert desk.states()[0] == ("OPEN", "ESCALATED")


async def many(site: Site, cases: list[str], **fields: Any) -> Page:
    """Post the cases of a list, send the form that comes, and return the preview."""
    form = await site.post("/cases/resolve", case=cases)
    assert form.status == 200
    sent = await site.submit(form.forms[0], **(WHO | fields))
    return await site.get(sent.headers["Location"]) if sent.status == 303 else sent


async def test_ten_cases_are_resolved_at_once_and_each_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, 10)
    desk.orders["4"] = order("RECEIVED", "4")
    async with Site.started(status=STATUS) as site:
        seen = await many(site, [f"1:{n}" for n in range(1, 11)] + ["1:unknown"], action="cancel")
        assert seen.forms[0].labels == ["Cancel 9 cases"]
        assert seen.tables[0][1][0] == "1 Ada"
        assert ["4", "nothing", "the order is RECEIVED: it is in progress, not escalated"] in seen.tables[0]
        done = await confirm(site, seen)
        assert "9 resolved, 2 failed" in done.text
        assert [row[1] for row in done.tables[0][1:]] == [*["resolved"] * 3, "failed", *["resolved"] * 6, "failed"]
        assert done.main.all("input", type="checkbox") == []
    assert desk.states().count(("RESOLVED", "CANCELLED")) == 9


async def test_of_many_resubmissions_each_has_its_card_field_and_an_empty_one_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(monkeypatch, 3)
    async with Site.started(status=STATUS) as site:
        prices = {f"price.{n}": f"{n + 1}" for n in range(3)}
        seen = await many(site, ["1:1", "1:2", "1:3"], action="resubmit", **prices)
        assert len(seen.main.all("input", type="password")) == 3
        assert (await confirm(site, seen)).status == 400
        wrong = await confirm(site, seen, **{"card.0": CARD, "card.1": "12"})
        assert wrong.status == 400
        assert CARD not in wrong.html + repr(jobs(site)[0].plan)
        done = await confirm(site, seen, **{"card.0": CARD, "card.2": CARD})
        assert "2 resolved, 1 failed" in done.text
        again = await site.submit(done.forms[0])
        rest = await site.get(again.headers["Location"])
        assert "1 resolved" in (await confirm(site, rest, **{"card.0": CARD})).text
    assert sorted(each["Price"] for each in desk.executions.started.values()) == ["1", "2", "3"]
    assert [each.state for each in desk.cases.values()] == ["RESOLVED"] * 3


async def test_many_are_fulfilled_by_their_own_shipments(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, 2)
    async with Site.started(status=STATUS) as site:
        refused = await many(site, ["1:1", "1:2"], action="fulfill", **{"shipment_id.0": "S-1"})
        assert refused.status == 400
        seen = await site.submit(refused.forms[0], action="fulfill", **{"shipment_id.1": "S-2"})
        await confirm(site, await site.get(seen.headers["Location"]))
    assert [each.shipment_id for each in desk.orders.values()] == ["S-1", "S-2"]


async def test_three_hundred_cases_are_resolved_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, 300)
    async with Site.started(status=STATUS) as site:
        seen = await many(site, [f"1:{n}" for n in range(1, 301)], action="cancel")
        assert "300 resolved" in (await confirm(site, seen)).text
    assert set(desk.states()) == {("RESOLVED", "CANCELLED")}


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        ([], "Select at least one case"),
        ([f"1:{n}" for n in range(MAX_CASES + 1)], "At most 500 cases can be resolved at once; 501 are selected"),
        (["004"], "which episode"),
        (["\u0661:004"], "which episode"),
        (["1000000000:004"], "which episode"),
        (["1:"], "which episode"),
    ],
)
async def test_a_selection_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, cases: list[str], text: str
) -> None:
    Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        refused = await site.post("/cases/resolve", case=cases)
        assert refused.status == 400
        assert text in refused.text


async def test_only_what_an_action_needs_is_taken_from_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="cancel", shipment_id="S-1", price="7")
        (job,) = jobs(site)
        (step,) = job.plan.steps
        assert (step.decision.request.shipment_id, step.decision.corrections) == (None, {})
        assert seen.tables[0][1:] == [["Status", "ESCALATED", "CANCELLED"]]
        await preview(site, action="fulfill", shipment_id="S-1", price="7")
        (step,) = jobs(site)[1].plan.steps
        assert (step.decision.request.shipment_id, step.decision.corrections) == ("S-1", {})
    assert desk.orders["1"].price == "-123"


async def test_what_was_typed_stays_in_a_form_that_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(monkeypatch, 2)
    typed = {"action": "fulfill", "shipment_id": "S 1", "price": "7", "name": "x", "actor": "grace", "note": "n"}
    async with Site.started(status=STATUS) as site:
        form = (await preview(site, **typed)).forms[0]
        assert {name: form.fields[name] for name in typed} == {name: [value] for name, value in typed.items()}
        page = await site.get("/cases/1/resolve?action=cancel")
        assert page.forms[0].fields["action"] == ["cancel"]
        assert page.links["Back to the case"] == "/cases/1"
        for_many = {"price.1": "7", "shipment_id.0": "S-1", "actor": "grace", "note": "n", "action": "fulfill"}
        refused_form = await many(site, ["1:1", "1:2"], **for_many)
        form = refused_form.forms[0]
        assert (refused_form.status, form.fields["case"]) == (400, ["1:1", "1:2"])
        assert {name: form.fields[name] for name in for_many} == {name: [value] for name, value in for_many.items()}


async def test_a_form_for_many_says_which_cases_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        form = await site.post("/cases/resolve", case=["1:1", "1:unknown"])
        assert [row[:1] for row in form.tables[0][1:]] == [["1"], ["unknown"]]
        assert form.tables[0][1][1:5] == ["ESCALATED", "INVALID_CARD_NUMBER", "Ada, Bicycle", "-123"]
        assert "there is no case" in form.tables[0][2][1]


async def test_what_is_at_work_or_done_is_not_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, go_on = Desk(monkeypatch), asyncio.Event()
    desk.executions.before = go_on.wait
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="resubmit", price="5")
        sent = await site.submit(seen.forms[0], **{"card.0": CARD})
        here = sent.headers["Location"]
        assert (await site.post(f"{here}/again")).headers["Location"] == here
        go_on.set()
        await ended(site)
        assert (await site.post(f"{here}/again")).headers["Location"] == here
        assert len(jobs(site)) == 1
        at_end = await site.get(here)
        assert "hx-sse:connect" not in at_end.main.one(id="live").attributes


async def test_it_goes_on_without_its_page_and_shows_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, go_on = Desk(monkeypatch, 2), asyncio.Event()
    desk.executions.before = go_on.wait
    async with Site.started(status=STATUS) as site:
        seen = await many(site, ["1:1", "1:2"], action="resubmit", **{"price.0": "5", "price.1": "5"})
        sent = await site.submit(seen.forms[0], **{"card.0": CARD, "card.1": CARD})
        at_work = await site.get(sent.headers["Location"])
        assert "0 of 2 cases done" in at_work.text
        async with site.stream(at_work.main.one(id="live").attributes["hx-sse:connect"]) as events:
            assert "0 of 2 cases done" in (await events.next()).text
            go_on.set()
            while "2 resolved" not in (last := await events.next()).text:
                pass
            assert CARD not in last.html
        assert CARD not in repr(jobs(site)[0].plan)


async def test_a_stop_finishes_what_is_being_worked_on_and_says_what_was_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, go_on, started = Desk(monkeypatch, 20), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await go_on.wait()

    desk.executions.before = wait
    async with Site.started(status=STATUS) as site:
        prices = {f"price.{n}": "5" for n in range(20)}
        seen = await many(site, [f"1:{n}" for n in range(1, 21)], action="resubmit", **prices)
        sent = await site.submit(seen.forms[0], **{f"card.{n}": CARD for n in range(20)})
        await started.wait()
        at_work = await site.get(sent.headers["Location"])
        for _ in range(2):  # Once more: the cases are still finished.
            stopping = await site.submit(at_work.forms[0])
            assert stopping.headers["Location"] == sent.headers["Location"]
        go_on.set()
        await ended(site)
        stopped = await site.get(sent.headers["Location"])
        assert "Stopped: 8 resolved, 12 not tried" in stopped.text
        rest = await site.get((await site.submit(stopped.forms[0])).headers["Location"])
        assert "12 resolved" in (await confirm(site, rest, **{f"card.{n}": CARD for n in range(12)})).text
    assert len(desk.executions.started) == 20


async def test_the_end_of_the_console_finishes_what_is_being_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, go_on, started = Desk(monkeypatch, 20), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await go_on.wait()

    desk.executions.before = wait
    with capture_logs() as lines:
        async with Site.started(status=STATUS) as site:
            prices = {f"price.{n}": "5" for n in range(20)}
            seen = await many(site, [f"1:{n}" for n in range(1, 21)], action="resubmit", **prices)
            await site.submit(seen.forms[0], **{f"card.{n}": CARD for n in range(20)})
            await started.wait()
            stopping = asyncio.create_task(go_on_when_stopped(jobs(site)[0], go_on))
    await stopping
    assert desk.states().count(("RESOLVED", "ESCALATED")) == 8
    assert [line["outcome"] for line in lines if line["event"] == "console.action"] == [
        "resubmit: 8 resolved, 12 not tried"
    ]


async def test_the_end_of_the_console_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, started = Desk(monkeypatch), asyncio.Event()
    monkeypatch.setattr("workers.console.resolving.STOP_S", 0.01)

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    desk.executions.before = hang
    async with Site.started(status=STATUS) as site:
        seen = await preview(site, action="resubmit", price="5")
        await site.submit(seen.forms[0], **{"card.0": CARD})
        await started.wait()
        (job,) = jobs(site)
    assert (job.is_running, CARD in repr(job.plan)) == (False, False)


async def go_on_when_stopped(job: Job, go_on: asyncio.Event) -> None:
    while not job.stopped:  # noqa: ASYNC110 - the stop tells nobody else.
        await asyncio.sleep(0)
    go_on.set()


@pytest.mark.parametrize(
    ("error", "text", "events"),
    [
        (OperationError("the table is gone"), "the table is gone", []),
        (refused("AccessDenied", "GetItem", 403), "these credentials do not allow", []),
        (ZeroDivisionError(CARD), "an internal error; the console's log has it", ["console.failed"]),
    ],
)
async def test_what_fails_as_a_whole_is_said_and_only_internal_errors_are_logged(
    error: Exception, text: str, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise error

    Desk(monkeypatch)
    monkeypatch.setattr("workers.console.resolving.carry_out", fail)
    with capture_logs() as lines:
        async with Site.started(status=STATUS) as site:
            done = await confirm(site, await preview(site, action="cancel"))
            assert text in done.main.one(role="alert").text
            assert "1 not tried" in done.text
    assert [line["event"] for line in lines] == [*events, "console.action"]


async def test_only_few_are_at_work_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, go_on = Desk(monkeypatch, 5), asyncio.Event()
    desk.executions.before = go_on.wait
    async with Site.started(status=STATUS) as site:
        pages = [await preview(site, str(n), action="resubmit", price="5") for n in range(1, 6)]
        answers = [await site.submit(page.forms[0], **{"card.0": CARD}) for page in pages]
        assert [each.status for each in answers] == [303, 303, 303, 303, 503]
        go_on.set()
        await ended(site)
        assert "1 resolved" in (await confirm(site, pages[4], **{"card.0": CARD})).text


async def test_what_is_not_known_here_any_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        for path in ("/cases/resolve/abc", "/live/cases/resolve/abc"):
            assert (await site.get(path)).status == 404
        assert (await site.post("/cases/resolve/abc")).status == 404
        assert (await site.get("/cases/none/resolve")).status == 404
        assert (await site.post("/cases/none/resolve", action="cancel", episode="1", **WHO)).status == 404


async def test_a_read_only_console_shows_the_case_without_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    async with Site.started(place=READ_ONLY, status=STATUS) as site:
        shown = await site.get("/cases/1/resolve")
        assert "This console is read-only: it is for reading" in shown.text
        assert shown.forms == []
        for path in ("/cases/1/resolve", "/cases/resolve", "/cases/resolve/abc"):
            assert (await site.post(path, action="cancel", episode="1", **WHO)).status == 403
    assert desk.states() == [("OPEN", "ESCALATED")]


async def test_text_of_strangers_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    desk.orders["1"] = replace(desk.orders["1"], name=HOSTILE, item_name="w" * 250)
    async with Site.started(status=STATUS) as site:
        pages = [await site.get("/cases/1/resolve"), await site.post("/cases/resolve", case=["1:1"])]
        pages.append(await preview(site, action="cancel", note=HOSTILE))
        for page in pages:
            assert "<img" not in page.html
            assert "\u202e" not in page.html
            assert "49" not in page.text


async def test_a_name_with_special_characters_stays_as_it_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, name = Desk(monkeypatch), "Ada\u200dM"
    desk.orders["1"] = replace(desk.orders["1"], name=name)
    async with Site.started(status=STATUS) as site:
        await confirm(site, await preview(site, action="resubmit", price="5"), **{"card.0": CARD})
    (started,) = desk.executions.started.values()
    assert started["Name"] == name


async def test_a_stop_that_comes_after_the_end_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Desk(monkeypatch)
    async with Site.started(status=STATUS) as site:
        done = await confirm(site, await preview(site, action="cancel"))
        (job,) = jobs(site)
        sent = await site.post(f"/cases/resolve/{job.id}/stop")
        after = await site.get(sent.headers["Location"])
        assert (after.text, job.stopped) == (done.text, False)


async def test_as_many_cases_as_are_allowed_at_once_get_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.pages.resolve.MAX_CASES", 2)
    Desk(monkeypatch, 3)
    async with Site.started(status=STATUS) as site:
        assert (await site.post("/cases/resolve", case=["999999999:1", "1:2"])).status == 200
        assert (await site.post("/cases/resolve", case=["1:1", "1:2", "1:3"])).status == 400
