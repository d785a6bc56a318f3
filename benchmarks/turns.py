"""The apps of processor.py in turns: `python -m benchmarks.turns ORDER`, one process in the environment of the apps.

ORDER is a JSON object: `framework`, `rounds`, `url` of a Redis, `subjects`, the fields of each Subject, and perhaps
`turn`, as of in_server.compared. Prints one with the microseconds a request of each turn by the name of the subject,
and the nanoseconds of the yardstick.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from timeit import Timer
from typing import Any

import uvloop

from benchmarks import in_server
from benchmarks.floors import Pinged, floor
from benchmarks.in_server import Connections
from benchmarks.limited import limited
from benchmarks.yardstick import yardstick
from ratelimit import MemoryStore, RateLimitMiddleware
from ratelimit.telemetry.hook import Telemetry

DATABASES = 16  # of the Redis: two that use it count in different ones, if there are no more than these
YARDSTICKS = 1_000  # in a turn of it: some 4 ms, as in micro.py, which set the figure that it is held against


def made(subject: Mapping[str, Any], framework: str, url: str) -> Any:
    """A new app under what the subject says."""
    from benchmarks.apps import plain

    app = plain.fastapi_app() if framework == "fastapi" else plain.starlette_app()
    if subject["floor"]:
        return floor(subject["floor"], app, url)
    if not subject["store"]:
        return app
    telemetry = telling(subject["telemetry"])
    if subject["store"] == "memory":
        settings = {"timeout": "", **subject["settings"]}
        return limited(app, subject["style"], store=MemoryStore(), telemetry=telemetry, **settings)
    return limited(app, subject["style"], store=url, telemetry=telemetry, **subject["settings"])


def telling(name: str) -> Telemetry | None:
    """Imported where it is measured alone; in a registry of its own, as one has no metric twice."""
    if name == "prometheus":
        from prometheus_client import CollectorRegistry

        from ratelimit.telemetry.prometheus import Prometheus

        return Prometheus(CollectorRegistry())
    if name == "opentelemetry":
        from ratelimit.telemetry.opentelemetry import OpenTelemetry

        return OpenTelemetry()
    return None


async def taken(order: Mapping[str, Any]) -> dict[str, Any]:
    """Each round is begun by another app; the yardstick has a turn in every round."""
    apps = {
        one["name"]: made(one, order["framework"], order["url"].replace("db=0", f"db={number % DATABASES}"))
        for number, one in enumerate(order["subjects"])
    }
    connections = {
        one["name"]: Connections(apps[one["name"]], in_server.requests(one["callers"]), name=one["name"])
        for one in order["subjects"]
    }
    timer, yardsticks = Timer(yardstick), []

    def between() -> None:
        yardsticks.append(timer.timeit(YARDSTICKS) / YARDSTICKS * 1e9)

    spent = await in_server.compared(connections, order["rounds"], between, order.get("turn"))
    for app in apps.values():
        await closed(app)
    await asyncio.sleep(0)  # a transport is closed by the loop
    return {"rounds": {name: of.rounds for name, of in spent.items()}, "yardstick": yardsticks}


async def closed(app: Any) -> None:
    """What it is limited by has connections of its own."""
    layer = app.middleware_stack
    while layer is not None:
        if isinstance(layer, RateLimitMiddleware):
            await layer.store.close()
        elif isinstance(layer, Pinged):
            layer.batches.close()
        layer = getattr(layer, "app", None)


if __name__ == "__main__":
    print(json.dumps(uvloop.run(taken(json.loads(sys.argv[1])))))
