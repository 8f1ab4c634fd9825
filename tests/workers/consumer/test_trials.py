"""Messages delivered too often: which ends of a trial are taken back, and which count."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import structlog

from tests.workers.consumer.fakes import (
    LOST,
    QUICK,
    FakeHandler,
    FakeQueue,
    RecordedBackoff,
    limits,
    message,
    running,
    turns,
    until,
)
from workers.consumer.delivery import Delivery
from workers.consumer.message import Acknowledged, Message, Settlement
from workers.consumer.trials import Handle, Trials
from workers.errors import AccessDeniedError, FatalError, OutageError, TransientError

NEVER_PROBES = replace(QUICK, probe=RecordedBackoff(fixed_s=100))  # A `Backoff` may also wait for no time at all.


class TrialHandler(FakeHandler):
    """Gives a message up like it handles it, and takes a trial back as `taking_back` does."""

    def __init__(self, *behavior: object) -> None:
        super().__init__()
        self.when("worn", *behavior)
        self.ready = asyncio.Event()
        self.ready.set()
        self.error: Exception | None = None

    async def give_up(self, message: Message) -> Acknowledged:
        self.given_up.append(message.id)
        settlement = await self._behave(message)
        assert isinstance(settlement, Acknowledged)
        return settlement

    async def take_back(self, message: Message) -> None:
        await self.ready.wait()
        if self.error is not None:
            raise self.error
        await super().take_back(message)


def worn(message_id: str = "worn") -> Message:
    return message(message_id, receive_count=11)


async def test_a_stop_takes_a_running_trial_back_before_the_release() -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(asyncio.Event())
    handler.ready.clear()
    async with running(queue, handler, limits(drain_s=0.01)) as run:
        await until(lambda: handler.given_up == ["worn"])
        run.signal.set()
        await until(lambda: "consumer.stopping" in run.events())
        await asyncio.sleep(0.05)
        assert (queue.changed, run.endings()) == ([], []), "another worker would count its own trial first"
        handler.ready.set()
        await run.ended()
    assert handler.taken_back == ["worn"]
    assert queue.changed == [("r-worn", 0)]
    assert run.endings() == [("worn", "message.released", "stopping")]


async def test_the_end_of_the_drain_time_does_not_end_the_take_back() -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(OutageError("down"))
    handler.ready.clear()
    async with running(queue, handler, limits(drain_s=0.02), NEVER_PROBES) as run:
        await until(lambda: "downstream.failed" in run.events())
        run.signal.set()  # Cancels the held message at once, and once more after the drain time.
        await asyncio.sleep(0.1)
        handler.ready.set()
        await run.ended()
    assert handler.taken_back == ["worn"]
    assert run.endings() == [("worn", "message.released", "stopping")]


async def test_a_trial_that_ends_within_the_drain_time_is_not_taken_back() -> None:
    slow = asyncio.Event()
    queue, handler = FakeQueue([worn()]), TrialHandler(slow)
    async with running(queue, handler, limits()) as run:
        await until(lambda: handler.given_up == ["worn"])
        run.signal.set()
        await turns()
        slow.set()
        await run.ended()
    assert handler.taken_back == []
    assert run.endings() == [("worn", "message.acknowledged", "handled")]


async def test_a_stop_takes_a_trial_back_that_an_outage_holds() -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(OutageError("down"))
    async with running(queue, handler, limits(drain_s=100), NEVER_PROBES) as run:
        await until(lambda: "downstream.failed" in run.events())
        await run.stop()
    assert handler.taken_back == ["worn"]
    assert run.endings() == [("worn", "message.released", "stopping")]


async def test_a_stop_takes_nothing_back_from_messages_that_wait_for_their_trial() -> None:
    queue, handler = FakeQueue([worn("worn"), worn("next")]), TrialHandler(asyncio.Event())
    async with running(queue, handler, limits(drain_s=0.01)) as run:
        await until(lambda: handler.given_up == ["worn"])
        await run.stop()
    assert (handler.given_up, handler.taken_back) == (["worn"], ["worn"])
    assert sorted(run.endings()) == [
        ("next", "message.released", "stopping"),
        ("worn", "message.released", "stopping"),
    ]


@pytest.mark.parametrize("error", [TransientError("busy"), ValueError("bug"), asyncio.CancelledError()])
async def test_a_trial_that_fails_counts(error: BaseException) -> None:
    queue, handler = FakeQueue([worn()]), FakeHandler()

    async def give_up(message: Message) -> Acknowledged:  # noqa: ARG001 - a handler's signature.
        raise error

    handler.give_up = give_up  # type: ignore[method-assign]
    async with running(queue, handler, limits()) as run:
        await run.until_settled(1)
    assert handler.taken_back == []


async def test_a_trial_that_takes_too_long_counts() -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(asyncio.Event())
    async with running(queue, handler, limits(max_handle_s=0.02)) as run:
        await run.until_settled(1)
    assert handler.taken_back == []
    assert run.endings() == [("worn", "message.released", "timed_out")]


@pytest.mark.parametrize(
    ("behavior", "taken_back"),
    [(None, []), (OutageError("down"), ["worn"])],
    ids=["while the handler works: it may block the loop", "while an outage holds it"],
)
async def test_a_lost_receipt_counts_unless_an_outage_holds_the_message(
    behavior: Exception | None, taken_back: list[str]
) -> None:
    queue, handler = FakeQueue([worn()], visibility_timeout_s=1), TrialHandler(behavior or asyncio.Event())
    async with running(queue, handler, limits(), NEVER_PROBES) as run:
        await until(lambda: handler.given_up == ["worn"])
        await turns()
        queue.refuse("r-worn", LOST)
        await run.until_settled(1)
    assert handler.taken_back == taken_back
    assert run.endings() == [("worn", "message.abandoned", "receipt_lost")]


@pytest.mark.parametrize(
    ("errors", "taken_back"),
    [([FatalError("gone")], []), ([AccessDeniedError("denied")] * 50, ["worn"])],
    ids=["the handler's own", "an outage that lasts"],
)
async def test_a_fatal_error_counts_unless_it_is_an_outage(errors: Sequence[Exception], taken_back: list[str]) -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(*errors)
    async with running(queue, handler, limits(), replace(QUICK, access_denied_patience_s=0.0)) as run:
        with pytest.raises(ExceptionGroup) as raised:
            await run.ended()
    assert raised.group_contains(FatalError)
    assert handler.taken_back == taken_back
    assert run.endings() == [("worn", "message.released", "stopping")]


async def test_a_fatal_error_elsewhere_takes_a_running_trial_back() -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(asyncio.Event())
    handler.when("denied", FatalError("gone"))
    async with running(queue, handler, limits()) as run:
        await until(lambda: handler.given_up == ["worn"])
        queue.send(message("denied"))
        with pytest.raises(ExceptionGroup):
            await run.ended()
    assert handler.taken_back == ["worn"]


@pytest.mark.parametrize("error", [OutageError("down"), None], ids=["fails", "hangs"])
async def test_a_take_back_that_does_not_work_delays_no_release(error: Exception | None) -> None:
    queue, handler = FakeQueue([worn()]), TrialHandler(asyncio.Event())
    handler.error = error
    if error is None:
        handler.ready.clear()
    async with running(queue, handler, limits(drain_s=0.01), replace(QUICK, take_back_s=0.05)) as run:
        await until(lambda: handler.given_up == ["worn"])
        await run.stop()
    assert run.endings() == [("worn", "message.released", "stopping")]
    (line,) = [line for line in run.logs if line["event"] == "trial.not_taken_back"]
    assert line["reason"] == ("no answer in time" if error is None else "down")
    assert line["message_id"] == "worn"


def delivery_of(received: Message) -> Delivery:
    return cast("Delivery", SimpleNamespace(message=received))  # All that a trial reads of it.


async def trial(
    handler: TrialHandler, handle: Callable[[Delivery, Handle], Awaitable[Settlement]], *, stopped: bool = True
) -> Settlement:
    return await Trials(handler, replace(QUICK, take_back_s=0.05)).run(delivery_of(worn()), handle, lambda _: stopped)


@pytest.mark.parametrize(
    ("begun", "stopped", "taken_back"),
    [(True, True, ["worn"]), (True, False, []), (False, True, []), (False, False, [])],
)
async def test_a_cancelled_trial_is_taken_back_only_if_it_had_begun_and_a_stop_cancelled_it(
    begun: bool, stopped: bool, taken_back: list[str]
) -> None:
    handler, waiting = TrialHandler(asyncio.Event()), asyncio.Event()

    async def handle(delivery: Delivery, give_up: Handle) -> Settlement:
        waiting.set()
        await (give_up(delivery.message) if begun else asyncio.sleep(60))
        raise AssertionError

    running_trial = asyncio.create_task(trial(handler, handle, stopped=stopped))
    await waiting.wait()
    await turns()
    running_trial.cancel()
    await asyncio.wait([running_trial])
    assert running_trial.cancelled()
    assert handler.taken_back == taken_back


async def test_a_failure_after_an_outage_counts() -> None:
    handler = TrialHandler(OutageError("down"))

    async def handle(delivery: Delivery, give_up: Handle) -> Settlement:
        with pytest.raises(OutageError):
            await give_up(delivery.message)
        raise TransientError("busy")

    with pytest.raises(TransientError):
        await trial(handler, handle)
    assert handler.taken_back == []


async def test_further_cancellations_do_not_end_a_take_back() -> None:
    handler = TrialHandler(asyncio.Event())
    handler.ready.clear()

    async def handle(delivery: Delivery, give_up: Handle) -> Settlement:
        return await give_up(delivery.message)

    running_trial = asyncio.create_task(trial(handler, handle))
    await turns()
    for _ in range(3):
        running_trial.cancel()
        await turns()
    assert not running_trial.done()
    handler.ready.set()
    await asyncio.wait([running_trial])
    assert running_trial.cancelled()
    assert handler.taken_back == ["worn"]


async def test_a_take_back_that_gets_no_answer_is_cancelled_in_the_end() -> None:
    handler, cancelled = TrialHandler(asyncio.Event()), asyncio.Event()

    async def take_back(message: Message) -> None:  # noqa: ARG001 - a handler's signature.
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def handle(delivery: Delivery, give_up: Handle) -> Settlement:
        return await give_up(delivery.message)

    handler.take_back = take_back  # type: ignore[method-assign]
    running_trial = asyncio.create_task(trial(handler, handle))
    await turns()
    running_trial.cancel()
    await asyncio.wait([running_trial])
    async with asyncio.timeout(1):
        await cancelled.wait()


@pytest.mark.parametrize(("error", "reason"), [(OutageError("down"), "down"), (KeyError(), "key error")])
async def test_a_take_back_that_fails_is_logged_with_its_reason(error: Exception, reason: str) -> None:
    handler = TrialHandler(asyncio.Event())
    handler.error = error

    async def handle(delivery: Delivery, give_up: Handle) -> Settlement:
        return await give_up(delivery.message)

    with structlog.testing.capture_logs() as logs:
        running_trial = asyncio.create_task(trial(handler, handle))
        await turns()
        running_trial.cancel()
        await asyncio.wait([running_trial])
    assert [(line["event"], line["reason"]) for line in logs] == [("trial.not_taken_back", reason)]


async def test_one_trial_runs_at_a_time() -> None:
    handler, running_now, most = TrialHandler(), 0, 0
    trials = Trials(handler)

    async def handle(_delivery: Delivery, _give_up: Handle) -> Settlement:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await turns()
        running_now -= 1
        return Acknowledged("handled")

    await asyncio.gather(*(trials.run(delivery_of(worn(f"m{n}")), handle, lambda _: False) for n in range(3)))
    assert most == 1
