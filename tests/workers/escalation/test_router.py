import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog
from structlog.typing import EventDict

from tests.workers.escalation.examples import case
from tests.workers.fakes import DOWN, NO_WAIT, NOW, FakeCases, FakeChannel, FakeOrders, Journal
from workers.backoff import Backoff
from workers.domain.cases import Case, SentNotification
from workers.errors import OutageError
from workers.escalation.notifications import Channel, ChannelError, Notification
from workers.escalation.router import Router
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
        (ValueError("card 4929123412345678 at https://chat.example/secret"), "ValueError"),
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


async def test_an_unknown_channel_is_left_to_another_worker(logs: list[EventDict]) -> None:
    bench = Bench(case("chat"), FakeChannel("pager", Journal()))
    assert await bench.route() == ("chat",)
    assert bench.recorded() == ["log"]
    (line,) = of(logs, "channel.failed")
    assert (line["channel"], line["reason"]) == ("chat", "this worker's rules do not define the channel")
