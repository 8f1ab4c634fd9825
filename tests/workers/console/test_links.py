"""From a command to the page that shows the same."""

import pytest

from tests.workers.operations.status_world import busy
from workers.console.links import page_for


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
