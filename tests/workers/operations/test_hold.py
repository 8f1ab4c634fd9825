import asyncio

import pytest

from tests.workers.operations.queue_fakes import FakeQueue
from workers.operations.hold import HOLD_S, Hold

IDS = [f"m-{n:02}" for n in range(25)]


async def received(hold: Hold) -> list[str]:
    return [message["MessageId"] async for message in hold.messages()]


async def test_held_messages_are_visible_again_at_the_end() -> None:
    queue = FakeQueue(*IDS)
    async with Hold(queue.client, "url") as hold:
        assert await received(hold) == IDS
        assert (len(hold), queue.visible) == (25, [])
        await hold.delete("m-03")
    assert (sorted(queue.visible), queue.hidden) == ([message_id for message_id in IDS if message_id != "m-03"], [])


async def test_a_receive_hides_ten_whole_messages_by_a_long_poll() -> None:
    queue = FakeQueue("m-1")
    async with Hold(queue.client, "url") as hold:
        await received(hold)
    assert queue.requests_of("receive_message")[0] == {
        "QueueUrl": "url",
        "MaxNumberOfMessages": 10,
        "VisibilityTimeout": 60,
        "WaitTimeSeconds": 1,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }


async def test_messages_are_changed_in_batches_of_ten() -> None:
    queue = FakeQueue(*IDS)
    async with Hold(queue.client, "url") as hold:
        await received(hold)
    changes = queue.requests_of("change_message_visibility_batch")
    assert {change["QueueUrl"] for change in changes} == {"url"}
    assert [len(change["Entries"]) for change in changes] == [10, 10, 5]
    assert [entry["Id"] for entry in changes[0]["Entries"]] == [str(n) for n in range(10)]


async def test_no_more_than_ten_thousand_messages_are_held() -> None:
    queue = FakeQueue(*map(str, range(11_000)), batch=1_000)
    async with Hold(queue.client, "url") as hold:
        assert len(await received(hold)) == len(hold) == len(queue.hidden) == 10_000


async def test_an_error_makes_held_messages_visible_again() -> None:
    queue = FakeQueue("m-1")

    async def fail() -> None:
        async with Hold(queue.client, "url") as hold:
            await received(hold)
            raise ValueError("oops")

    with pytest.raises(ValueError, match="oops"):
        await fail()
    assert queue.visible == ["m-1"]


async def test_a_cancelled_receive_ends_first_and_its_messages_are_visible_again() -> None:
    queue = FakeQueue("m-1")
    queue.pause("receive_message")

    async def look() -> None:
        async with Hold(queue.client, "url") as hold:
            await received(hold)

    task = asyncio.create_task(look())
    await queue.reached("receive_message")
    task.cancel()
    await asyncio.sleep(0)
    queue.resume("receive_message")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert queue.calls == ["receive_message", "change_message_visibility_batch"]
    assert (queue.visible, queue.hidden) == (["m-1"], [])


async def test_a_cancelled_extension_ends_before_messages_are_made_visible() -> None:
    queue, now = FakeQueue("m-1"), 0.0

    async def look() -> None:
        nonlocal now
        async with Hold(queue.client, "url", now_s=lambda: now) as hold:
            await received(hold)
            now = HOLD_S / 2 + 1
            await hold.extend()

    queue.pause("change_message_visibility_batch")
    task = asyncio.create_task(look())
    await queue.reached("change_message_visibility_batch")
    task.cancel()
    await asyncio.sleep(0)
    assert queue.calls[2:] == ["change_message_visibility_batch"]
    queue.resume("change_message_visibility_batch")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert queue.calls[2:] == ["change_message_visibility_batch"] * 2
    assert queue.visible == ["m-1"]


async def test_a_cancellation_while_messages_are_made_visible_waits_for_all_of_them() -> None:
    queue = FakeQueue(*IDS)

    async def look() -> None:
        async with Hold(queue.client, "url") as hold:
            await received(hold)

    queue.pause("change_message_visibility_batch")
    task = asyncio.create_task(look())
    await queue.reached("change_message_visibility_batch")
    task.cancel()
    await asyncio.sleep(0)
    queue.resume("change_message_visibility_batch")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(queue.visible) == IDS


async def test_messages_that_cannot_be_made_visible_are_reported() -> None:
    queue, warnings = FakeQueue("m-1"), list[str]()
    queue.refused = {"change_message_visibility_batch"}
    async with Hold(queue.client, "url", warn=warnings.append) as hold:
        await received(hold)
    assert warnings == ["the messages that were looked at are visible again in 60 seconds at the latest"]


async def test_an_internal_error_at_the_end_is_raised() -> None:
    queue = FakeQueue("m-1")
    queue.refused, queue.error = {"change_message_visibility_batch"}, KeyError("bug")
    with pytest.raises(KeyError, match="bug"):
        async with Hold(queue.client, "url") as hold:
            await received(hold)


async def test_a_message_is_yielded_once_and_three_repeated_deliveries_end_the_receiving() -> None:
    queue = FakeQueue(*["m-1"] * 10, batch=1)
    async with Hold(queue.client, "url") as hold:
        assert await received(hold) == ["m-1"]
    assert queue.calls.count("receive_message") == 1 + 3


async def test_a_new_message_between_repeated_ones_is_received() -> None:
    queue = FakeQueue(*("m-1", "m-1", "m-1", "m-2", "m-2", "m-2", "m-3", "m-3"), batch=1)
    async with Hold(queue.client, "url") as hold:
        assert await received(hold) == ["m-1", "m-2", "m-3"]


async def test_a_message_that_comes_back_while_held_is_used_with_its_newest_receipt() -> None:
    queue = FakeQueue("m-1", "m-2")
    async with Hold(queue.client, "url") as hold:
        await received(hold)
        queue.come_back("m-1")
        assert await received(hold) == []
        await hold.delete("m-1")
    assert queue.requests_of("delete_message") == [{"QueueUrl": "url", "ReceiptHandle": "m-1#2"}]
    assert queue.changed == [("m-2", 0)]


@pytest.mark.parametrize(("passed_s", "extended"), [(HOLD_S / 2, []), (HOLD_S / 2 + 1, [("m-1", HOLD_S)])])
async def test_a_message_is_extended_after_half_its_hold(passed_s: float, extended: list[tuple[str, int]]) -> None:
    queue, now = FakeQueue("m-1"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now = passed_s
        await hold.extend()
        assert queue.changed == extended


async def test_an_extended_message_is_held_for_another_minute() -> None:
    queue, now = FakeQueue("m-1"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now = 50.0
        await hold.extend()
        now = 109.0
        assert hold.holds("m-1")
        now = 110.0
        assert not hold.holds("m-1")


async def test_messages_are_extended_while_others_are_received() -> None:
    queue, now = FakeQueue(*IDS), 0.0

    def pass_time() -> None:
        nonlocal now
        now += HOLD_S / 2 + 1

    queue.during["receive_message"] = pass_time
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        assert [hold.holds(message_id) for message_id in IDS] == [True] * 25


async def test_a_deleted_message_is_neither_held_nor_extended() -> None:
    queue, now = FakeQueue("m-1", "m-2"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        await hold.delete("m-1")
        assert not hold.holds("m-1")
        now = HOLD_S / 2 + 1
        await hold.extend()
    assert queue.changed == [("m-2", HOLD_S), ("m-2", 0)]


async def test_messages_after_a_batch_that_is_lost_are_visible_again() -> None:
    queue, now = FakeQueue(*IDS), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now, queue.refused = HOLD_S / 2 + 1, set(IDS[:10])
        await hold.extend()
        assert [hold.holds(message_id) for message_id in IDS] == [False] * 10 + [True] * 15
    assert sorted(queue.visible) == IDS[10:]


async def test_a_message_that_could_not_be_extended_is_not_held() -> None:
    queue, now = FakeQueue("m-1", "m-2"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        assert [hold.holds("m-1"), hold.holds("m-2")] == [True, True]
        now, queue.refused = HOLD_S / 2 + 1, {"m-1"}
        await hold.extend()
        assert [hold.holds("m-1"), hold.holds("m-2")] == [False, True]
        now += HOLD_S
        assert not hold.holds("m-2")


ANSWERS = pytest.mark.parametrize("refused", [set(), {"m-1"}], ids=["old receipts accepted", "refused"])


@ANSWERS
async def test_a_message_whose_hold_has_run_out_is_neither_extended_nor_made_visible(refused: set[str]) -> None:
    queue, now = FakeQueue("m-1"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now, queue.refused = HOLD_S, refused  # From now on another receiver may have it.
        assert not hold.holds("m-1")
        await hold.extend()
        assert not hold.holds("m-1")
    assert queue.changed == []


@ANSWERS
async def test_an_extension_that_is_answered_after_the_hold_ran_out_does_not_count(refused: set[str]) -> None:
    queue, now = FakeQueue("m-1"), 0.0

    def suspend() -> None:
        nonlocal now
        now = HOLD_S

    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now, queue.refused = HOLD_S - 1, refused
        queue.during["change_message_visibility_batch"] = suspend
        await hold.extend()
        assert not hold.holds("m-1")
    assert queue.changed == [("m-1", HOLD_S)]


async def test_messages_that_wait_for_their_extension_until_their_hold_has_run_out_are_not_extended() -> None:
    queue, now = FakeQueue(*IDS), 0.0

    def suspend() -> None:
        nonlocal now
        now = HOLD_S

    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now = HOLD_S - 1
        queue.during["change_message_visibility_batch"] = suspend
        await hold.extend()
    assert [message_id for message_id, _ in queue.changed] == IDS[:10]


async def test_messages_of_an_answer_that_comes_too_late_are_not_held() -> None:
    queue, now = FakeQueue("m-1"), 0.0

    def suspend() -> None:
        nonlocal now
        now = HOLD_S

    queue.during["receive_message"] = suspend
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        assert await received(hold) == ["m-1"]
        assert not hold.holds("m-1")
    assert queue.changed == []


async def test_a_message_that_is_received_again_after_its_hold_ran_out_is_held_again_and_yielded_once() -> None:
    queue, now = FakeQueue("m-1"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        assert await received(hold) == ["m-1"]
        now = HOLD_S
        queue.visible, queue.hidden = queue.hidden, []
        assert await received(hold) == []
        assert hold.holds("m-1")
    assert (queue.changed, queue.visible) == ([("m-1", 0)], ["m-1"])


@pytest.mark.parametrize(("passed_s", "held"), [(0.0, True), (HOLD_S, False)])
async def test_a_deletion_says_whether_the_message_was_held_until_then(passed_s: float, *, held: bool) -> None:
    queue, now = FakeQueue("m-1"), 0.0
    async with Hold(queue.client, "url", now_s=lambda: now) as hold:
        await received(hold)
        now = passed_s
        assert await hold.delete("m-1") is held
    assert (queue.hidden, queue.changed) == ([], [])


async def test_looking_again_is_ended_by_three_repeated_deliveries_too() -> None:
    queue = FakeQueue(*["m-1"] * 10, batch=1)
    async with Hold(queue.client, "url") as hold:
        await received(hold)
        queue.requests.clear()
        assert await received(hold) == []
        assert queue.calls.count("receive_message") == 3
