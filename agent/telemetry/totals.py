"""What is measured, added up until it is sent: a call of the SDK's for each value takes longer."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
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

from agent.telemetry.metrics import METRICS
from agent.telemetry.recording import Attribute, Attributes

SCOPE: Final = "agent"

type _Of = tuple[tuple[str, Attribute], ...]
# How many values there were, what they add up to, the least and the greatest.
type _Spread = tuple[int, float, float, float]


class Sums:
    """What is added to counters, until the SDK gets it: a call of the SDK's takes 10 us."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[tuple[Counter, _Of], float] = {}

    def add(self, counter: Counter, value: float, attributes: Attributes) -> None:
        """Add to a counter."""
        key = counter, tuple(attributes.items())
        with self._lock:
            self._sums[key] = self._sums.get(key, 0) + value

    def pass_on(self, _: CallbackOptions) -> Iterable[Observation]:
        """Give the SDK what there is, which asks for observations before it collects."""
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
        self._spreads: dict[tuple[str, _Of], _Spread] = {}

    def add(self, name: str, value: float, attributes: Attributes) -> None:
        """Add a value to a histogram."""
        key = name, tuple(attributes.items())
        with self._lock:
            count, total, least, greatest = self._spreads.get(key, (0, 0, value, value))
            self._spreads[key] = (
                count + 1,
                total + value,
                min(least, value),
                max(greatest, value),
            )

    def sent_with(self, data: MetricsData) -> MetricsData:
        """The SDK's metrics, and all that was added since the last time."""
        since_ns, now_ns = self._since_ns, time.time_ns()
        self._since_ns = now_ns
        with self._lock:
            spreads, self._spreads = self._spreads, {}
        points: defaultdict[str, list[HistogramDataPoint]] = defaultdict(list)
        for (name, attributes), (count, total, least, greatest) in spreads.items():
            points[name].append(
                HistogramDataPoint(
                    attributes=dict(attributes),
                    start_time_unix_nano=since_ns,
                    time_unix_nano=now_ns,
                    count=count,
                    sum=total,
                    bucket_counts=[count],
                    explicit_bounds=[],
                    min=least,
                    max=greatest,
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
