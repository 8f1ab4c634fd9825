"""From a command to the page that shows the same."""

import pytest

from tests.workers.operations.status_world import busy
from workers.console.links import page_for, way_of


@pytest.mark.parametrize(
    ("command", "page"),
    [
        ("orders escalations list --severity critical", "/cases?severity=critical"),
        ("orders escalations list", "/cases"),
        ("orders dead-letters list fulfillment", "/dead-letters"),
        ("orders list --stuck", "/orders?stuck=1"),
        ("orders list --status ESCALATED --older-than 15m", "/orders?status=ESCALATED&amp;older_than=15m"),
        ("orders workers resume escalation", "/queues"),
        ("orders status --watch", "/queues"),
        ("orders queues", "/queues"),
        ("orders listing", None),
        ("aws logs tail /ecs/order-fulfillment/escalation --since 15m", None),
        ("python -m workers fulfillment", None),
    ],
)
def test_a_command_has_its_page(command: str, page: str | None) -> None:
    assert page_for(command) == page


async def test_every_need_of_a_bad_day_that_orders_shows_has_a_page() -> None:
    status = await busy().reader().read()
    commands = [need.command for need in status.needs]
    assert commands
    assert [command for command in commands if command.startswith("orders ") and page_for(command) is None] == []


@pytest.mark.parametrize(
    ("command", "way"),
    [
        (
            "orders escalations resolve 'a b' resubmit --price PRICE",
            ("/cases/a%20b/resolve?action=resubmit", "resubmit"),
        ),
        ("orders cancel 1", ("/orders/1/cancel", "cancel")),
        ("orders requeue 1", ("/orders/1/requeue", "send again")),
        ("orders escalate 1 --note TEXT", ("/orders/1/escalate", "escalate")),
        ("orders show 1", ("/orders/1", "order 1")),
        ("orders dead-letters replay fulfillment --order 1 --yes", ("/dead-letters", "Dead letters")),
        ("orders queues", ("/queues", "Queues")),
        ("orders submit FILE", None),
        ("orders escalations resolve 1 burn", None),
        ("orders show 'it", None),
    ],
)
def test_a_next_step_leads_to_the_page_that_does_it(command: str, way: tuple[str, str] | None) -> None:
    found = way_of(command)
    assert (found and (found.address, found.words)) == way
