"""One order is cancelled, sent again or escalated, and a queue paused or resumed, each once and only as it was seen."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.workers.console.site import READ_ONLY, Page, Site
from tests.workers.fakes import NOW
from tests.workers.operations.fakes import EXECUTION, FakeClient, empty_queues, refused
from tests.workers.operations.fakes import NOW as SYSTEM_NOW
from workers.aws.items import to_item
from workers.operations.errors import OperationError
from workers.operations.status import Status

CARD = "4929123412345678"
STATUS = Status(at=NOW)
WHO = {"actor": "ada", "note": "asked for"}


class Aws:
    """One order and its case, queues with tags, and an execution that has sent the order's message."""

    def __init__(self, status: str = "RECEIVED", **fields: Any) -> None:
        self.order: dict[str, Any] = {
            "OrderId": "001",
            "Status": status,
            "Name": "Ada",
            "ItemName": "Bicycle",
            "Price": "5",
            "ExecutionArn": f"{EXECUTION}:one",
            "UpdatedAt": NOW,
        } | fields
        self.tags: dict[str, str] = {}
        self.dynamodb = FakeClient(get_item=self._get, update_item=self._update)
        self.sqs = empty_queues()
        self.sqs.operations.update(
            send_message=lambda **_: {"MessageId": "m-1"},
            list_queue_tags=lambda **_: {"Tags": self.tags},
            tag_queue=lambda Tags, **_: self.tags.update(Tags),  # noqa: N803 - the SDK's name.
            untag_queue=lambda TagKeys, **_: [self.tags.pop(key) for key in TagKeys],  # noqa: N803
        )
        self.entered = ["Put message in OrderFulfillment Queue"]
        self.states = FakeClient(get_execution_history=self._history)

    def _history(self, **_: Any) -> Any:
        at = SYSTEM_NOW - timedelta(minutes=10)
        entered = [{"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": name}} for name in self.entered]
        events: list[dict[str, Any]] = [{"type": "ExecutionStarted"}, *entered, {"type": "ExecutionSucceeded"}]
        yield {"events": [{"timestamp": at, **event} for event in events]}

    def _get(self, TableName: str, **_: Any) -> Any:  # noqa: N803 - the SDK's name.
        return {"Item": to_item(self.order)} if self.order and TableName == "OrderTable" else {}

    def _update(self, ExpressionAttributeValues: Any, **_: Any) -> Any:  # noqa: N803
        if ExpressionAttributeValues[":before"]["S"] != self.order["Status"]:
            raise refused("ConditionalCheckFailedException", "UpdateItem")
        self.order["Status"] = "CANCELLED"
        return {}

    def site(self, **options: Any) -> Any:
        return Site.started(status=STATUS, dynamodb=self.dynamodb, sqs=self.sqs, stepfunctions=self.states, **options)

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(request["MessageBody"]) for name, request in self.sqs.requests if name == "send_message"]


async def act(site: Site, path: str, **fields: str) -> Page:
    return await site.submit((await site.get(path)).forms[0], **(WHO | fields))


@pytest.fixture(autouse=True)
def no_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    from workers.domain.retention import FOR_EVER  # noqa: PLC0415

    async def read(_: object) -> Any:
        return FOR_EVER

    monkeypatch.setattr("workers.operations.cancel.read_retention", read)


async def test_an_order_is_cancelled_after_a_look_at_it() -> None:
    aws = Aws(Attempts=2)
    with capture_logs() as lines:
        async with aws.site() as site:
            form = await site.get("/orders/001/cancel")
            assert "RECEIVED" in form.text
            assert "Ada" in form.text
            async with site.refreshing():
                done = await site.submit(form.forms[0], **WHO)
            assert "The order is CANCELLED; it was RECEIVED." in done.text
            assert done.links == {"Orders": "/orders", "001": "/orders/001", "To the order": "/orders/001"}
            assert "tried 2 times" in done.text
            assert "CANCELLED already" in (await site.get("/orders/001/cancel")).text
    assert aws.order["Status"] == "CANCELLED"
    (line,) = lines
    assert (line["action"], line["targets"], line["outcome"]) == (
        "cancel",
        ["001"],
        "The order is CANCELLED; it was RECEIVED",
    )


async def test_an_action_that_fails_is_logged_and_said_with_what_was_typed() -> None:
    aws = Aws()
    with capture_logs() as lines:
        async with aws.site() as site:
            form = (await site.get("/orders/001/cancel")).forms[0]
            aws.dynamodb.operations["update_item"] = fail_with(refused("AccessDenied", "UpdateItem", 403))
            told = await site.submit(form, **WHO)
            assert (told.status, told.text.startswith("Not available ")) == (502, True)
            aws.sqs.operations["send_message"] = fail_with(OperationError("the queue is full"))
            form = (await site.get("/orders/001/requeue")).forms[0]
            async with site.refreshing():
                told = await site.submit(form, actor="grace", note="lost")
            assert (told.status, told.main.one(role="alert").text) == (400, "the queue is full")
            assert (told.forms[0].fields["actor"], told.forms[0].fields["note"]) == (["grace"], ["lost"])
            assert told.forms[0].action == "/orders/001/requeue"
    assert [(line["action"], line["outcome"]) for line in lines] == [
        ("cancel", "failed"),
        ("requeue", "failed: the queue is full"),
    ]
    assert (lines[1]["actor"], lines[1]["note"], lines[1]["targets"]) == ("grace", "lost", ["001"])


def fail_with(error: Exception) -> Any:
    def fail(**_: Any) -> Any:
        raise error

    return fail


async def test_what_is_no_form_of_a_page_is_not_taken_for_one_that_was_sent() -> None:
    aws = Aws()
    async with aws.site() as site:
        for _ in range(2):
            assert (await site.post("/orders/001/requeue", **WHO, seen=f"RECEIVED {NOW}")).status == 200
    assert len(aws.sent()) == 2


async def test_a_message_is_sent_again_once_for_a_form() -> None:
    aws = Aws()
    with capture_logs() as lines:
        async with aws.site() as site:
            form = (await site.get("/orders/001/requeue")).forms[0]
            both = await asyncio.gather(*(site.submit(form, **WHO) for _ in range(2)))
            later = await site.submit(form, **WHO)
            for each in (*both, later):
                assert "Its message was sent to OrderFulfillmentQueue again (m-1)" in each.text
    assert [each["OrderId"] for each in aws.sent()] == ["001"]
    assert len(lines) == 1


async def test_an_order_is_escalated_by_a_person_with_a_reason() -> None:
    aws = Aws()
    async with aws.site() as site:
        refused = await act(site, "/orders/001/escalate", note="")
        assert (refused.status, aws.sent()) == (400, [])
        done = await site.submit(refused.forms[0], note=f"lost {CARD}")
        assert "It is escalated as ORDER_STUCK (m-1)" in done.text
    (sent,) = aws.sent()
    assert sent["Detail"] == "Escalated by ada: lost ****"


async def test_what_an_order_does_not_allow_is_said_without_a_form() -> None:
    aws = Aws("FULFILLED")
    async with aws.site() as site:
        for act_name, text in (("cancel", "too late"), ("requeue", "no worker is to fulfill it"), ("escalate", "only")):
            shown = await site.get(f"/orders/001/{act_name}")
            assert (shown.status, shown.forms) == (200, [])
            assert text in shown.text
            sent = await site.post(f"/orders/001/{act_name}", **WHO, seen=f"FULFILLED {NOW}")
            assert sent.status == 400
            assert text in sent.text
    assert aws.sent() == []


async def test_an_execution_that_has_sent_no_message_is_not_requeued() -> None:
    aws = Aws()
    aws.entered = []
    async with aws.site() as site:
        shown = await site.get("/orders/001/requeue")
        assert "is not sent to a worker" in shown.text
        assert shown.forms == []


@pytest.mark.parametrize("act_name", ["cancel", "requeue", "escalate"])
async def test_an_order_that_has_changed_since_it_was_seen_is_left_alone(act_name: str) -> None:
    aws = Aws()
    async with aws.site() as site:
        form = (await site.get(f"/orders/001/{act_name}")).forms[0]
        aws.order["UpdatedAt"] = "2026-11-22T11:00:01.000000Z"
        told = await site.submit(form, **WHO)
        assert told.status == 400
        assert "has changed since this page was loaded" in told.text
        assert (aws.order["Status"], aws.sent()) == ("RECEIVED", [])
        assert (await site.submit(told.forms[0], **WHO)).status == 200


async def test_an_order_that_does_not_exist_is_said() -> None:
    aws = Aws()
    aws.order = {}
    async with aws.site() as site:
        assert "there is no order &#39;404&#39;" in (await site.get("/orders/404/cancel")).html


@pytest.mark.parametrize("fields", [{"actor": ""}, {"actor": "a" * 129}, {"note": "n" * 1001}])
async def test_a_wrong_name_or_note_is_said_and_nothing_is_done(fields: dict[str, str]) -> None:
    aws = Aws()
    async with aws.site() as site:
        assert (await act(site, "/orders/001/cancel", **fields)).status == 400
    assert aws.order["Status"] == "RECEIVED"


async def test_a_queue_is_paused_and_resumed() -> None:
    aws = Aws()
    with capture_logs() as lines:
        async with aws.site() as site:
            form = await site.get("/queues/fulfillment/pause")
            assert "Queue OrderFulfillmentQueue" in form.text
            assert form.links == {"Queues": "/queues", "Back": "/queues"}
            done = await act(site, "/queues/fulfillment/pause", note=f"prices {CARD}")
            assert done.main.one(role="status").text == (
                "It is paused since 2026-11-22 12:00:00 by ada: prices ****."
                " Its workers receive nothing more within about a minute, and end what they are handling."
            )
            again = await act(site, "/queues/fulfillment/pause")
            assert "Nothing was changed: it is paused already, since 2026-11-22 12:00:00 by ada" in again.text
            done = await act(site, "/queues/fulfillment/resume")
            assert done.main.one(role="status").text == (
                "It is resumed. It was paused since 2026-11-22 12:00:00 by ada: prices ****."
                " Its workers receive again within about a minute."
            )
            again = await act(site, "/queues/fulfillment/resume")
            assert again.main.one(role="status").text == "Nothing was changed: it is not paused."
    assert [line["action"] for line in lines] == ["pause", "pause", "resume", "resume"]
    assert CARD not in str(lines) + str(aws.tags)


async def test_what_names_no_queue_is_said_and_nothing_is_done() -> None:
    aws = Aws()
    with capture_logs() as lines:
        async with aws.site() as site:
            for name in ("%00", "no+queue", "x.fifo", "%3Cscript%3E", "q" * 81):
                page = await site.get(f"/queues/{name}/pause")
                assert "Not possible: must be the name, the URL or the ARN" in page.text
                assert page.forms == []
            assert (await site.post("/queues/no+queue/pause", actor="ada")).status == 400
    assert lines == []


async def test_a_read_only_console_says_why_there_is_no_form() -> None:
    aws = Aws()
    async with aws.site(place=READ_ONLY) as site:
        for path in ("/orders/001/cancel", "/orders/001/requeue", "/orders/001/escalate", "/queues/escalation/pause"):
            shown = await site.get(path)
            assert shown.forms == []
            assert "This console is read-only: it is for reading" in shown.text
            assert (await site.post(path, **WHO)).status == 403
    assert (aws.order["Status"], aws.sent(), aws.tags) == ("RECEIVED", [], {})
