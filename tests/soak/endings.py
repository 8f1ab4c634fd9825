"""What one worker process received, and which of it has its last log line."""

from tests.soak.ledger import Problems, Promise


class Endings:
    """
    Compares the deliveries of one process with its last lines, as both happen.

    A message that is delivered again while it is in flight is folded into its first delivery, and has one line. Lines
    are read a moment after they were written, so a second delivery that came before the line of the first was read may
    have a line of its own, or none.
    """

    def __init__(self, worker: str, problems: Problems) -> None:
        self.count = 0
        self._worker = worker
        self._problems = problems
        self._open: dict[str, set[int]] = {}
        self._folded: dict[str, set[int]] = {}

    def delivered(self, message_id: str, receive_count: int) -> None:
        self._open.setdefault(message_id, set()).add(receive_count)

    def ended(self, message_id: str, receive_count: int) -> None:
        """Record a last line."""
        self.count += 1
        for found in (self._open, self._folded):
            if receive_count in found.get(message_id, ()):
                break
        else:
            problem = f"{self._worker} ended {message_id}, delivery {receive_count}, twice, or never received it"
            self._problems.add(Promise.ENDINGS, problem)
            return
        left = self._open.pop(message_id, set()) | self._folded.pop(message_id, set())
        if left := left - {receive_count}:
            self._folded[message_id] = left

    def stopped(self) -> None:
        """Check that nothing is missing, after the process has stopped and all its lines were read."""
        for message_id, receive_counts in self._open.items():
            problem = f"{self._worker} received {message_id}, delivery {sorted(receive_counts)}, and never ended it"
            self._problems.add(Promise.ENDINGS, problem)
