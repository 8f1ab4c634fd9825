"""Decides whether a channel that refuses a notification refuses only this one, or all of them."""

from enum import Enum, auto

SEVERAL = 3  # So many different notifications are refused in a row: the channel is at fault.
MAX_REMEMBERED = 1_000


class Verdict(Enum):
    KEEP = auto()  # Try this notification again later. The other ones are not affected.
    GIVE_UP = auto()  # Another try changes nothing.
    CHANNEL = auto()  # The channel is at fault: keep this notification and all others.


class Refusals:
    """
    The refusals of one channel, by the ids of the notifications.

    One answer cannot show what is wrong: a wrong address may answer 400 to everything, and a filter before the right
    one may answer 403 to a single text. What happens to the other notifications shows it:

    - Several different ones are refused in a row: the channel is at fault. A person can fix that, so all are kept.
    - A notification is refused, another one is accepted, and the first one is refused again: it is given up.
    - A notification is refused twice with a code that blames its content, and fewer than several others are refused: it
      is given up, too.

    A worker remembers only what it has seen itself. After a restart it takes a few more tries.
    """

    def __init__(self) -> None:
        self._in_a_row: dict[str, None] = {}
        self._before_a_success: dict[str, None] = {}

    def refused(self, notification_id: str, *, blames_content: bool) -> Verdict:
        """Record a refusal, and decide what to do with the notification."""
        if notification_id in self._before_a_success:
            return Verdict.GIVE_UP
        again = notification_id in self._in_a_row
        _remember(self._in_a_row, notification_id)
        if len(self._in_a_row) >= SEVERAL:
            return Verdict.CHANNEL
        return Verdict.GIVE_UP if again and blames_content else Verdict.KEEP

    def accepted(self, notification_id: str) -> None:
        """Record that the channel has accepted a notification, so it works."""
        for refused in self._in_a_row:
            _remember(self._before_a_success, refused)
        self._in_a_row.clear()
        self._before_a_success.pop(notification_id, None)


def _remember(ids: dict[str, None], notification_id: str) -> None:
    ids[notification_id] = None
    if len(ids) > MAX_REMEMBERED:
        del ids[next(iter(ids))]
