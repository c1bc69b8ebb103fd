"""What is measured, added up until it is sent: a call of the SDK's for each value takes longer."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

from opentelemetry.metrics import CallbackOptions, Counter, Observation
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from agent.telemetry.metrics import METRICS, Of

SCOPE: Final = "agent"


@dataclass(slots=True)
class _Spread:
    """How many values there were, what they add up to, the least and the greatest."""

    count: int
    total: float
    least: float
    greatest: float

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        if value < self.least:
            self.least = value
        elif value > self.greatest:
            self.greatest = value


class Sums:
    """What is added to counters, until the SDK gets it: a call of the SDK's takes 10 us.

    Args:
        before: called before the SDK gets it.
    """

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before
        self._lock = Lock()
        self._sums: dict[tuple[Counter, Of], float] = {}

    def add(self, counter: Counter, value: float, of: Of) -> None:
        """Add to a counter."""
        key = counter, of
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + value

    def pass_on(self, _: CallbackOptions) -> Iterable[Observation]:
        """Give the SDK what there is, which asks for observations before it collects."""
        self._before()
        with self._lock:
            sums, self._sums = self._sums, {}
        for (counter, attributes), value in sums.items():
            counter.add(value, dict(attributes))
        return ()


class Spreads:
    """The values of histograms as Application Insights has them, which knows no buckets.

    They are sent with what the SDK has, which is always something: a turn is counted at its end.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._since_ns = time.time_ns()
        self._spreads: dict[tuple[str, Of], _Spread] = {}

    def add(self, name: str, value: float, of: Of) -> None:
        """Add a value to a histogram."""
        with self._lock:
            spread = self._spreads.get((name, of))
            if spread is None:
                self._spreads[name, of] = _Spread(1, value, value, value)
            else:
                spread.add(value)

    def sent_with(self, data: MetricsData) -> MetricsData:
        """The SDK's metrics, and all that was added since the last time."""
        since_ns, now_ns = self._since_ns, time.time_ns()
        self._since_ns = now_ns
        with self._lock:
            spreads, self._spreads = self._spreads, {}
        points: defaultdict[str, list[HistogramDataPoint]] = defaultdict(list)
        for (name, attributes), spread in spreads.items():
            points[name].append(
                HistogramDataPoint(
                    attributes=dict(attributes),
                    start_time_unix_nano=since_ns,
                    time_unix_nano=now_ns,
                    count=spread.count,
                    sum=spread.total,
                    bucket_counts=[spread.count],
                    explicit_bounds=[],
                    min=spread.least,
                    max=spread.greatest,
                )
            )
        metrics = [
            Metric(
                name,
                METRICS[name].description,
                METRICS[name].unit,
                Histogram(of_metric, AggregationTemporality.DELTA),
            )
            for name, of_metric in points.items()
        ]
        ours = ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
        of_app, *others = data.resource_metrics
        return MetricsData([replace(of_app, scope_metrics=[*of_app.scope_metrics, ours]), *others])
