import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.contextvars import bound_contextvars
from structlog.typing import EventDict

from tests.workers.consumer.fakes import FakeLines, turns
from tests.workers.escalation.examples import case
from tests.workers.fakes import DOWN, NO_WAIT, NOW, FakeCases, FakeChannel, FakeOrders, Journal
from workers.backoff import Backoff
from workers.domain.cases import MAX_GIVEN_UP_CHARS, Case, SentNotification
from workers.errors import OutageError
from workers.escalation.notifications import Channel, ChannelError, Notification, RefusedError
from workers.escalation.router import PAUSE_BACKOFF, RETRY_BACKOFF, Router
from workers.metrics import Metrics

REFUSED = ChannelError("HTTP 403", passing=False)


class Bench:
    """A router, its channels and the case table."""

    def __init__(self, case: Case, *channels: Channel, **options: Any) -> None:
        self.journal = Journal()
        self.cases = FakeCases(self.journal, FakeOrders(self.journal), case)
        self.metrics = Metrics()
        self.channels = channels or [FakeChannel(name, self.journal) for name in case.channels[1:]]
        self.router = Router(
            self.channels, self.cases, self.metrics.notifications, now=lambda: NOW, retry_backoff=NO_WAIT, **options
        )

    async def route(self, case: Case | None = None) -> tuple[str, ...]:
        return await self.router.route(case or self.cases.cases["001"])

    def counted(self) -> dict[tuple[str, str], float]:
        (family,) = self.metrics.notifications.collect()
        return {
            (sample.labels["channel"], sample.labels["result"]): sample.value
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def recorded(self) -> list[str]:
        return [sent.channel for sent in self.cases.cases["001"].routed]

    def tried(self, name: str) -> int:
        return self.journal.names().count(name)


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as captured:
        yield captured


def of(logs: Sequence[EventDict], event: str) -> list[EventDict]:
    return [line for line in logs if line["event"] == event]


async def test_each_sent_notification_is_recorded(logs: list[EventDict]) -> None:
    bench = Bench(case("chat", "pager"))
    bench.router.log(bench.cases.cases["001"])
    (line,) = of(logs, "escalation.routed")
    assert line["channels"] == ["log", "chat", "pager"]
    assert await bench.route() == ()
    record = "cases.record_sent"
    assert sorted(bench.journal.names()) == sorted(["chat", "pager", record, record])
    assert sorted(bench.recorded()) == ["chat", "log", "pager"]
    assert len(of(logs, "escalation.routed")) == 1
    assert bench.counted() == {("log", "sent"): 1, ("chat", "sent"): 1, ("pager", "sent"): 1}


async def test_a_case_of_version_1_is_logged_before_that_is_recorded(logs: list[EventDict]) -> None:
    bench = Bench(case("chat", routed=()))
    bench.journal.fail("cases.record_sent", DOWN)
    with pytest.raises(OutageError):
        await bench.route()
    assert len(of(logs, "escalation.routed")) == 1
    assert bench.recorded() == []
    assert await bench.route() == ()
    assert len(of(logs, "escalation.routed")) == 2
    assert bench.recorded() == ["log", "chat"]


async def test_only_missing_notifications_are_sent(logs: list[EventDict]) -> None:
    sent = tuple(SentNotification(channel=name, episode=1, at=NOW) for name in ("log", "chat"))
    bench = Bench(case("chat", "pager", routed=sent))
    assert await bench.route() == ()
    assert (bench.tried("chat"), bench.tried("pager")) == (0, 1)
    assert of(logs, "escalation.routed") == []


async def test_a_completely_routed_case_is_not_touched() -> None:
    bench = Bench(case(routed=(SentNotification(channel="log", episode=1, at=NOW),)))
    assert await bench.route() == ()
    assert bench.journal.steps == []


async def test_a_short_failure_is_retried_at_once(logs: list[EventDict]) -> None:
    bench = Bench(case("chat"))
    bench.journal.fail("chat", OutageError("reset"), ChannelError("HTTP 500"))
    assert await bench.route() == ()
    assert bench.recorded() == ["log", "chat"]
    assert of(logs, "channel.failed") == []


async def test_a_channel_that_is_down_does_not_stop_the_others(logs: list[EventDict]) -> None:
    bench = Bench(case("chat", "pager"))
    bench.journal.fail("chat", *[ChannelError("HTTP 503")] * 3)
    assert await bench.route() == ("chat",)
    assert bench.recorded() == ["log", "pager"]
    (line,) = of(logs, "channel.failed")
    assert (line["log_level"], line["channel"], line["reason"]) == ("warning", "chat", "HTTP 503")
    assert bench.counted() == {("chat", "failed"): 1, ("pager", "sent"): 1}


async def test_a_refusal_is_not_retried_at_once() -> None:
    bench = Bench(case("chat"))
    bench.journal.fail("chat", REFUSED)
    assert await bench.route() == ("chat",)
    assert bench.tried("chat") == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DOWN, "down"),
        (REFUSED, "HTTP 403"),
        (ValueError("card 4929123412345678 at https://chat.example/secret"), "value error"),
    ],
)
async def test_only_our_own_error_texts_are_logged(logs: list[EventDict], error: Exception, reason: str) -> None:
    bench = Bench(case("chat"))
    bench.journal.fail("chat", *[error] * 3)
    await bench.route()
    assert [line["reason"] for line in of(logs, "channel.failed")] == [reason]


async def test_a_failed_channel_is_paused_and_later_notifications_do_not_wait(logs: list[EventDict]) -> None:
    bench = Bench(case("chat"), pause_backoff=Backoff(0.2, 30))
    bench.journal.fail("chat", *[REFUSED] * 2)
    await bench.route()
    for _ in range(5):
        assert await bench.route() == ("chat",)
    assert bench.counted()[("chat", "failed")] == 1
    assert bench.counted()[("chat", "deferred")] == 5
    await asyncio.sleep(0.21)
    assert await bench.route() == ("chat",)  # Tried, and failed again: the next pause is longer.
    await asyncio.sleep(0.21)
    assert await bench.route() == ("chat",)
    assert bench.counted()[("chat", "failed")] == 2
    await asyncio.sleep(0.21)
    assert await bench.route() == ()
    assert [line["event"] for line in logs if line["event"].startswith("channel.")] == [
        "channel.failed",
        "channel.recovered",
    ]
    assert [line["channel"] for line in of(logs, "channel.recovered")] == ["chat"]


async def test_a_channels_retry_after_is_respected() -> None:
    bench = Bench(case("chat"), pause_backoff=NO_WAIT)
    bench.journal.fail("chat", ChannelError("HTTP 429", passing=False, retry_after_s=0.2))
    assert await bench.route() == ("chat",)
    assert await bench.route() == ("chat",)
    assert bench.counted()[("chat", "deferred")] == 1
    await asyncio.sleep(0.21)
    assert await bench.route() == ()


class Hanging:
    """A channel that fails with `errors`, one a call, then hangs until `go` is set."""

    name = "chat"

    def __init__(self, *errors: Exception) -> None:
        self.begun = 0
        self.errors = list(errors)
        self.go = asyncio.Event()

    async def send(self, _notification: Notification) -> None:
        self.begun += 1
        if self.errors:
            raise self.errors.pop(0)
        await self.go.wait()


async def test_a_slow_channel_times_out_and_the_others_do_not_wait(logs: list[EventDict]) -> None:
    hanging = Hanging()
    journal = Journal()
    bench = Bench(case("chat", "pager"), hanging, FakeChannel("pager", journal), send_timeout_s=0.05)
    routed = asyncio.create_task(bench.route())
    await asyncio.sleep(0.02)
    assert journal.names() == ["pager"]
    assert await routed == ("chat",)
    assert hanging.begun == 1
    assert [line["reason"] for line in of(logs, "channel.failed")] == ["no answer within 0.05 s"]


async def test_simultaneous_failures_of_a_channel_count_once(logs: list[EventDict]) -> None:
    hanging = Hanging()
    bench = Bench(case("chat"), hanging, send_timeout_s=0.02, pause_backoff=Backoff(0.1, 30))
    await asyncio.gather(*(bench.route() for _ in range(50)))
    assert len(of(logs, "channel.failed")) == 1
    hanging.go.set()
    await asyncio.sleep(0.11)  # Not 2 ** 49 times that.
    assert await bench.route() == ()


async def test_a_single_notification_probes_a_failed_channel() -> None:
    hanging = Hanging(REFUSED)
    bench = Bench(case("chat"), hanging, pause_backoff=NO_WAIT)
    assert await bench.route() == ("chat",)
    begun = hanging.begun
    probing = asyncio.create_task(bench.route())
    await asyncio.sleep(0.01)
    results = await asyncio.gather(*(bench.route() for _ in range(10)))
    assert results == [("chat",)] * 10
    assert hanging.begun == begun + 1
    hanging.go.set()
    assert await probing == ()
    assert await asyncio.gather(*(bench.route() for _ in range(10))) == [()] * 10


async def test_if_the_case_cannot_be_written_the_other_channels_are_still_notified() -> None:
    bench = Bench(case("chat", "pager", routed=(SentNotification(channel="log", episode=1, at=NOW),)))
    bench.journal.fail("cases.record_sent", DOWN)
    with pytest.raises(OutageError):
        await bench.route()
    assert (bench.tried("chat"), bench.tried("pager")) == (1, 1)
    assert len(bench.recorded()) == 2
    missing = bench.cases.cases["001"].unrouted
    assert await bench.route() == ()
    assert [bench.tried(name) for name in missing] == [2]


async def test_an_error_of_one_channel_waits_until_the_others_are_recorded() -> None:
    hanging = Hanging()
    sent = SentNotification(channel="log", episode=1, at=NOW)
    bench = Bench(case("pager", "chat", routed=(sent,)), FakeChannel("pager", Journal()), hanging)
    bench.journal.fail("cases.record_sent", DOWN)
    routing = asyncio.create_task(bench.route())
    await turns()
    assert not routing.done()
    hanging.go.set()
    with pytest.raises(OutageError):
        await routing
    assert bench.recorded() == ["log", "chat"]


async def test_an_unknown_channel_is_left_to_another_worker(logs: list[EventDict]) -> None:
    bench = Bench(case("chat"), FakeChannel("pager", Journal()))
    assert await bench.route() == ("chat",)
    assert bench.recorded() == ["log"]
    (line,) = of(logs, "channel.failed")
    assert (line["channel"], line["reason"]) == ("chat", "this worker's rules do not define the channel")


WRONG = RefusedError("HTTP 422", blames_content=True)
FORBIDDEN = RefusedError("HTTP 403", blames_content=False)


class Picky:
    """A channel that refuses the notifications of some cases with an error; it accepts all others."""

    name = "chat"

    def __init__(self, error: RefusedError, *case_ids: str) -> None:
        self.error, self.refused = error, set(case_ids)
        self.asked: list[str] = []

    async def send(self, notification: Notification) -> None:
        self.asked.append(notification.case_id)
        if notification.case_id in self.refused:
            raise self.error


def bench_of(error: RefusedError, *refused: str, **options: Any) -> tuple[Bench, Picky]:
    """Return a bench with open cases `001` to `009`, whose only channel refuses some of them."""
    picky = Picky(error, *refused)
    bench = Bench(case("chat"), picky, **options)
    for n in range(1, 10):
        bench.cases.cases[f"00{n}"] = case("chat", case_id=f"00{n}", order_id=f"00{n}")
    return bench, picky


async def routed(bench: Bench, *case_ids: str) -> list[bool]:
    """Route cases as they are now; return of each whether nothing is missing any more."""
    return [await bench.route(bench.cases.cases[case_id]) == () for case_id in case_ids]


async def test_a_notification_that_is_refused_for_good_is_given_up_and_recorded(logs: list[EventDict]) -> None:
    bench, picky = bench_of(WRONG, "001")
    assert await routed(bench, "001", "001") == [False, True]
    assert bench.cases.cases["001"].routed[-1] == SentNotification(
        channel="chat", episode=1, at=NOW, given_up="HTTP 422"
    )
    assert bench.cases.cases["001"].unrouted == ()
    assert bench.counted() == {("chat", "refused"): 1, ("chat", "given_up"): 1}
    assert of(logs, "notification.given_up") == [
        {
            "event": "notification.given_up",
            "log_level": "error",
            "channel": "chat",
            "case_id": "001",
            "episode": 1,
            "reason": "HTTP 422",
        }
    ]
    assert await routed(bench, "001") == [True]
    assert picky.asked == ["001", "001"]


@pytest.mark.parametrize("error", [WRONG, FORBIDDEN])
async def test_a_refused_notification_delays_no_other(error: RefusedError) -> None:
    bench, _ = bench_of(error, "001", "002")
    assert await routed(bench, "001", "002", "003", "004") == [False, False, True, True]
    assert await routed(bench, "001", "005", "002") == [True, True, True]
    assert ("chat", "deferred") not in bench.counted()
    assert bench.counted()[("chat", "given_up")] == 2


async def test_a_refusal_that_a_person_can_correct_is_kept_and_reported(logs: list[EventDict]) -> None:
    bench, picky = bench_of(FORBIDDEN, "001")
    assert await routed(bench, *["001"] * 5) == [False] * 5
    assert [(line["reason"], line["log_level"]) for line in of(logs, "channel.failed")] == [("HTTP 403", "warning")]
    assert len(picky.asked) == 5
    picky.refused.clear()  # The authorization was corrected.
    assert await routed(bench, "001") == [True]
    assert of(logs, "notification.given_up") == []


@pytest.mark.parametrize("error", [WRONG, FORBIDDEN])
async def test_a_channel_that_refuses_several_in_a_row_is_down_and_nothing_is_given_up(
    logs: list[EventDict], error: RefusedError
) -> None:
    ids = [f"00{n}" for n in range(1, 10)]
    bench, picky = bench_of(error, *ids)
    assert await routed(bench, *ids) == [False] * 9
    assert len(picky.asked) == 3
    assert bench.counted()[("chat", "deferred")] == 6
    assert len(of(logs, "channel.failed")) == 1
    assert of(logs, "notification.given_up") == []
    assert all(bench.cases.cases[case_id].unrouted == ("chat",) for case_id in ids)


async def test_a_channel_that_was_misconfigured_sends_everything_once_it_is_corrected() -> None:
    ids = [f"00{n}" for n in range(1, 10)]
    bench, picky = bench_of(FORBIDDEN, *ids, pause_backoff=NO_WAIT)
    for _ in range(3):
        assert await routed(bench, *ids) == [False] * 9
    picky.refused.clear()
    assert await routed(bench, *ids) == [True] * 9
    assert bench.counted()[("chat", "sent")] == 9


async def test_after_a_pause_bad_notifications_do_not_keep_the_channel_from_the_good_ones() -> None:
    bench, _ = bench_of(WRONG, "001", "002", "003", "004", pause_backoff=NO_WAIT)
    assert await routed(bench, "001", "002", "003", "004") == [False] * 4
    assert await routed(bench, "005") == [True]
    assert await routed(bench, "001", "002", "003", "004", "006") == [True] * 5
    assert bench.counted()[("chat", "given_up")] == 4


async def test_a_notification_that_was_given_up_but_not_recorded_is_given_up_again() -> None:
    bench, _ = bench_of(WRONG, "001")
    bench.journal.fail("cases.record_sent", DOWN)
    assert await routed(bench, "001") == [False]
    with pytest.raises(OutageError):
        await routed(bench, "001")
    restarted, _ = bench_of(WRONG, "001")  # A process that remembers nothing.
    for running in (bench, restarted):
        while not all(await routed(running, "001")):
            pass
        assert [sent.given_up for sent in running.cases.cases["001"].routed if sent.channel == "chat"] == ["HTTP 422"]


async def test_a_given_up_notification_is_sent_again_for_the_next_episode() -> None:
    bench, picky = bench_of(WRONG, "001")
    await routed(bench, "001", "001")
    picky.refused.clear()
    reopened = replace(bench.cases.cases["001"], episode=2)
    assert reopened.unrouted == ("log", "chat")
    bench.cases.cases["001"] = reopened
    assert await routed(bench, "001") == [True]
    assert bench.counted()[("chat", "sent")] == 1


async def test_a_channel_that_works_again_sends_several_at_once() -> None:
    hanging = Hanging(REFUSED)
    hanging.go.set()
    bench = Bench(case("chat"), hanging, pause_backoff=NO_WAIT)
    assert await bench.route() == ("chat",)
    assert await bench.route() == ()
    hanging.go.clear()
    opened, begun = case("chat"), hanging.begun
    sending = [asyncio.create_task(bench.route(opened)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hanging.go.set()
    assert await asyncio.gather(*sending) == [()] * 3
    assert hanging.begun == begun + 3
    assert ("chat", "deferred") not in bench.counted()


@pytest.mark.parametrize(
    ("reason", "noted"),
    [
        ("HTTP 422", "HTTP 422"),
        ("Publish: InvalidParameter", "InvalidParameter"),
        ("x" * 500, "x" * MAX_GIVEN_UP_CHARS),
    ],
)
async def test_the_note_on_the_case_is_short(logs: list[EventDict], reason: str, noted: str) -> None:
    bench, _ = bench_of(RefusedError(reason, blames_content=True), "001")
    await routed(bench, "001", "001")
    assert bench.cases.cases["001"].routed[-1].given_up == noted
    assert [line["reason"] for line in of(logs, "notification.given_up")] == [reason]


async def test_a_channel_is_down_from_its_first_failure_until_it_accepts_one() -> None:
    services = Metrics().services
    bench = Bench(case("chat", "pager"), services=services, pause_backoff=NO_WAIT)
    chat, pager = services.service("channel chat"), services.service("channel pager")

    def states() -> list[bool | None]:
        return [chat.up, pager.up]

    assert states() == [None, None]
    bench.journal.fail("chat", REFUSED)
    assert await bench.route() == ("chat",)
    assert (states(), chat.last_error) == ([False, True], "HTTP 403")
    since_s = chat.down_since_s
    bench.journal.fail("chat", REFUSED)
    await bench.route()
    assert since_s is not None
    assert chat.down_since_s == since_s
    assert await bench.route() == ()
    assert states() == [True, True]
    assert services.service("channel chat").down_since_s is None


async def test_a_notification_that_is_refused_for_its_content_leaves_its_channel_up() -> None:
    services = Metrics().services
    bench = Bench(case("chat"), services=services)
    services.service("channel chat").worked()
    bench.journal.fail("chat", RefusedError("HTTP 422", blames_content=True))
    await bench.route()
    chat = services.service("channel chat")
    assert (chat.up, chat.last_error) == (True, "HTTP 422")


@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize("kind", ["given up", "version 1"])
async def test_what_is_recorded_as_logged_is_written_before(kind: str, is_written: bool) -> None:
    lines = FakeLines()
    if kind == "version 1":
        bench = Bench(case(routed=()), lines=lines)
    else:
        bench, _ = bench_of(WRONG, "001", lines=lines)
        assert await routed(bench, "001") == [False], "given up only when it is refused again"
    recorded = bench.recorded()
    written = lines.hold("m")
    with bound_contextvars(message_id="m"):
        routing = asyncio.create_task(bench.route())
    await turns()
    assert (routing.done(), bench.recorded()) == (False, recorded)
    written.set_result(is_written)
    await routing
    assert (bench.recorded() != recorded) is is_written


def test_the_pauses_of_a_failed_channel_double_up_to_half_a_minute() -> None:
    assert [PAUSE_BACKOFF.max_wait_s(pauses) for pauses in (1, 2, 5, 6, 20)] == [1, 2, 16, 30, 30]


def test_a_notification_is_tried_again_within_two_seconds() -> None:
    assert [RETRY_BACKOFF.max_wait_s(tries) for tries in (1, 2, 3, 4, 5, 20)] == [0.2, 0.4, 0.8, 1.6, 2, 2]


async def test_a_channel_that_gives_a_notification_up_says_why() -> None:
    services = Metrics().services
    bench, channel = bench_of(WRONG, "001", services=services)
    chat = services.service(f"channel {channel.name}")
    assert await routed(bench, "001") == [False]
    chat.last_error = ""
    assert await routed(bench, "001") == [True]
    assert chat.last_error == str(WRONG)


@pytest.mark.parametrize(("lines", "bound"), [(None, {"message_id": "m"}), (FakeLines, {})])
async def test_what_no_message_or_no_output_holds_up_is_recorded_at_once(lines: Any, bound: dict[str, str]) -> None:
    bench = Bench(case(routed=()), lines=lines and lines())
    with bound_contextvars(**bound):
        await bench.route()
    assert bench.recorded() == ["log"]
