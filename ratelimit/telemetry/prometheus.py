"""The counts as metrics of prometheus-client: `RateLimitMiddleware(…, telemetry=Prometheus())`.

Ordinary counters, one gauge and one histogram, so that they work with PROMETHEUS_MULTIPROC_DIR, where custom collectors
do not, and without it in one process.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, Metric, make_asgi_app, values
from prometheus_client.multiprocess import MultiProcessCollector

from ratelimit.model import ASGIApp
from ratelimit.telemetry.hook import Counts

BUCKETS = (0.000025, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds


class Prometheus:
    """Makes its metrics in a registry, once: give the same object to each middleware. ValueError of prometheus-client
    where the registry has metrics of these names already.

    With PROMETHEUS_MULTIPROC_DIR in the environment each process writes its part there, and a scrape of any adds up.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, *, namespace: str = "ratelimit") -> None:
        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(name, what, labels, namespace=namespace, registry=registry)

        self._decisions = counter(
            "decisions", "Decisions of the limiter.", "kind", "operation", "tier", "limit", "outcome"
        )
        self._near = counter(
            "near_limit",
            "Allowed decisions that left a limit at this part of its max or above.",
            "tier",
            "limit",
            "threshold",
        )
        self._shadow = counter("shadow_denials", "What limits in shadow would have denied.", "tier", "limit")
        self._without = counter("without_store", "Decisions without the store, by what became of them.", "verdict")
        self._slots = counter("slots_reclaimed", "Slots given back as their callers had hung up a lease ago.", "limit")
        self._beyond = counter("callers_beyond_max", "What the memory store did beyond max_callers.", "what")
        self._reloads = counter("reloads", "What came of a changed policy file.", "outcome")
        self._down = Gauge(
            "stores_down",
            "Connections to a store over which nobody is decided for.",
            namespace=namespace,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._seconds = Histogram(
            "store_seconds", "Time in the store.", namespace=namespace, registry=registry, buckets=BUCKETS
        )

        for known, labels in (
            (self._without, ("allowed", "refused", "local")),
            (self._beyond, ("dropped", "shared", "above")),
            (self._reloads, ("taken", "refused", "invalid")),
        ):
            for value in labels:
                known.labels(value)  # a count that begins at 1 would be no increase

    def count(self, counts: Counts) -> None:
        for decided, count in counts.decisions.items():
            self._decisions.labels(*decided).inc(count)
        for near, count in counts.near.items():
            self._near.labels(*near).inc(count)
        for shadow, count in counts.shadow_denials.items():
            self._shadow.labels(*shadow).inc(count)
        _add(self._without, counts.without_store)
        _add(self._slots, counts.slots_reclaimed)
        _add(self._beyond, counts.beyond_max)
        _add(self._reloads, counts.reloads)
        if counts.stores_down:
            self._down.inc(counts.stores_down)
        if counts.store_seconds:
            _observe(self._seconds, counts.store_seconds)


def metrics_app(registry: CollectorRegistry = REGISTRY) -> ASGIApp:
    """What Prometheus scrapes, to be mounted: of all processes with PROMETHEUS_MULTIPROC_DIR, else of this one.
    RuntimeError where that was set too late: nothing is written there then, and nothing would be scraped."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        if values.ValueClass is values.MutexValue:
            raise RuntimeError(
                "PROMETHEUS_MULTIPROC_DIR was set after prometheus_client had been imported, which looks for it only"
                " then: set it before Python starts, PROMETHEUS_MULTIPROC_DIR=/run/metrics uvicorn main:app --workers 2"
            )
        registry = CollectorRegistry()
        _OfProcesses(registry)  # type: ignore[no-untyped-call]
    app: ASGIApp = make_asgi_app(registry)
    return app


class _OfProcesses(MultiProcessCollector):
    """What a process has that is gone is not now any more: nobody tells that of a worker that was killed, and servers
    would be away for ever in its name. Its counts stay."""

    _path: str

    def collect(self) -> Iterable[Metric]:
        for file in Path(self._path).glob("gauge_live*.db"):
            if _is_gone(file.stem.rpartition("_")[2]):
                file.unlink(missing_ok=True)  # another scrape may do so too
        metrics: Iterable[Metric] = super().collect()  # type: ignore[no-untyped-call]
        return metrics


def _is_gone(process: str) -> bool:
    if os.name == "posix" and process.isdecimal():  # elsewhere to ask for a process may end it
        with suppress(PermissionError):  # it is there, and another user's
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                return True
    return False


def _add(counter: Counter, counts: Mapping[str, int]) -> None:
    for label, count in counts.items():
        counter.labels(label).inc(count)


def _observe(histogram: Histogram, values: Sequence[float]) -> None:
    """As `observe` of each, which would take 1 µs of each. By its parts, which have had these names since 2015."""
    for bucket, count in Tally([bisect_left(BUCKETS, value) for value in values]).items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))
