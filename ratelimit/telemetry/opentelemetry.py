"""The counts as instruments of OpenTelemetry: `RateLimitMiddleware(…, telemetry=OpenTelemetry())`.

Named on the model of `aspnetcore.rate_limiting.*`. Only the API is imported: the SDK, its readers and its exporters are
the app's own, and without one nothing is exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from opentelemetry.metrics import Counter, MeterProvider, get_meter
from opentelemetry.trace import Span, get_current_span

from ratelimit.model import Decision
from ratelimit.telemetry.hook import Counts, Decided, Watcher

NAME = "ratelimit"


class OpenTelemetry:
    """The instruments are of the provider's meter `ratelimit`, and without one of the global provider's. The span that
    is current at a decision, the request's own where the instrumentation is around the limiter, is given the operation,
    the tier, the limit and the result."""

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter(NAME, meter_provider=meter_provider)

        def counter(name: str, unit: str, what: str) -> Counter:
            return meter.create_counter(f"{NAME}.{name}", unit, what)

        self._decisions = counter("decisions", "{decision}", "Decisions of the limiter.")
        self._near = counter(
            "near_limit", "{decision}", "Allowed ones that left a limit at a part of its max or above."
        )
        self._shadow = counter("shadow_denials", "{decision}", "What limits in shadow would have denied.")
        self._without = counter("without_store", "{decision}", "Decisions without the store.")
        self._slots = counter("slots.reclaimed", "{slot}", "Slots given back as their callers had hung up a lease ago.")
        self._beyond = counter("callers.beyond_max", "{caller}", "What the memory store did beyond max_callers.")
        self._reloads = counter("reloads", "{reload}", "What came of a changed policy file.")
        self._down = meter.create_up_down_counter(
            f"{NAME}.stores.down", "{connection}", "Connections to a store over which nobody is decided for."
        )
        self._seconds = meter.create_histogram(f"{NAME}.store.duration", "s", "Time in the store, of a sample.")

    def count(self, counts: Counts) -> None:
        for one, count in counts.decisions.items():
            kind: str = one.kind
            self._decisions.add(count, {f"{NAME}.kind": kind, **_said(one)})
        for near, count in counts.near.items():
            of: dict[str, str | float] = {
                f"{NAME}.tier": near.tier,
                f"{NAME}.limit": near.limit,
                f"{NAME}.threshold": near.threshold,
            }
            self._near.add(count, of)
        for (tier, limit), count in counts.shadow_denials.items():
            self._shadow.add(count, {f"{NAME}.tier": tier, f"{NAME}.limit": limit})
        _add(self._without, "verdict", counts.without_store)
        _add(self._slots, "limit", counts.slots_reclaimed)
        _add(self._beyond, "what", counts.beyond_max)
        _add(self._reloads, "result", counts.reloads)
        if counts.stores_down:
            self._down.add(counts.stores_down)
        for seconds in counts.store_seconds:
            self._seconds.record(seconds)

    def watcher(self) -> Watcher | None:
        """What tells the span of this request, if it is recorded."""
        span = get_current_span()
        return partial(_mark, span) if span.is_recording() else None


def _mark(span: Span, decided: Decided, decision: Decision) -> None:
    """Of a hold only that it denies the request; of the messages of a WebSocket nothing."""
    if decided.kind == "request" or (decided.kind == "hold" and not decision.allowed):
        span.set_attributes(_said(decided))


def _said(one: Decided) -> dict[str, str]:
    """What is empty is left out."""
    names = {"operation": one.operation, "tier": one.tier, "limit": one.limit, "result": one.outcome}
    return {f"{NAME}.{name}": value for name, value in names.items() if value}


def _add(counter: Counter, label: str, counts: Mapping[str, int]) -> None:
    for value, count in counts.items():
        counter.add(count, {f"{NAME}.{label}": value})
