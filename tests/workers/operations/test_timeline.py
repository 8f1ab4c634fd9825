from workers.operations.executions import Execution, Step
from workers.operations.timeline import Entry, timeline

ARN = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"


def test_all_that_happened_is_ordered_by_time() -> None:
    execution = Execution(ARN, "SUCCEEDED", ("A",), (Step("2026-11-22T10:00:00.000Z", "started"),))
    order = {
        "Status": "FULFILLED",
        "CreatedAt": "2026-11-22T10:00:01.000Z",
        "EscalatedAt": "2026-11-22T10:00:02.000000Z",
        "FulfilledAt": "2026-11-22T10:00:09.000000Z",
        "ShipmentId": "S-1",
        "Reasons": ["INVALID_PRICE"],
    }
    case = {
        "OpenedAt": "2026-11-22T10:00:05.000000Z",
        "Episode": 2,
        "Severity": "critical",
        "Reasons": ["WORKFLOW_FAILED"],
        "Episodes": [
            {
                "Number": 1,
                "OpenedAt": "2026-11-22T10:00:02.000000Z",
                "Severity": "warning",
                "Reasons": ["INVALID_PRICE"],
            }
        ],
        "Evidence": [
            {
                "At": "2026-11-22T10:00:02.000000Z",
                "Source": "workflow",
                "Reasons": ["INVALID_PRICE"],
                "Detail": "Not proper.",
                "Attempts": 0,
            }
        ],
        "Routed": [{"At": "2026-11-22T10:00:03.000000Z", "Channel": "log", "Episode": 1}],
        "Resolutions": [
            {
                "At": "2026-11-22T10:00:04.000000Z",
                "Actor": "ada",
                "Action": "resubmit",
                "Note": "a typo",
                "ExecutionArn": f"{ARN}-2",
            },
            {
                "At": "2026-11-22T10:00:09.000000Z",
                "Actor": "ada",
                "Action": "fulfill",
                "Note": "by hand",
                "ShipmentId": "S-1",
            },
        ],
    }
    line = {
        "timestamp": "2026-11-22T10:00:03.500000Z",
        "level": "info",
        "event": "message.acknowledged",
        "order_id": "1",
    }
    assert [(entry.at[17:19], entry.source, entry.text) for entry in timeline(order, case, [execution], [line])] == [
        ("00", "execution 1", "started"),
        ("01", "order", "recorded as RECEIVED"),
        ("02", "order", "ESCALATED: INVALID_PRICE"),
        ("02", "case", "opened, episode 1: warning; INVALID_PRICE"),
        ("02", "case", "workflow escalates: INVALID_PRICE; Not proper.; attempts 0"),
        ("03", "case", "routed to log"),
        ("03", "log", "info message.acknowledged"),
        ("04", "case", "resolved by ada, resubmit: a typo; execution one-2"),
        ("05", "case", "opened, episode 2: critical; WORKFLOW_FAILED"),
        ("09", "order", "FULFILLED: shipment S-1"),
        ("09", "case", "resolved by ada, fulfill: by hand; shipment S-1"),
    ]


def test_entries_without_a_time_come_first() -> None:
    order = {"CreatedAt": "yesterday", "Status": "CANCELLED", "UpdatedAt": "2026-11-22T10:00:01"}
    assert timeline(order, None, [], []) == [
        Entry("yesterday", "order", "recorded as RECEIVED"),
        Entry("2026-11-22T10:00:01", "order", "CANCELLED"),
    ]
