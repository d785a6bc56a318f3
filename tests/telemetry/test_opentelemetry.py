"""The instruments of OpenTelemetry say the same as the metrics of Prometheus, and a span what became of its request."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from ratelimit.control.control import Control
from ratelimit.telemetry.hook import Counts
from ratelimit.telemetry.opentelemetry import OpenTelemetry
from tests.acceptance import ask, limited, plain, run
from tests.control import COMPLETION, app, limiter
from tests.telemetry.test_prometheus import ALL
from tests.websockets import connect, echo, text


def exported() -> tuple[OpenTelemetry, Any]:
    """A telemetry, and what gives the points that it has exported, by instrument."""
    reader = InMemoryMetricReader()
    telemetry = OpenTelemetry(MeterProvider([reader]))

    def points() -> dict[str, Any]:
        data: Any = reader.get_metrics_data()
        return {
            metric.name: [(dict(point.attributes), point) for point in metric.data.data_points]
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    return telemetry, points


def test_every_count_has_an_instrument() -> None:
    """By these names and attributes, as docs/telemetry.md has them; what is told twice is added up."""
    telemetry, points = exported()
    for _ in range(2):
        telemetry.count(ALL)
    telemetry.count(Counts())
    found = points()
    ((_, seconds),) = found.pop("ratelimit.store.duration")
    assert seconds.count == 8
    assert abs(seconds.sum - 2 * sum(ALL.store_seconds)) < 1e-9
    assert {name: [(attributes, point.value) for attributes, point in of] for name, of in found.items()} == {
        "ratelimit.decisions": [
            (
                {
                    "ratelimit.kind": "request",
                    "ratelimit.operation": "search",
                    "ratelimit.tier": "basic",
                    "ratelimit.limit": "ip",
                    "ratelimit.result": "denied",
                },
                14,
            )
        ],
        "ratelimit.near_limit": [
            ({"ratelimit.tier": "basic", "ratelimit.limit": "ip", "ratelimit.threshold": 0.95}, 4)
        ],
        "ratelimit.shadow_denials": [({"ratelimit.tier": "basic", "ratelimit.limit": "soon"}, 6)],
        "ratelimit.without_store": [({"ratelimit.verdict": "local"}, 8)],
        "ratelimit.slots.reclaimed": [({"ratelimit.limit": "cap"}, 10)],
        "ratelimit.callers.beyond_max": [({"ratelimit.what": "dropped"}, 12)],
        "ratelimit.reloads": [({"ratelimit.result": "refused"}, 2)],
        "ratelimit.stores.down": [({}, 4)],
    }


def test_without_a_sdk() -> None:
    """Nothing is exported, and nothing fails; only the API is imported."""
    code = """
import sys
from ratelimit.telemetry.opentelemetry import OpenTelemetry
from ratelimit.telemetry.hook import Counts
OpenTelemetry().count(Counts(stores_down=1))
assert OpenTelemetry().watcher() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def traced(provider: TracerProvider, asked: Any) -> dict[str, Any]:
    """The attributes of the span under which something is asked."""
    span: Any = None

    async def test() -> None:
        nonlocal span
        with provider.get_tracer("test").start_as_current_span("request") as span:
            await asked()

    run(test())
    return {**span.attributes} if isinstance(span, Span) else {}


def test_the_span_of_a_request() -> None:
    """Its operation, tier and result, and the limit where one denies; nothing of who asks, and no empty attribute."""
    limited_by = limited(plain, '{ name = "requests", rate = "1/minute" }', telemetry=OpenTelemetry())
    of = {"ratelimit.operation": "detail_read", "ratelimit.tier": "basic"}
    provider = TracerProvider()
    assert traced(provider, lambda: ask(limited_by)) == {**of, "ratelimit.result": "allowed"}
    denied = {**of, "ratelimit.limit": "requests", "ratelimit.result": "denied"}
    assert traced(provider, lambda: ask(limited_by)) == denied


def test_a_span_that_is_not_recorded() -> None:
    """It is given nothing."""
    limited_by = limited(plain, telemetry=OpenTelemetry())
    assert traced(TracerProvider(sampler=ALWAYS_OFF), lambda: ask(limited_by)) == {}


def test_a_hold_that_denies() -> None:
    """The request is denied by it, and its span says so; a hold that fits leaves what the door said."""

    async def handle(control: Control, send: Any) -> None:
        async with control.hold(900, limit="tokens"):
            pass

    made = limiter(app(handle), telemetry=OpenTelemetry())
    found = [traced(TracerProvider(), lambda: ask(made, **COMPLETION)) for _ in range(2)]
    of = {"ratelimit.operation": "completion", "ratelimit.tier": "anonymous"}
    assert found == [
        {**of, "ratelimit.result": "allowed"},
        {**of, "ratelimit.limit": "tokens", "ratelimit.result": "denied"},
    ]


def test_messages() -> None:
    """Of a connection the span says what its handshake was, whatever becomes of messages."""
    limits = '{ name = "messages", rate = "1/minute", operations = ["message"] }'
    table = '[websocket]\nmessages = "message"'
    limited_by = limited(echo, limits, more=table, telemetry=OpenTelemetry())
    found = traced(TracerProvider(), lambda: connect(limited_by, text("1"), text("2")))
    assert found == {"ratelimit.operation": "connect", "ratelimit.tier": "basic", "ratelimit.result": "allowed"}
