"""
A counter and a histogram without locks, for what every message counts.

prometheus_client's own may be used from any thread, so each update takes a lock: 2.3 us for each message. These are for
one thread, the event loop's: 0.5 us. They count in plain numbers, which are read when `/metrics` is requested.
"""

import time
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Sample
from prometheus_client.registry import Collector


class Tally(Collector):
    """A counter with *labels*. Without labels it exists from the start, with the value 0."""

    def __init__(
        self, name: str, documentation: str, registry: CollectorRegistry, *, labels: Sequence[str] = ()
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {} if labels else {(): 0}
        self._created_s = time.time()
        registry.register(self)

    def inc(self, *values: str) -> None:
        """Count one. *values* are those of the labels."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count, created=self._created_s)
        yield family


class Distribution(Collector):
    """A histogram. *bounds* are the upper bounds of its buckets, in ascending order; above them is one more bucket."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry, *, bounds: Sequence[float]) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._created_s = time.time()
        registry.register(self)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[HistogramMetricFamily]:
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family = HistogramMetricFamily(self._name, self._documentation, buckets, self._sum)
        family.samples.append(Sample(f"{self._name}_created", {}, self._created_s))
        yield family
