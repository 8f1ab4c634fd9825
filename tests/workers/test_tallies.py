"""What Prometheus gets from our own counter and histogram is what it would get from prometheus_client's."""

import re

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from workers.tallies import Distribution, Tally


def served(registry: CollectorRegistry) -> str:
    """Return what `/metrics` serves, without the times at which the metrics were created."""
    return re.sub(r"(_created.*) \S+$", r"\1", generate_latest(registry).decode(), flags=re.MULTILINE)


def test_a_tally_is_served_like_a_counter() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, counter = Tally("received", "Received.", ours), Counter("received", "Received.", registry=theirs)
    assert served(ours) == served(theirs)
    for _ in range(3):
        tally.inc()
        counter.inc()
    assert "received_total 3.0" in served(ours)
    assert served(ours) == served(theirs)


def test_a_tally_counts_by_labels() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("settled", "Settled.", ours, labels=["ending", "outcome"])
    counter = Counter("settled", "Settled.", ["ending", "outcome"], registry=theirs)
    assert served(ours) == served(theirs)
    for values in (("acknowledged", "fulfilled"), ("released", 'a "quoted"\nline'), ("acknowledged", "fulfilled")):
        tally.inc(*values)
        counter.labels(*values).inc()
    assert ours.get_sample_value("settled_total", {"ending": "acknowledged", "outcome": "fulfilled"}) == 2
    assert served(ours) == served(theirs)


@pytest.mark.parametrize("values", [[], [0.05, 0.1, 0.100001, 1, 7.5, 21600, 21601, 1e9, 0]])
def test_a_distribution_is_served_like_a_histogram(values: list[float]) -> None:
    ours, theirs, bounds = CollectorRegistry(), CollectorRegistry(), (0.1, 1, 2.5, 6 * 3600)
    distribution = Distribution("age_seconds", "Age.", ours, bounds=bounds)
    histogram = Histogram("age_seconds", "Age.", buckets=bounds, registry=theirs)
    for value in values:
        distribution.observe(value)
        histogram.observe(value)
    assert ours.get_sample_value("age_seconds_bucket", {"le": "0.1"}) == sum(value <= 0.1 for value in values)
    assert served(ours) == served(theirs)
