from workers.backoff import Backoff
from workers.consumer.timings import Timings


def test_the_defaults() -> None:
    assert Timings() == Timings(
        poll_retry=Backoff(0.5, 10.0),
        prefetch_s=0.04,
        probe=Backoff(0.2, 10.0),
        suspected_receive_interval_s=10.0,
        extension_retry=Backoff(0.5, 5.0),
        max_batch_wait_s=0.02,
        acknowledge_retry=Backoff(0.1, 5.0),
        flush_s=3.0,
        take_back_s=1.0,
        release=Backoff(2.0, 900.0),
        stuck_margin_s=10.0,
        log_every_s=30.0,
        access_denied_patience_s=60.0,
        access_denied_fresh_s=300.0,
    )
