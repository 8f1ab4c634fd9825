"""Everything that may be on a page: orders and cases of every kind, dead letters, and hostile text in all."""

from dataclasses import replace
from typing import Any

from tests.browser.orders import Day, order, sample
from tests.integration.command_line import CARD
from tests.integration.pipeline import wait_until
from tests.workers.console.pages.hostile import everywhere
from tests.workers.console.pages.test_cases import FULL
from workers import clock
from workers.aws.case_items import case_item
from workers.domain.reasons import Severity

# As markup, as a template, in the other direction, without a blank to break it, with what a terminal obeys.
HOSTILE = "</script><img src=x onerror=alert(1)>\"'{{7*7}}\u202e" + "W" * 5_000 + f"\x1b[2J {CARD} 1234-1234-1234-5678"
SPACED = "1234-1234-1234-5678"
FORBIDDEN = (CARD, SPACED, SPACED.replace("-", " "))
BROKEN = "def handler(event, context):\n    raise RuntimeError('the verification is broken')\n"
CAUGHT, REFUSED, MALFORMED = "caught", "refused", "malformed"


def fill(day: Day) -> None:
    """Let orders of all kinds end, and write by hand what no worker writes."""
    _write_by_hand(day)
    day.replace_function(BROKEN)
    day.submit(order("caught-1"), CAUGHT)
    day.wait_for_cases("caught-1")
    day.restore()
    for order_id in ("001", "002", "003", "004"):
        day.submit(sample(order_id))
    hostile = HOSTILE[:200]
    day.submit(order("hostile-1", Name=hostile, ItemName=hostile, Price=hostile), REFUSED)
    day.submit({"OrderId": hostile, "Name": 1, "ItemName": hostile, "CC": CARD, hostile: hostile}, MALFORMED)
    text = HOSTILE.replace("\x1b", "")  # SQS does not take it.
    short = text[:200]
    day.send_dead_letter(text, Reason=short, OriginMessageId=short[:90], ErrorMessage=short)
    day.send_dead_letter({"OrderId": "hostile-1", "CC": CARD, short: [text]}, Reason="UNDECODABLE_MESSAGE")
    wait_until(lambda: day.pipeline.status("001") == "FULFILLED")
    day.wait_for_cases("002", "003", "004", "hostile-1")


def _write_by_hand(day: Day) -> None:
    tables = day.pipeline.client("dynamodb")
    stack, now = day.pipeline.stack, clock.now()
    text: dict[str, Any] = {"S": HOSTILE}
    for order_id, status in (("by-hand-1", "RECEIVED"), ("by-hand-2", "ESCALATED"), ("by-hand-3", "FULFILLED")):
        item = {
            "OrderId": {"S": order_id},
            "Status": {"S": status},
            "ExecutionArn": {"S": day.pipeline.arn(f"of-{order_id}")},
            "CreatedAt": {"S": now},
            "UpdatedAt": {"S": now},
            **({} if status == "FULFILLED" else {"OpenKey": {"S": f"{status}#0"}}),
            **dict.fromkeys(("Name", "ItemName", "Price", "ShipmentId", "ResolvedBy", "CancelNote"), text),
            "CC": {"S": CARD},
            "Reasons": {"L": [text]},
            HOSTILE[:100]: text,
        }
        tables.put_item(TableName=stack.order_table, Item=item)
    edited = {
        "OrderId": {"S": "edited"},
        "Status": {"N": "7"},
        "OpenKey": {"S": "RECEIVED#1"},
        "UpdatedAt": text,
        "CC": text,
    }
    tables.put_item(TableName=stack.order_table, Item=edited)
    case = replace(
        everywhere(FULL, HOSTILE),
        case_id="by-hand-2",
        order_id="by-hand-2",
        opened_at=now,
        updated_at=now,
        execution_arns=(day.pipeline.arn("of-by-hand-2"),),
        severity=Severity.CRITICAL,
        claim=None,
    )
    tables.put_item(TableName=stack.escalation_table, Item=case_item(case))
    edited = {
        "CaseId": {"S": "edited"},
        "State": {"S": "OPEN"},
        "OpenKey": {"S": "OPEN#1"},
        "OpenedAt": text,
        "Note": text,
    }
    tables.put_item(TableName=stack.escalation_table, Item=edited)
