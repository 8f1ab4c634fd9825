"""Sends an episode of a case to its channels, once to each. A channel that fails does not affect the others."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import structlog
from prometheus_client import Counter
from structlog.contextvars import bound_contextvars, get_contextvars
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

from workers import clock
from workers.backoff import Backoff
from workers.consumer.failures import FailureTracker
from workers.consumer.ports import Lines
from workers.domain.cases import LOG_CHANNEL, MAX_GIVEN_UP_CHARS, Case, SentNotification
from workers.errors import OutageError, TransientError, WorkerError, plain_name
from workers.escalation.log_channel import log_escalation
from workers.escalation.notifications import Channel, ChannelError, Notification, RefusedError
from workers.escalation.refusals import Refusals, Verdict
from workers.metrics import Outages, StageOutage
from workers.ports import SentNotifications
from workers.service_calls import ServiceCalls, Services, channel_service

log = structlog.get_logger(__name__)

SEND_TIMEOUT_S = 5.0  # A notification is a few hundred bytes; a channel that takes longer only occupies a slot.
MAX_TRIES = 3  # Retries cover a reset or a short hiccup; reminders cover anything that lasts longer.
RETRY_BACKOFF = Backoff(base_s=0.2, cap_s=2.0)
# How long a failed channel is not tried, so that it does not hold up every message. The pause is not random, because a
# random pause could be so short that the channel does hold them up.
PAUSE_BACKOFF = Backoff(base_s=1.0, cap_s=30.0)
# How long a channel counts as down after its last failure: longer than the wait between two reminders. Without this
# limit it could count as down forever: once its cases are resolved, no reminder is left to show that it works again.
FRESH_S = 900.0


class Result(StrEnum):
    """What became of a notification. The values are the results in the metric."""

    SENT = "sent"
    FAILED = "failed"  # To be tried again.
    REFUSED = "refused"  # To be tried again: it is not known yet whether another try is useless.
    DEFERRED = "deferred"  # Not tried: the channel is paused.
    GIVEN_UP = "given_up"  # Another try is useless.


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of a notification; `given_up` says why it was given up."""

    result: Result
    given_up: str | None = None


class ChannelSender:
    """
    Sends notifications to one channel, and pauses the channel while it fails.

    After each failure in a row, the pause is longer. After the pause, a single notification probes the channel. If it
    is sent, the channel is open to all again. A notification for a paused channel does not wait; it is deferred.

    A refused notification pauses the channel only if the channel seems to refuse all of them (`Refusals`).
    """

    def __init__(
        self,
        channel: Channel,
        *,
        send_timeout_s: float,
        retry_backoff: Backoff,
        pause_backoff: Backoff,
        outages: Outages | None = None,
        services: Services | None = None,
    ) -> None:
        self._channel = channel
        name = channel_service(channel.name)
        self._calls = ServiceCalls(name) if services is None else services.service(name)
        self._send_timeout_s = send_timeout_s
        self._retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: not isinstance(error, ChannelError) or error.passing),
            stop=stop_after_attempt(MAX_TRIES),
            wait=lambda state: retry_backoff.wait_s(state.attempt_number),
            reraise=True,
        )
        self._pause_backoff = pause_backoff
        self._failures = FailureTracker("channel", outage=_outage(outages, channel.name))
        self._refusals = Refusals()
        self._pauses = 0  # Since the channel last accepted a notification.
        self._paused_until_s: float  # Set by the first pause.
        self._probing = False

    async def send(self, notification: Notification) -> Sent:
        paused = self._pauses > 0
        if paused and (self._probing or asyncio.get_running_loop().time() < self._paused_until_s):
            return Sent(Result.DEFERRED)
        self._probing = self._probing or paused
        try:
            # A copy, because tenacity's object holds the state of one call.
            await self._retrying.copy()(self._send_once, notification)
        except RefusedError as error:
            verdict = self._refusals.refused(notification.id, blames_content=error.blames_content)
            if verdict is Verdict.GIVE_UP:
                self._calls.failed(error, down=False)
                return Sent(Result.GIVEN_UP, str(error))
            if verdict is Verdict.KEEP:
                if not error.blames_content:  # More likely the address or the credentials.
                    self._failed(error)
                self._calls.failed(error, down=False)
                return Sent(Result.REFUSED)
            self._pause(error, probed=paused)
            return Sent(Result.FAILED)
        except Exception as error:  # noqa: BLE001 - no channel may stop the other channels or the case.
            self._pause(error, probed=paused)
            return Sent(Result.FAILED)
        finally:
            if paused:
                self._probing = False
        self._pauses = 0
        self._calls.worked()
        self._refusals.accepted(notification.id)
        with bound_contextvars(channel=self._channel.name):
            self._failures.recovered()
        return Sent(Result.SENT)

    async def _send_once(self, notification: Notification) -> None:
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._channel.send(notification)
        except TimeoutError:
            # Not retried at once: another try would occupy the slot for as long again. With a backlog, that would soon
            # be every slot.
            raise ChannelError(f"no answer within {self._send_timeout_s:g} s", passing=False) from None

    def _failed(self, error: Exception) -> None:
        # Only our own errors are known not to quote the notification or the address.
        reason = str(error) if isinstance(error, WorkerError) else plain_name(error)
        with bound_contextvars(channel=self._channel.name):
            self._failures.failed(OutageError(reason))

    def _pause(self, error: Exception, *, probed: bool) -> None:
        self._calls.failed(error, down=True)
        if self._pauses > 0 and not probed:  # Count simultaneous failures once.
            return
        self._failed(error)
        self._pauses += 1
        pause_s = self._pause_backoff.max_wait_s(self._pauses)
        if isinstance(error, TransientError | OutageError):
            pause_s = max(pause_s, error.retry_after_s)
        self._paused_until_s = asyncio.get_running_loop().time() + pause_s


def _outage(outages: Outages | None, channel: str) -> StageOutage | None:
    return None if outages is None else outages.stage("channel", fresh_s=FRESH_S, channel=channel)


class Router:
    """Sends an episode of a case to the channels that have not got it yet. The log is separate: it never fails."""

    def __init__(
        self,
        channels: Sequence[Channel],
        cases: SentNotifications,
        notifications: Counter | None = None,
        *,
        outages: Outages | None = None,
        services: Services | None = None,
        lines: Lines | None = None,
        now: Callable[[], str] = clock.now,
        send_timeout_s: float = SEND_TIMEOUT_S,
        retry_backoff: Backoff = RETRY_BACKOFF,
        pause_backoff: Backoff = PAUSE_BACKOFF,
    ) -> None:
        self._senders = {
            channel.name: ChannelSender(
                channel,
                send_timeout_s=send_timeout_s,
                retry_backoff=retry_backoff,
                pause_backoff=pause_backoff,
                outages=outages,
                services=services,
            )
            for channel in channels
        }
        self._cases = cases
        self._lines = lines
        self._notifications = notifications
        self._now = now
        self._undefined = FailureTracker("channel")
        self._undefined_outage = None if outages is None else outages.stage("channel", fresh_s=FRESH_S)

    async def route(self, case: Case) -> tuple[str, ...]:
        """
        Send the current episode of *case* to each channel that has not got it yet; record which got it or never will.

        Returns the channels for which it is to be tried again.
        """
        others = [name for name in case.unrouted if name != LOG_CHANNEL]
        if LOG_CHANNEL in case.unrouted:  # Version 1 wrote the case: it recorded the log after the line.
            self.log(case)
            if await self._is_logged():
                await self._record(case, LOG_CHANNEL)
        # If recording fails for one channel, let the others finish, so that their sent notifications are recorded.
        results = await asyncio.gather(*(self._route(case, name) for name in others), return_exceptions=True)
        unrouted = []
        for name, result in zip(others, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            if not result:
                unrouted.append(name)
        return tuple(unrouted)

    def log(self, case: Case) -> None:
        """Write the log line of the current episode of *case*."""
        log_escalation(case)
        self._count(LOG_CHANNEL, Result.SENT)

    async def _route(self, case: Case, name: str) -> bool:
        sent = await self._send(case, name)
        self._count(name, sent.result)
        if sent.result not in {Result.SENT, Result.GIVEN_UP}:
            return False
        if sent.given_up is not None:
            # Before it is recorded: after a crash in between it is tried, and given up, again.
            log.error(
                "notification.given_up", channel=name, case_id=case.case_id, episode=case.episode, reason=sent.given_up
            )
            if not await self._is_logged():
                return False
        await self._record(case, name, sent.given_up)
        return True

    async def _record(self, case: Case, name: str, given_up: str | None = None) -> None:
        why = None if given_up is None else given_up.rpartition(": ")[2][:MAX_GIVEN_UP_CHARS]  # The code alone.
        ended = SentNotification(channel=name, episode=case.episode, at=self._now(), given_up=why)
        await self._cases.record_sent(case, ended)

    async def _is_logged(self) -> bool:
        """
        Wait until the lines about the message that is handled are written. False: they never will be.

        What a record says to be logged is written before it. Otherwise a crash in between would lose the line, because
        the next delivery of the message would find the record.
        """
        message_id = get_contextvars().get("message_id")
        return self._lines is None or message_id is None or await self._lines.is_written(message_id)

    def _count(self, name: str, result: Result) -> None:
        if self._notifications is not None:
            self._notifications.labels(name, result.value).inc()

    async def _send(self, case: Case, name: str) -> Sent:
        sender = self._senders.get(name)
        if sender is not None:
            return await sender.send(Notification.of(case, name))
        # The worker that opened the case has other rules. While new rules are rolled out, only some workers know the
        # channel.
        reason = "this worker's rules do not define the channel"
        with bound_contextvars(channel=name):
            self._undefined.failed(OutageError(reason))
        if self._undefined_outage is not None:
            self._undefined_outage.failed(f"{reason} {name}", name)
        return Sent(Result.FAILED)
