"""How long final orders and resolved cases are kept."""

from dataclasses import dataclass

from workers import clock

# AWS keeps a closed execution, its name and its history for 90 days. As long as an order may still be followed there,
# and a repeated `orders submit` starts nothing, its item must be there too: only the item stops a message that is sent
# again, or another submission under the same id, from shipping the order twice. A message lives for 10 days in its
# queue, for 14 days altogether in the dead-letter queue, and as long again after a replay: less than 90 days.
MIN_RETENTION_DAYS = 90
MAX_RETENTION_DAYS = 3650
_DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days an order is kept after it became final, and a case after it was resolved. None: for ever."""

    days: int | None = None

    def expires_at(self, at: str) -> int | None:
        """Return when what ended *at* (RFC 3339) may be deleted, in seconds since the epoch; None: never."""
        return None if self.days is None else int(clock.parse(at).timestamp()) + self.days * _DAY_S


FOR_EVER = Retention()
