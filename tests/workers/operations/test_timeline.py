import pytest

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
                "Episode": 1,
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


def test_a_notification_that_was_given_up_is_told_with_its_reason() -> None:
    case = {"Routed": [{"Channel": "chat", "Episode": 1, "At": "2026-11-22T10:00:01", "GivenUp": "HTTP 422"}]}
    assert timeline(None, case, [], []) == [Entry("2026-11-22T10:00:01", "case", "gave up routing to chat: HTTP 422")]


def test_entries_without_a_time_come_first() -> None:
    order = {"CreatedAt": "yesterday", "Status": "CANCELLED", "UpdatedAt": "2026-11-22T10:00:01"}
    assert timeline(order, None, [], []) == [
        Entry("yesterday", "order", "recorded as RECEIVED"),
        Entry("2026-11-22T10:00:01", "order", "CANCELLED"),
    ]


def test_what_a_case_lacks_is_left_out() -> None:
    case = {
        "Evidence": [{"Source": None, "Reasons": "INVALID_PRICE", "Attempts": None}],
        "Routed": [{}],
        "Resolutions": [{"Actor": "ada", "Action": "cancel", "Note": "", "ShipmentId": None}],
    }
    assert [entry.text for entry in timeline(None, case, [], [])] == [
        "unknown source escalates",
        "routed to None",
        "resolved by ada, cancel",
    ]


@pytest.mark.parametrize("order", [{"Status": "CANCELLED"}, {"Status": "RECEIVED", "UpdatedAt": "2026-11-22T10:00:01"}])
def test_only_a_cancelled_order_with_a_time_is_an_entry(order: dict[str, str]) -> None:
    assert timeline(order, None, [], []) == []


def test_entries_of_one_time_come_from_execution_order_case_and_log() -> None:
    at = "2026-11-22T10:00:00.000000Z"
    executions = [Execution(ARN, steps=(Step(at, "started"),)), Execution(ARN, steps=(Step(at, "entered A"),))]
    order, case, line = {"CreatedAt": at}, {"Routed": [{"At": at, "Channel": "log"}]}, {"timestamp": at, "event": "x"}
    sources = [entry.source for entry in timeline(order, case, executions, [line])]
    assert sources == ["execution 1", "execution 2", "order", "case", "log"]


def test_a_log_line_is_shown_without_what_the_story_says_anyway() -> None:
    ids = {"order_id": "1", "case_id": "1", "execution_arn": ARN}
    line = ids | {"level": "error", "worker": "escalation", "event": "x", "exception": "Traceback", "message_id": "m-1"}
    assert timeline(None, None, [], [line]) == [Entry("", "log", "error escalation x message_id=m-1")]


def test_earlier_executions_recorded_the_order_at_their_time() -> None:
    order = {"ExecutionArn": "three", "CreatedAt": "2026-11-22T12:00:00.000Z"}
    case = {
        "Order": {"ExecutionArn": "two", "CreatedAt": "2026-11-22T11:00:00.000Z"},
        "Episodes": [{"Order": {"ExecutionArn": "one", "CreatedAt": "2026-11-22T10:00:00.000Z"}}],
    }
    entries = [(entry.at[11:13], entry.text) for entry in timeline(order, case, [], []) if entry.source == "order"]
    assert entries == [
        ("10", "recorded as RECEIVED"),
        ("11", "recorded as RECEIVED"),
        ("12", "recorded as RECEIVED"),
    ]


def test_the_copy_of_what_the_order_table_still_has_is_not_repeated() -> None:
    item = {"ExecutionArn": "one", "CreatedAt": "2026-11-22T10:00:00.000Z"}
    assert [entry.text for entry in timeline(item, {"Order": item}, [], [])] == ["recorded as RECEIVED"]


def test_it_is_said_who_cancelled_and_who_erased_an_order() -> None:
    cancelled = {"Status": "CANCELLED", "UpdatedAt": "2026-11-22T10:00:01.000000Z"}
    by_hand = {"CancelledAt": "2026-11-22T10:00:01.000000Z", "CancelledBy": "ada", "CancelNote": "customer has left"}
    erased = {"ErasedAt": "2026-11-22T10:00:02.000000Z", "ErasedBy": "grace"}

    def texts(order: dict[str, str]) -> list[str]:
        return [entry.text for entry in timeline(order, None, [], [])]

    assert texts(cancelled) == ["CANCELLED"]
    assert texts(cancelled | by_hand) == ["CANCELLED: by ada; customer has left"]
    assert texts(cancelled | erased) == ["erased: by grace"]


def at(minute: int) -> str:
    return f"2026-11-22T10:{minute:02}:00.000000Z"


def test_an_episode_opens_with_the_reasons_of_its_first_message_only() -> None:
    case = {
        "OpenedAt": at(1),
        "Episode": 1,
        "Severity": "critical",
        "Reasons": ["INVALID_PRICE", "UNSPECIFIED"],
        "Evidence": [
            {"At": at(1), "Reasons": ["INVALID_PRICE"]},
            {"At": at(1), "Reasons": ["INVALID_PRICE", "UNSPECIFIED"]},
            {"At": at(2), "Reasons": ["UNSPECIFIED"]},
        ],
    }
    assert [entry.text for entry in timeline(None, case, [], [])] == [
        "opened, episode 1: INVALID_PRICE",
        "unknown source escalates: INVALID_PRICE",
        "unknown source escalates: INVALID_PRICE, UNSPECIFIED",
        "unknown source escalates: UNSPECIFIED",
    ]
    assert timeline(None, case | {"Evidence": []}, [], [])[0].text.endswith(": critical; INVALID_PRICE, UNSPECIFIED")


def test_an_episode_that_nobody_resolved_ends_when_the_next_one_begins() -> None:
    episodes = [{"Number": number, "OpenedAt": at(number)} for number in (1, 2)]
    resolution = {"Episode": 2, "At": at(2), "Actor": "ada", "Action": "resubmit"}
    case = {"OpenedAt": at(3), "Episode": 3, "Episodes": episodes, "Resolutions": [resolution]}
    assert [entry.text for entry in timeline(None, case, [], [])] == [
        "opened, episode 1",
        "episode 1 ended unresolved: the order was submitted again",
        "opened, episode 2",
        "resolved by ada, resubmit",
        "opened, episode 3",
    ]
    dropped = timeline(None, case | {"Dropped": {"Resolutions": 1}}, [], [])
    assert "episode 1 ended" not in str(dropped)
