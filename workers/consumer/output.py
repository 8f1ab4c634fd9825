"""What the output of the log holds up: receives while it is full, acknowledgments until their lines are written."""

from dataclasses import dataclass

from workers.consumer.message import Released, Settlement
from workers.consumer.ports import Lines
from workers.metrics import StageOutage

OUTPUT_FULL = "standard output takes no more log lines"  # Its reader is slow or stopped, or a disk is full.


@dataclass(frozen=True, slots=True)
class Output:
    """
    Waits for the output of the log. Each wait is an *outage*, so that people can see why nothing is received.

    That includes the wait of single messages. If every message has important lines, their worker is at a standstill
    long before the output is full.
    """

    lines: Lines | None = None
    outage: StageOutage | None = None

    @property
    def is_full(self) -> bool:
        return self.lines is not None and self.lines.is_full

    async def wait_for_room(self) -> None:
        """Wait until the output takes lines."""
        if self.lines is not None and self.lines.is_full:
            self._failed()
            try:
                await self.lines.wait_for_room()
            finally:
                self._ended()

    def awaits(self, message_id: str) -> bool:
        """Return whether an important line about the message is not written yet."""
        return self.lines is not None and self.lines.awaits(message_id)

    async def logged(self, message_id: str, settlement: Settlement) -> Settlement:
        """
        Wait until the important lines of a message are written, and return its *settlement*.

        If they never are, another worker handles the message. A message that is released is not waited for.
        """
        if self.lines is None or isinstance(settlement, Released):
            return settlement
        self._failed(message_id)
        try:
            is_written = await self.lines.is_written(message_id)
        finally:
            self._ended(message_id)
        return settlement if is_written else Released("stopping")

    def _failed(self, message_id: str | None = None) -> None:
        if self.outage is not None:
            self.outage.failed(OUTPUT_FULL, message_id)

    def _ended(self, message_id: str | None = None) -> None:
        if self.outage is not None:
            self.outage.ended(message_id)
