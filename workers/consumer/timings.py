"""How long the stages of a consumer wait, and why."""

from dataclasses import dataclass, field

from workers.backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """The waits of a consumer, in seconds. The defaults suit SQS; tests shorten them."""

    # Poller: waits between receives that fail. The cap bounds how late the end of an outage is noticed.
    poll_retry: Backoff = field(default=Backoff(0.5, 10.0))
    # Prefetch: prefetched messages keep the handlers busy this long, besides the time of the receives: as long as an
    # entry may wait for its delete.
    prefetch_s: float = 0.04
    # Gate: waits between probes. The cap bounds how late the end of an outage is noticed.
    probe: Backoff = field(default=Backoff(0.2, 10.0))
    # Gate: how often one more message is received while an outage is only suspected.
    suspected_receive_interval_s: float = 10.0
    # Visibility extender: waits between extensions that fail. Short visibility timeouts lower the cap.
    extension_retry: Backoff = field(default=Backoff(0.5, 5.0))
    # Acknowledger: how long an entry waits for others. Under backlog, batches are full sooner. Otherwise the wait does
    # no harm, because nothing waits for a delete.
    max_batch_wait_s: float = 0.02
    # Acknowledger: waits between deletes or releases that fail.
    acknowledge_retry: Backoff = field(default=Backoff(0.1, 5.0))
    # Acknowledger: how long the last batches may take once the consumer stops.
    flush_s: float = 3.0
    # Trials: at a stop, how long the handler may take to undo a trial's count. The drain, this and the flush together
    # fit into the 30 s that platforms allow.
    take_back_s: float = 1.0
    # Consumer: waits before a failed message can be received again: seconds at first, minutes in the end.
    release: Backoff = field(default=Backoff(2.0, 900.0))
    # Consumer: a cancelled handler may take this long to clean up before it counts as stuck.
    stuck_margin_s: float = 10.0
    # Failures: how often an outage is logged between its start and its end.
    log_every_s: float = 30.0
    # Failures: changes to IAM spread within seconds, so access that is refused for a minute is refused on purpose.
    access_denied_patience_s: float = 60.0
    # Failures: if access is refused twice, further apart than this, the two do not belong together. No stage waits this
    # long between its attempts.
    access_denied_fresh_s: float = 300.0


DEFAULT_TIMINGS = Timings()
