"""The apps of processor.py in turns: `python -m benchmarks.turns ORDER`, one process in the environment of the apps.

ORDER is a JSON object: `framework`, `rounds`, `url` of a Redis, and `subjects`, the fields of each Subject. Prints one
with the microseconds a request of each turn by the name of the subject, and the nanoseconds of the yardstick.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from timeit import Timer
from typing import Any

import uvloop

from benchmarks import in_server
from benchmarks.floors import floor
from benchmarks.in_server import Connections
from benchmarks.limited import limited
from benchmarks.yardstick import yardstick
from ratelimit import MemoryStore, RedisStore

YARDSTICKS = 100  # in a turn of the yardstick


def made(subject: Mapping[str, Any], framework: str, url: str) -> Any:
    """A new app under what the subject says."""
    from benchmarks.apps import plain

    app = plain.fastapi_app() if framework == "fastapi" else plain.starlette_app()
    if subject["floor"]:
        return floor(subject["floor"], app, url)
    if not subject["store"]:
        return app
    store = MemoryStore() if subject["store"] == "memory" else RedisStore(url, prefix=subject["name"], timeout=10.0)
    return limited(app, subject["style"], store=store, **subject["settings"])


async def taken(order: Mapping[str, Any]) -> dict[str, Any]:
    """Each turn is begun by another app; the yardstick has one in every round."""
    apps = {
        one["name"]: Connections(
            made(one, order["framework"], order["url"]), in_server.requests(one["callers"]), name=one["name"]
        )
        for one in order["subjects"]
    }
    timer, yardsticks = Timer(yardstick), []

    def between() -> None:
        yardsticks.append(timer.timeit(YARDSTICKS) / YARDSTICKS * 1e9)

    spent = await in_server.compared(apps, order["rounds"], between)
    return {"rounds": {name: of.rounds for name, of in spent.items()}, "yardstick": yardsticks}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(taken(json.loads(sys.argv[1])))))
