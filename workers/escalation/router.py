"""Routes an episode of a case to its channels: each on its own, each once, and none in the way of another."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from prometheus_client import Counter
from structlog.contextvars import bound_contextvars
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from tenacity.wait import wait_base

from workers import clock
from workers.consumer.failures import FailureTracker
from workers.domain.cases import Case, SentNotification
from workers.domain.routing import LOG_CHANNEL
from workers.errors import OutageError, TransientError, WorkerError
from workers.escalation.log_channel import LogChannel
from workers.escalation.notifications import Channel, ChannelError, Notification
from workers.ports import SentNotifications

log = structlog.get_logger(__name__)

TRY_S = 5.0  # What takes longer holds a slot for nothing: a notification is a few hundred bytes.
MAX_TRIES = 3  # Against a reset or a hiccup; whatever lasts longer is a matter for a reminder.
RETRY_WAIT = wait_random_exponential(multiplier=0.2, max=2.0)
REST_BASE_S, REST_CAP_S = 1.0, 30.0  # How long a channel that failed is left alone: it must not hold up every message.


class ChannelSender:
    """
    A channel and how it fares.

    One that has failed rests, a little longer each time; then a single notification tries it, and if that one gets
    through the others follow. Those that come meanwhile are not kept waiting.
    """

    def __init__(self, channel: Channel, retry_wait: wait_base) -> None:
        self._channel = channel
        self._trying = AsyncRetrying(
            retry=retry_if_exception(lambda error: not isinstance(error, ChannelError) or error.passing),
            stop=stop_after_attempt(MAX_TRIES),
            wait=retry_wait,
            reraise=True,
        )
        self._failures = FailureTracker("channel")
        self._rests_until_s = 0.0
        self._probing = False

    async def send(self, notification: Notification) -> str:
        """Send *notification*; return what is counted: `sent`, `failed`, or `deferred` where it was not even tried."""
        failing = self._failures.failures > 0
        if failing and (self._probing or asyncio.get_running_loop().time() < self._rests_until_s):
            return "deferred"
        self._probing = self._probing or failing
        try:
            await self._trying.copy()(
                self._try, notification
            )  # A copy: tenacity's own state is for one call at a time.
        except Exception as error:  # noqa: BLE001 - no channel, one's own included, may stop the others or the case.
            if failing or self._failures.failures == 0:  # Of many that fail at once, one counts.
                self._note(error)
            return "failed"
        finally:
            if failing:
                self._probing = False
        with bound_contextvars(channel=self._channel.name):
            self._failures.recovered()
        return "sent"

    async def _try(self, notification: Notification) -> None:
        try:
            async with asyncio.timeout(TRY_S):
                await self._channel.send(notification)
        except TimeoutError:
            # Not tried again at once: it holds a slot, and under backlog all slots, for as long again.
            raise ChannelError(f"no answer within {TRY_S:g} s", passing=False) from None

    def _note(self, error: Exception) -> None:
        # Only an error of our own is known not to quote what was sent, or where to.
        reason = str(error) if isinstance(error, WorkerError) else type(error).__name__
        with bound_contextvars(channel=self._channel.name):
            self._failures.failed(OutageError(reason))
        rest_s = min(REST_CAP_S, REST_BASE_S * 2 ** min(self._failures.failures - 1, 10))
        asked_s = error.retry_after_s if isinstance(error, TransientError | OutageError) else 0.0
        self._rests_until_s = asyncio.get_running_loop().time() + max(rest_s, asked_s)


class Router:
    """Sends what an episode of a case has not been routed to yet. The log comes first, and never fails."""

    def __init__(
        self,
        channels: Sequence[Channel],
        cases: SentNotifications,
        notifications: Counter | None = None,
        *,
        now: Callable[[], str] = clock.now,
        retry_wait: wait_base = RETRY_WAIT,
    ) -> None:
        self._senders = {channel.name: ChannelSender(channel, retry_wait) for channel in (LogChannel(), *channels)}
        self._cases = cases
        self._notifications = notifications
        self._now = now
        self._undefined = FailureTracker("channel")

    async def route(self, case: Case) -> tuple[str, ...]:
        """
        Send the current episode of *case* to each channel it has not gone to, and record what was sent.

        Returns the channels that it still has not gone to.
        """
        missing = case.unrouted
        routed = {LOG_CHANNEL: await self._route(case, LOG_CHANNEL)} if LOG_CHANNEL in missing else {}
        others = [name for name in missing if name != LOG_CHANNEL]
        # All of them to their end, also where the case cannot be written for one: what was sent should be recorded.
        results = await asyncio.gather(*(self._route(case, name) for name in others), return_exceptions=True)
        for name, result in zip(others, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            routed[name] = result
        return tuple(name for name in missing if not routed[name])

    async def _route(self, case: Case, name: str) -> bool:
        result = await self._send(case, name)
        if self._notifications is not None:
            self._notifications.labels(name, result).inc()
        if result != "sent":
            return False
        await self._cases.record_sent(case, SentNotification(channel=name, episode=case.episode, at=self._now()))
        return True

    async def _send(self, case: Case, name: str) -> str:
        sender = self._senders.get(name)
        if sender is not None:
            return await sender.send(Notification.of(case, name))
        # By the rules of the worker that opened the case. While a new file is rolled out, another one may know it.
        with bound_contextvars(channel=name):
            self._undefined.failed(OutageError("this worker's rules define no such channel"))
        return "failed"
