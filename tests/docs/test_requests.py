"""What the pages show as sent to providers and channels is what is sent."""

import json

from tests.docs.pages import blocks, page, rows, section
from tests.workers.fakes import order
from tests.workers.fulfillment.provider_server import provider_server
from workers.domain.reasons import Reason, Severity, Source
from workers.escalation.notifications import Notification
from workers.fulfillment.http_provider import HttpProvider, http_session
from workers.fulfillment.tokens import FixedToken


async def test_a_request_to_a_provider_has_the_headers_and_fields_of_the_page() -> None:
    (shown,) = blocks(section(page("docs/providers.md"), "The request"), "")
    head, _, body = shown.partition("\n\n")
    async with provider_server() as server, http_session(1) as session:
        provider = HttpProvider(session, server.url, timeout_s=5, token=FixedToken("token"))
        await provider.ship(order(name="Ada", item_name="Bell", price="80000", cc="************5678"))
    (request,) = server.requests
    assert request.document | {"Name": "...", "ItemName": "...", "ExecutionArn": "arn:..."} == json.loads(body)
    given = dict(line.split(": ") for line in head.splitlines()[1:])
    assert {name: request.headers[name.lower()] for name in given} == given | {"Authorization": "Bearer token"}


def test_the_responses_on_the_page_are_all_that_a_provider_can_give() -> None:
    responses = [cells[0] for cells in rows(section(page("docs/providers.md"), "The response"))]
    assert [each[:3] for each in responses] == ["2xx", "4xx", "429", "408"]


def test_a_notification_is_the_one_of_the_page() -> None:
    (shown,) = blocks(section(page("docs/routing.md"), "What a channel gets"), "json")
    notification = Notification(
        channel="chat",
        channels=("log", "chat"),
        case_id="004",
        episode=1,
        severity=Severity.WARNING,
        reasons=(Reason.INVALID_PRICE,),
        opened_at="2026-11-22T09:33:24.310221Z",
        order_id="004",
        source=Source.WORKFLOW,
        detail="The order's details are not proper.",
        execution_arn="arn:...",
    )
    assert notification.fields() == json.loads(shown)
