"""A person looks at dead letters in a browser, and replays, discards or edits them: nothing is lost or doubled."""

import asyncio
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from tests.workers.console.site import READ_ONLY, Page, Site
from tests.workers.fakes import NOW
from tests.workers.operations.fakes import NOW as SYSTEM_NOW
from tests.workers.operations.fakes import FakeClient, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers.aws.pauses import PAUSED_TAG, encode
from workers.console import looks
from workers.console.looks import Look, LookState
from workers.console.pages.dead_letters import AGES, LOOKS, pretty
from workers.consumer.pause import Person
from workers.operations.ages import parse_age
from workers.operations.errors import OperationError
from workers.operations.status import QueueStatus, Status

CARD = "4929123412345678"
QUEUE = QueueStatus(queue="OrderFulfillmentQueue", dead_letters=3, oldest_dead_letter_s=7200)
STATUS = Status(at=NOW, queues=(QUEUE,))
HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{7*7}}\u202e"
WHO = {"actor": "ada", "note": "checked"}


class Letters(FakeQueue):
    """The dead letters of the OrderFulfillmentQueue; their bodies name the order of the same id."""

    def __init__(self, *ids: str, name: str = "OrderFulfillmentQueue", **bodies: str) -> None:
        super().__init__(*ids)
        self.name = name
        for n, each in enumerate(ids):
            self.parts[each] = {
                "Body": bodies.get(each, json.dumps({"OrderId": each, "ExecutionArn": "arn"})),
                "Attributes": {
                    "ApproximateReceiveCount": str(n + 1),
                    "SentTimestamp": str(int((SYSTEM_NOW.timestamp() - 3600 * (n + 1)) * 1000)),
                },
                "MessageAttributes": attributes("UNDECODABLE_MESSAGE" if n % 2 else "delivered too often", each),
            }

    def _get_queue_url(self, request: Mapping[str, Any]) -> Any:
        return {"QueueUrl": f"http://sqs/{request['QueueName']}"}

    def _get_queue_attributes(self, request: Mapping[str, Any]) -> Any:
        redrive = {"RedrivePolicy": f'{{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:{self.name}-DLQ"}}'}
        return {"Attributes": super()._get_queue_attributes(request)["Attributes"] | redrive}

    def site(self, **options: Any) -> Any:
        return Site.started(status=STATUS, sqs=cast("FakeClient", self), **options)


def attributes(reason: str, each: str) -> dict[str, Any]:
    given = {"Reason": reason, "OriginMessageId": f"origin-{each}"}
    return {name: {"DataType": "String", "StringValue": value} for name, value in given.items()}


async def look(site: Site, queue: str = "fulfillment") -> Page:
    sent = await site.post("/dead-letters/looks", queue=queue, actor="ada")
    assert sent.status == 303, sent.text
    await the_look(site).ready.wait()
    return await site.get(sent.headers["Location"])


def the_look(site: Site) -> Look:
    return list(site.application[LOOKS]._looks)[-1]


def selection(page: Page) -> Any:
    (form,) = [form for form in page.forms if form.action.endswith("/jobs")]
    return form


async def plan(site: Site, page: Page, action: str, *ids: str, **fields: str) -> Page:
    given: dict[str, Any] = {**WHO, "action": action, "rate": "1000", **fields, **({"id": ids} if ids else {})}
    sent = await site.submit(selection(page), **given)
    return await site.get(sent.headers["Location"]) if sent.status == 303 else sent


async def confirm(site: Site, page: Page) -> Page:
    sent = await site.submit(page.forms[-1])
    if sent.status != 303:
        return sent
    for job in the_look(site).jobs.values():
        if job.task is not None:
            await asyncio.wait([job.task])
    await asyncio.sleep(0)
    return await site.get(sent.headers["Location"])


async def test_the_counts_are_shown_and_nothing_is_held_before_somebody_looks() -> None:
    queue = Letters("a", "b", "c")
    async with queue.site() as site:
        shown = await site.get("/dead-letters")
        assert "3OrderFulfillmentQueue" in shown.text.replace(" ", "")
        assert "a look holds the letters" in shown.text
        assert "do not use it for 5 minutes." in shown.text
        of_card, of_another = shown.forms
        assert (of_card.fields["queue"], of_another.fields["queue"]) == (["fulfillment"], [""])
        names = [each.attributes["value"] for each in shown.main.one("datalist", id="queues").all("option")]
        assert names == ["fulfillment", "escalation"]
        async with site.stream(shown.main.one(id="live").attributes["hx-sse:connect"]) as events:
            assert (await events.next()).text.startswith("3OrderFulfillmentQueue the oldest is 2h old")
    assert queue.calls == []


async def test_a_look_holds_the_letters_and_shows_why_they_are_there() -> None:
    queue = Letters("a", "b", a=json.dumps({"OrderId": "a", "card": CARD}))
    with capture_logs() as lines:
        async with queue.site() as site:
            shown = await look(site)
            assert "2 letters held: nobody else sees them" in shown.text
            assert (queue.visible, sorted(queue.hidden)) == ([], ["a", "b"])
            rows = [row[2:5] for row in shown.tables[0][1:]]
            assert rows == [["UNDECODABLE_MESSAGE", "order b its case", "2"], ["delivered too often", "order a", "1"]]
            assert '"card": "****"' in shown.text
            assert CARD not in shown.html
            assert "2 letters held" in (await site.get("/dead-letters")).text
            async with site.refreshing():
                gone = await site.submit(shown.forms[1])
            assert (gone.status, gone.headers["Location"]) == (303, "/dead-letters")
            assert sorted(queue.visible) == ["a", "b"]
    (line,) = lines
    assert {name: line[name] for name in ("action", "actor", "note", "targets", "outcome")} == {
        "action": "look",
        "actor": "ada",
        "note": "no reason given",
        "targets": ["fulfillment"],
        "outcome": "begun",
    }


async def test_letters_are_replayed_and_have_no_live_checkbox_any_more() -> None:
    queue = Letters("a", "b", "c")
    with capture_logs() as lines:
        async with queue.site() as site:
            shown = await look(site)
            seen = await plan(site, shown, "replay", "a", "b")
            assert "Replay 2 dead letters?" in seen.text
            assert "1 of them could not be decoded, and will come back here" in seen.text
            assert queue.sent == []
            async with site.refreshing():
                done = await confirm(site, seen)
            assert "2 replayed" in done.text
            assert [row[2] for row in done.tables[0][1:]] == ["replayed", "replayed"]
            left = await site.get(done.links["To the other letters"])
            assert [each.attributes["value"] for each in left.main.all("input", name="id")] == ["c"]
            again = await site.submit(seen.forms[-1])
            assert again.status == 303
    assert [json.loads(body)["OrderId"] for body in queue.sent] == ["b", "a"]
    assert (queue.visible, queue.hidden) == (["c"], [])
    assert [(line["action"], line["outcome"]) for line in lines][1:] == [("replay", "2 replayed")]
    assert sorted(lines[1]["targets"]) == ["a", "b"]


async def test_letters_are_discarded_for_good() -> None:
    queue = Letters("a", "b")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "discard", "a")
        assert "This cannot be undone" in seen.text
        assert "1 discarded" in (await confirm(site, seen)).text
    assert (queue.visible, queue.hidden, queue.sent) == (["b"], [], [])


async def test_a_double_click_sends_each_letter_once() -> None:
    queue = Letters("a")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "replay", "a")
        await asyncio.gather(*(site.submit(seen.forms[-1]) for _ in range(2)))
        await confirm(site, seen)
    assert len(queue.sent) == 1


async def test_two_tabs_that_planned_the_same_letter_send_it_once() -> None:
    queue = Letters("a", "b")
    async with queue.site() as site:
        shown = await look(site)
        first, second = [await plan(site, shown, "replay", "a") for _ in range(2)]
        await confirm(site, first)
        told = await confirm(site, second)
        assert "1 failed" in told.text
        late = await plan(site, shown, "discard", "a")
        assert (late.status, "still here" in late.text) == (400, True)
    assert len(queue.sent) == 1


async def test_filters_stand_in_the_address_and_all_that_match_is_a_fixed_set() -> None:
    queue = Letters("a", "b", "c", "d")
    async with queue.site() as site:
        shown = await look(site)
        address = shown.forms[2].action
        filtered = await site.get(f"{address}?reason=undecodable")
        assert [row[3] for row in filtered.tables[0][1:]] == ["order d its case", "order b its case"]
        assert len((await site.get(f"{address}?order=c")).tables[0]) == 2
        assert len((await site.get(f"{address}?older=1h")).tables[0]) == 4
        assert "No letter matches" in (await site.get(f"{address}?order={quote(HOSTILE)}")).text
        seen = await plan(site, filtered, "discard", all="1")
        assert "Discard 2 dead letters?" in seen.text
        await confirm(site, seen)
    assert sorted(queue.visible) == ["a", "c"]


def test_ages_are_as_long_as_they_are_called() -> None:
    assert {age: parse_age(age) for age in AGES} == AGES


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"id": ()}, "Select at least one letter"),
        ({"id": "unknown"}, "Select at least one letter"),
        ({"actor": ""}, "Your name must be"),
        ({"rate": "0"}, "The rate must be 0.1 to 1000 messages a second."),
        ({"rate": "0.09"}, "The rate must be"),
        ({"rate": "1000.1"}, "The rate must be"),
        ({"rate": "nan"}, "The rate must be"),
        ({"rate": "fast"}, "The rate must be"),
        ({"action": "delete"}, "Choose to replay or to discard"),
    ],
)
async def test_a_wrong_choice_is_said_and_nothing_is_done(fields: dict[str, Any], text: str) -> None:
    queue = Letters("a")
    async with queue.site() as site:
        given: dict[str, Any] = {**WHO, "action": "replay", "id": "a", "rate": "10"} | fields
        told = await site.submit(selection(await look(site)), **given)
        assert told.status == 400
        assert text in told.text
        if "action" not in fields:
            assert told.links["Back"] == "/dead-letters/fulfillment/looks/" + the_look(site).id
        assert the_look(site).jobs == {}


@pytest.mark.parametrize(("rate", "shown"), [("", "10"), ("0.1", "0.1"), ("1000", "1000")])
async def test_a_replay_has_a_rate(rate: str, shown: str) -> None:
    async with Letters("a").site() as site:
        seen = await plan(site, await look(site), "replay", "a", rate=rate)
        assert f"At most {shown} a second." in seen.text


async def test_a_replay_to_a_paused_queue_warns_and_a_discard_does_not() -> None:
    queue = Letters("a")
    tags = {PAUSED_TAG: encode(Person("grace", "2026-11-22T11:00:00Z", "prices"))}
    async with queue.site() as site:
        shown = await look(site)
        assert "is paused" not in (await plan(site, shown, "replay", "a")).text
        queue._list_queue_tags = lambda _: {"Tags": tags}  # type: ignore[assignment, method-assign]
        seen = await plan(site, shown, "replay", "a")
        assert "OrderFulfillmentQueue is paused since 2026-11-22 11:00:00 by grace: prices." in seen.text
        assert "is paused" not in (await plan(site, shown, "discard", "a")).text


async def test_of_very_many_letters_the_first_ones_and_the_last_outcomes_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for room in ("dead_letters", "letter_jobs"):
        monkeypatch.setattr(f"workers.console.pages.{room}.MAX_ROWS", 1)
    async with Letters("a", "b").site() as site:
        shown = await look(site)
        assert "The first 1 of 2 letters that match" in shown.text
        assert [each.attributes["value"] for each in shown.main.all("input", name="id")] == ["b"]
        seen = await plan(site, shown, "discard", all="1")
        assert "The first 1 of 2 letters" in seen.text
        assert [row[0] for row in seen.tables[0][1:]] == ["b"]
        assert "could not be decoded" not in seen.text
        done = await confirm(site, seen)
        assert "What came of each: the last 1 of 2" in done.text
        assert [row[0] for row in done.tables[0][1:]] == ["a"]


async def test_only_some_looks_are_open_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.console.pages.dead_letters.MAX_OPEN", 1)
    async with Letters("a").site() as site:
        first = await look(site)
        told = await site.post("/dead-letters/looks", queue="escalation", actor="ada")
        assert (told.status, "Several other looks are open. Let one of them go first." in told.text) == (503, True)
        assert selection(await look(site)).action == selection(first).action
        other = the_look(site)
        assert (await site.get(f"/dead-letters/escalation/looks/{other.id}")).status == 404


async def test_a_double_click_on_look_again_leads_to_one_look() -> None:
    async with Letters("a").site() as site:
        form = (await look(site)).forms[0]
        sent = await asyncio.gather(*(site.submit(form) for _ in range(2)))
        assert len({each.headers["Location"] for each in sent}) == 1
        assert len(site.application[LOOKS].open) == 1
        assert {each.why_ended for each in site.application[LOOKS]._looks} == {None, "you looked again"}


async def test_filters_can_be_cleared_one_by_one() -> None:
    async with Letters("a", "b").site() as site:
        shown = await look(site)
        here = shown.forms[2].action
        filtered = await site.get(f"{here}?reason=undecodable&order=b&older=1h&seen=x")
        assert filtered.main.one("ul", class_="chips").links == {
            "reason: undecodable \N{MULTIPLICATION SIGN}clear": f"{here}?order=b&older=1h",
            "order: b \N{MULTIPLICATION SIGN}clear": f"{here}?reason=undecodable&older=1h",
            "older: 1h \N{MULTIPLICATION SIGN}clear": f"{here}?reason=undecodable&order=b",
        }
        fields = filtered.forms[2].fields
        assert {name: fields[name] for name in ("reason", "order", "older")} == {
            "reason": ["undecodable"],
            "order": ["b"],
            "older": ["1h"],
        }
        reasons = [each.attributes["value"] for each in filtered.main.one("datalist", id="reasons").all("option")]
        assert reasons == ["UNDECODABLE_MESSAGE", "delivered too often"]
        seen = await plan(site, filtered, "discard", all="1")
        assert [row[0] for row in seen.tables[0][1:]] == ["b"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ('{"a":"é"}', '{\n  "a": "é"\n}'),
        ("{", "{"),
        ("[" * 4_000, "[" * 4_000),
        ("x" * 4_001, "x" * 4_000 + "\n... (4,001 characters)"),
        ("[" * 100_000, "[" * 4_000 + "\n... (100,000 characters)"),
    ],
)
def test_a_body_is_shown_on_several_lines_and_cut(body: str, shown: str) -> None:
    assert pretty(body) == shown


async def test_a_look_that_is_not_used_lets_the_letters_go_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Letters("a")
    monkeypatch.setattr(looks, "EXTEND_S", 0.001)
    async with queue.site() as site:
        shown = await look(site)
        seen = await plan(site, shown, "replay", "a")
        the_look(site).used_s -= looks.IDLE_S
        task = the_look(site).task
        assert task is not None
        await asyncio.wait([task])
        assert queue.visible == ["a"]
        told = await site.get(shown.forms[2].action)
        assert "not used for 5 minutes" in told.text
        assert [form.labels for form in told.forms] == [["Look again"]]
        told = await site.submit(seen.forms[-1])
        assert told.status == 409
    assert queue.sent == []


async def test_the_letters_come_by_themselves_and_then_nothing_moves_until_they_are_let_go() -> None:
    queue = Letters("a")
    queue.pause("receive_message")
    async with queue.site() as site:
        sent = await site.post("/dead-letters/looks", queue="fulfillment", actor="ada")
        page = await site.get(sent.headers["Location"])
        async with site.stream(page.main.one(id="live").attributes["hx-sse:connect"]) as events:
            assert "0 so far" in (await events.next()).text
            queue.resume("receive_message")
            assert "1 letter held" in (await events.next()).text
            held = await site.get(sent.headers["Location"])
            live = held.main.one(id="live").attributes["hx-sse:connect"]
            assert live == f"{sent.headers['Location']}/live?seen=held"
            async with site.stream(live) as later:
                await site.submit(held.forms[1])
                for each in (events, later):
                    assert "you have left it" in (await each.next()).text
                site.console.stopping.set()
                for each in (events, later):
                    with pytest.raises(EOFError):
                        await each.next()
            ended = await site.get(sent.headers["Location"])
            assert "hx-sse:connect" not in ended.main.one(id="live").attributes


async def test_a_second_look_at_the_same_queue_leads_to_the_first_and_can_be_renewed() -> None:
    queue = Letters("a")
    async with queue.site() as site:
        first = await look(site)
        assert selection(await look(site)).action == selection(first).action
        queue.visible.append("b")
        renewed = await site.submit(first.forms[0])
        await the_look(site).ready.wait()
        shown = await site.get(renewed.headers["Location"])
        assert sorted(each.attributes["value"] for each in shown.main.all("input", name="id")) == ["a", "b"]


async def test_a_letter_whose_hold_has_run_out_is_skipped() -> None:
    queue = Letters("a", "b")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "replay", "a")
        source = the_look(site).found
        assert source is not None
        source.source.hold._held_until.clear()
        done = await confirm(site, seen)
        assert "another receiver may have it now" in done.text
    assert queue.sent == []


async def test_a_stop_finishes_the_letter_that_is_being_worked_on() -> None:
    queue = Letters("a", "b", "c")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "replay", all="1")
        queue.pause("send_message")
        sent = await site.submit(seen.forms[-1])
        await queue.reached("send_message")
        at_work = await site.get(sent.headers["Location"])
        assert "0 of 3 letters done" in at_work.text
        live = at_work.main.one(id="live").attributes["hx-sse:connect"]
        assert live == f"{sent.headers['Location']}/live"
        look_at = sent.headers["Location"].partition("/jobs")[0]
        told = await site.post(f"{look_at}/again")
        assert (told.status, "Wait until the action on these letters has ended." in told.text) == (409, True)
        stopping = await site.submit(at_work.forms[0])
        assert stopping.headers["Location"] == sent.headers["Location"]
        await site.submit(at_work.forms[0])  # Once more: the letter is still finished.
        async with site.stream(live) as events:
            assert "Stopping: the letter that is being worked on is finished." in (await events.next()).text
            queue.resume("send_message")
            while "Stopped: 1 replayed, 2 not tried" not in (await events.next()).text:
                pass
        stopped = await confirm(site, seen)
        assert "Stopped: 1 replayed, 2 not tried" in stopped.text
        assert "hx-sse:connect" not in stopped.main.one(id="live").attributes
        assert (await site.submit(at_work.forms[0])).status == 303  # It has ended meanwhile.
        assert (await site.get(sent.headers["Location"])).text == stopped.text
        left = await site.get(stopped.links["To the other letters"])
        assert [each.attributes["value"] for each in left.main.all("input", name="id")] == ["b", "a"]
    assert len(queue.sent) == 1
    assert sorted(queue.visible) == ["a", "b"]


async def test_who_leaves_a_look_does_not_stop_the_action_on_its_letters() -> None:
    queue = Letters("a", "b")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "replay", "a")
        queue.pause("send_message")
        await site.submit(seen.forms[-1])
        await queue.reached("send_message")
        left = await site.post(f"/dead-letters/fulfillment/looks/{the_look(site).id}/leave")
        assert (left.status, the_look(site).is_open) == (303, True)
        queue.resume("send_message")
        task = the_look(site).task
        assert task is not None
        await asyncio.wait([task])
        (job,) = the_look(site).jobs.values()
        assert (job.outcome, the_look(site).why_ended) == ("1 replayed", "you have left it")
    assert (len(queue.sent), queue.visible, queue.hidden) == (1, ["b"], [])


async def test_the_end_of_the_console_loses_and_doubles_nothing() -> None:
    queue = Letters("a", "b", "c")
    with capture_logs() as lines:
        async with queue.site() as site:
            seen = await plan(site, await look(site), "replay", all="1")
            queue.pause("send_message")
            await site.submit(seen.forms[-1])
            await queue.reached("send_message")
            (job,) = the_look(site).jobs.values()
            go_on = asyncio.create_task(resume_when_stopped(job, queue))
        await go_on
        assert the_look(site).why_ended == "the console was stopped"
    assert [json.loads(body)["OrderId"] for body in queue.sent] == ["c"]
    assert (sorted(queue.visible), queue.hidden) == (["a", "b"], [])
    assert lines[-1]["outcome"] == "1 replayed, 2 not tried"


async def test_the_end_of_the_console_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "STOP_S", 0.01)
    queue = Letters("a")
    async with queue.site() as site:
        seen = await plan(site, await look(site), "replay", "a")
        queue.pause("send_message")
        await site.submit(seen.forms[-1])
        await queue.reached("send_message")
        (job,) = the_look(site).jobs.values()
    assert (job.ended, the_look(site).state, queue.sent) == (True, LookState.ENDED, [])


@pytest.mark.parametrize(
    ("error", "text", "events"),
    [
        (OperationError("the queue is gone"), "the queue is gone", []),
        (refused("AccessDenied", "SendMessage", 403), "these credentials do not allow", []),
        (ZeroDivisionError(CARD), "an internal error; the console's log has it", ["console.failed"]),
    ],
)
async def test_what_fails_as_a_whole_is_said_and_only_internal_errors_are_logged(
    error: Exception, text: str, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(looks, "act", fail)
    with capture_logs() as lines:
        async with Letters("a").site() as site:
            done = await confirm(site, await plan(site, await look(site), "replay", "a"))
            assert text in done.main.one(role="alert").text
            assert "1 not tried" in done.text
    assert [line["event"] for line in lines] == ["console.action", *events, "console.action"]


async def test_letters_stay_held_while_aws_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    tries, tried_often = list[None](), asyncio.Event()

    async def extend(_: object) -> None:
        tries.append(None)
        if len(tries) == 3:
            tried_often.set()
        raise refused("InternalError", "ChangeMessageVisibilityBatch", 500)

    monkeypatch.setattr(looks, "EXTEND_S", 0.001)
    async with Letters("a").site() as site:
        await look(site)
        monkeypatch.setattr("workers.operations.hold.Hold.extend", extend)
        await tried_often.wait()
        assert the_look(site).state is LookState.HELD


async def test_the_letters_are_let_go_some_minutes_after_the_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "EXTEND_S", 3600)  # So that it is not looked at while the test changes it.
    queue = Letters("a")
    async with queue.site() as site:
        shown = await look(site)
        used, loop = the_look(site), asyncio.get_running_loop()
        used.used_s = -1.0
        before = datetime.now(UTC)
        text = (await site.get(shown.forms[2].action)).text
        late_s = math.ceil((datetime.now(UTC) - before).total_seconds()) + 1
        times = [before + timedelta(seconds=looks.IDLE_S + late) for late in range(late_s + 1)]
        assert re.search(r"let go at (.{8} UTC)", text)[1] in [f"{time:%H:%M:%S} UTC" for time in times]  # type: ignore[index]
        assert 0 < used.used_s <= loop.time()
        seen = await plan(site, shown, "replay", "a")
        (job,) = used.jobs.values()
        await site.submit(seen.forms[-1])
        used.used_s = -1.0
        assert job.task is not None
        await asyncio.wait([job.task])
        await asyncio.sleep(0)
        assert used.used_s > 0  # The end of an action is a use.


async def resume_when_stopped(job: Any, queue: Letters) -> None:
    while not job.stopped:  # noqa: ASYNC110 - the stop tells nobody else.
        await asyncio.sleep(0)
    queue.resume("send_message")


async def test_an_end_while_it_looks_lets_all_go() -> None:
    queue = Letters("a", "b")
    queue.pause("receive_message")
    async with queue.site() as site:
        sent = await site.post("/dead-letters/looks", queue="fulfillment", actor="ada")
        await queue.reached("receive_message")
        shown = await site.get(sent.headers["Location"])
        assert "Reading dead letters: 0 so far" in shown.text
        asyncio.get_running_loop().call_later(0.01, queue.resume, "receive_message")
    assert (sorted(queue.visible), queue.hidden) == (["a", "b"], [])


async def test_who_leaves_while_it_looks_does_not_wait_for_all_letters() -> None:
    queue = Letters("a", "b", "c")
    queue._batch = 1
    queue.pause("receive_message")
    async with queue.site() as site:
        await site.post("/dead-letters/looks", queue="fulfillment", actor="ada")
        await queue.reached("receive_message")
        leaving = asyncio.create_task(site.post(f"/dead-letters/fulfillment/looks/{the_look(site).id}/leave"))
        await the_look(site).leaving.wait()
        queue.resume("receive_message")
        await leaving
        assert (the_look(site).state, len(queue.requests_of("receive_message"))) == (LookState.ENDED, 1)
    assert (sorted(queue.visible), queue.hidden) == (["a", "b", "c"], [])


async def test_a_letter_is_edited_after_its_difference_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, closed = Letters("a", "b", b='{"OrderId": 7}'), list[str]()

    async def close(_stack: object, case_id: str, request: Any, _order: object) -> None:
        closed.append(f"{case_id} {request.actor}: {request.note}")

    monkeypatch.setattr("workers.operations.letter_edits.resolve_case", close)
    with capture_logs() as lines:
        async with queue.site() as site:
            await look(site)
            letters = f"/dead-letters/fulfillment/looks/{the_look(site).id}/letters"
            form = (await site.get(f"{letters}/b/edit")).forms[0]
            assert form.fields["body"] == ['\n{"OrderId": 7}']
            assert "It is sent only if a worker can decode it." in (await site.get(f"{letters}/b/edit")).text
            gone = await site.get(f"{letters}/c/edit")
            assert (gone.status, "This letter is not here any more" in gone.text) == (404, True)
            unchanged = await site.submit(form, **WHO)
            assert (unchanged.status, "it is not changed" in unchanged.text) == (400, True)
            wrong = await site.submit(form, **WHO, body='{"OrderId": 8}')
            assert (wrong.status, queue.sent) == (400, [])
            assert "Nothing is sent" in wrong.text
            fields = wrong.forms[0].fields
            assert fields["body"] == ['\n{"OrderId": 8}']
            assert (fields["actor"], fields["note"]) == (["ada"], ["checked"])
            nobody = await site.submit(form, actor="", note="", body='{"OrderId": "7"}')
            assert "Nothing is sent: your name must be 1 to 128 characters" in nobody.text
            sent = await site.submit(form, **WHO, body='{"OrderId": "7"}\r\n')
            seen = await site.get(sent.headers["Location"])
            lines_shown = "".join(seen.main.one("pre", class_="lines")._texts()).splitlines()
            assert lines_shown == ["  {", '-   "OrderId": 7', '+   "OrderId": "7"', "  }"]
            assert "1 edited and replayed" in (await confirm(site, seen)).text
    assert queue.sent == ['{"OrderId": "7"}']
    assert closed == ["message-origin-b ada: Replayed after an edit of OrderId: checked"]
    assert (lines[-1]["action"], lines[-1]["targets"]) == ("edit", ["b"])


async def test_an_edit_neither_shows_nor_sends_a_card_number_to_our_workers() -> None:
    queue = Letters("a", a=json.dumps({"OrderId": "a", "Detail": CARD}))
    with capture_logs() as lines:
        async with queue.site() as site:
            await look(site)
            edit = f"/dead-letters/fulfillment/looks/{the_look(site).id}/letters/a/edit"
            page = await site.get(edit)
            sent = await site.submit(page.forms[0], **WHO, body=f'{{"OrderId": "b", "Name": "{CARD}"}}')
            seen = await site.get(sent.headers["Location"])
            done = await confirm(site, seen)
            assert CARD not in page.html + seen.html + done.html
    assert CARD not in str(queue.sent) + str(lines)


async def test_in_messages_of_other_kinds_what_is_masked_must_be_replaced() -> None:
    queue = Letters("a", a=json.dumps({"ean": CARD}), name="Returns")
    async with queue.site() as site:
        await look(site, "Returns")
        edit = f"/dead-letters/Returns/looks/{the_look(site).id}/letters/a/edit"
        page = await site.get(edit)
        assert "Replace what is masked" in page.text
        unchanged = await site.submit(page.forms[0], **WHO)
        assert "it is not changed" in unchanged.text
        told = await site.submit(page.forms[0], **WHO, body='{"ean": "****", "x": 1}')
        assert "stands for digits that look like a card number: replace it" in told.text
        sent = await site.submit(page.forms[0], **WHO, body=f'{{"ean": "{CARD}", "x": 1}}')
        seen = await site.get(sent.headers["Location"])
        assert CARD not in seen.html
        await confirm(site, seen)
        assert CARD not in repr(the_look(site).jobs) or the_look(site).is_open
    assert json.loads(queue.sent[0])["ean"] == CARD


@pytest.mark.parametrize("queue", ["", "no-such-queue", "x" * 300, HOSTILE])
async def test_a_queue_that_does_not_exist_is_said(queue: str) -> None:
    letters = Letters()
    letters.refused, letters.error = (
        {"get_queue_url"},
        refused("AWS.SimpleQueueService.NonExistentQueue", "GetQueueUrl"),
    )
    async with letters.site() as site:
        answer = await site.post("/dead-letters/looks", queue=queue, actor="ada")
        assert answer.status == 400
        assert ("Not done name a queue" in answer.text) == (queue == "")
        assert "<img" not in answer.html
        assert site.application[LOOKS].open == []


async def test_text_of_strangers_is_text() -> None:
    queue = Letters("a", a=HOSTILE)
    queue.parts["a"]["MessageAttributes"] = {HOSTILE: {"DataType": "String", "StringValue": HOSTILE}}
    async with queue.site() as site:
        shown = await look(site)
        edit = await site.get(f"/dead-letters/fulfillment/looks/{the_look(site).id}/letters/a/edit")
        for page in (shown, edit):
            assert "<img" not in page.html
            assert "\u202e" not in page.html


async def test_a_read_only_console_shows_the_counts_and_why_nobody_looks() -> None:
    queue = Letters("a")
    async with queue.site(place=READ_ONLY) as site:
        shown = await site.get("/dead-letters")
        assert shown.forms == []
        assert "This console is read-only, and a look hides messages from others: it is for reading" in shown.text
        assert (await site.post("/dead-letters/looks", queue="fulfillment", actor="ada")).status == 403
        for path in ("jobs", "leave", "again", "jobs/x", "jobs/x/stop", "letters/a/edit"):
            assert (await site.post(f"/dead-letters/fulfillment/looks/x/{path}", **WHO)).status == 403
    assert queue.calls == []


@pytest.mark.parametrize(
    ("error", "text", "events"),
    [
        (ZeroDivisionError(CARD), "an internal error; the console's log has it", ["console.action", "console.failed"]),
        (refused("AccessDenied", "ReceiveMessage", 403), "these credentials do not allow", ["console.action"]),
    ],
)
async def test_a_look_that_fails_says_why_and_only_internal_errors_are_logged(
    error: Exception, text: str, events: list[str]
) -> None:
    queue = Letters("a")
    queue.refused, queue.error = {"receive_message"}, error
    with capture_logs() as lines:
        async with queue.site() as site:
            shown = await look(site)
            assert text in shown.text
            assert the_look(site).state is LookState.ENDED
    assert [line["event"] for line in lines] == events


async def test_a_look_that_is_not_known_any_more_says_so() -> None:
    async with Letters().site() as site:
        missing = await site.get("/dead-letters/fulfillment/looks/abc")
        assert (missing.status, "visible again within 60 seconds" in missing.text) == (404, True)


async def test_what_was_done_is_shown_after_the_look_without_bodies() -> None:
    queue = Letters("a", a=f"secret {CARD}")
    async with queue.site() as site:
        shown = await look(site)
        done = await confirm(site, await plan(site, shown, "discard", "a"))
        await site.post(f"{done.links['To the other letters']}/leave")
        assert the_look(site).state is LookState.ENDED
        assert "secret" not in repr(the_look(site).jobs)
        (job,) = the_look(site).jobs
        later = await site.get(f"{done.links['To the other letters']}/jobs/{job}")
        assert "1 discarded" in later.text
