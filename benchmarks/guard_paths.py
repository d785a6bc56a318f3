"""Bytecodes that a request runs, on fixed paths through the whole middleware: `python -m benchmarks.guard_paths URL`.

A count, not a time: the same on every machine, whatever else it does. Each path is run some times before it is counted,
so that what is made once (a caller's charges, a header's text) is there. Then the least of many counts is taken: what a
second that ends, or a reply that comes in two pieces, adds to one of them is not the path's. Prints a JSON object.

All Python code counts but for that of the benchmarks, of asyncio, and of redis-py, which only opens connections: what a
limiter makes the standard library run (dataclasses, enum) is its own. Code in C counts as the one call that it is.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from collections.abc import Callable, Coroutine
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import redis

from benchmarks import policy
from benchmarks.limited import limited
from ratelimit import MemoryStore

WARM, COUNTED = 60, 40  # times that a path is run; a batch's callers take some calls to be known to the server
NOW_MS = 1_800_000_000_250  # where the clock stands: which sub-windows a denial looks at depends on the time since
TOGETHER = 16  # requests that share a round trip
FOLDER = str(Path(__file__).parent)
NOT_COUNTED = (str(Path(asyncio.__file__).parent), str(Path(str(redis.__file__)).parent), selectors.__file__)

TOOL = 4  # of sys.monitoring: none of those that have a name

App = Callable[..., Coroutine[Any, Any, None]]


class Counter:
    """Bytecodes of the code that counts, in a `with` block; whoever traced before does so again after it."""

    def __init__(self) -> None:
        self.bytecodes = 0
        self._traced: Any = None

    def __enter__(self) -> Counter:
        if sys.version_info >= (3, 12):  # there, tracing of single opcodes misses frames that ran before
            monitoring = sys.monitoring
            monitoring.use_tool_id(TOOL, "ratelimit guard")
            monitoring.register_callback(TOOL, monitoring.events.INSTRUCTION, self._ran)
            monitoring.set_events(TOOL, monitoring.events.INSTRUCTION)
            monitoring.restart_events()
        else:
            self._traced = sys.gettrace()
            sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        if sys.version_info >= (3, 12):
            sys.monitoring.set_events(TOOL, 0)
            sys.monitoring.free_tool_id(TOOL)
        else:
            sys.settrace(self._traced)

    def _ran(self, code: CodeType, offset: int) -> Any:
        if not counts(code.co_filename):
            return sys.monitoring.DISABLE  # type: ignore[attr-defined,unused-ignore]
        self.bytecodes += 1
        return None

    def _called(self, frame: FrameType, event: str, _: object) -> Any:
        if not counts(frame.f_code.co_filename):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._inside

    def _inside(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "opcode":
            self.bytecodes += 1
        return self._inside


@cache
def counts(filename: str) -> bool:
    """Packages count also where their environment is in the folder of the benchmarks."""
    of_benchmarks = filename.startswith(FOLDER) and "site-packages" not in filename
    return not (of_benchmarks or filename.startswith(NOT_COUNTED))


class Bare:
    """An app that answers at once, with what a response needs."""

    def __init__(self) -> None:
        self.call: App = self._answer

    def add_middleware(self, middleware: Callable[..., App], **options: object) -> None:
        self.call = middleware(self.call, **{name: value for name, value in options.items() if value is not None})

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}"})


def request(number: int = 0) -> dict[str, Any]:
    headers = [(b"host", b"api.example"), (b"x-api-key", policy.api_key(number).encode()), (b"accept", b"*/*")]
    path = f"/items/{number}"
    return {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("203.0.113.9", 50_000),
    }


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


class Answers:
    """The statuses that were sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])


async def counted(app: App, expected: int, together: int = 1) -> int:
    """The least bytecodes of a request; raises RuntimeError for an answer that is not the expected one."""
    answers = Answers()

    async def once() -> None:
        await asyncio.gather(*(app(request(number), receive, answers.send) for number in range(together)))

    for _ in range(WARM):
        await once()
    seen = []
    for _ in range(COUNTED):
        with Counter() as counter:
            await once()
        seen.append(counter.bytecodes)
    if set(answers.statuses[-COUNTED * together :]) != {expected}:
        raise RuntimeError(f"a path answered {sorted(set(answers.statuses))} where {expected} was expected")
    return round(min(seen) / together)


def app(style: str, store: Any, **settings: Any) -> App:
    bare = Bare()
    limited(bare, style, store=store, timeout="1s" if isinstance(store, str) else "", **settings)
    return bare.call


async def paths(url: str) -> dict[str, int]:
    """By name, in the order of the record; those on Redis only with a URL."""
    memory = {
        "memory, ietf, 2 limits": (partial(app, "ietf"), 200),
        "memory, ietf, 10 limits": (partial(app, "ietf", limits=10), 200),
        "memory, lendworks, 2 limits": (partial(app, "lendworks"), 200),
        "memory, ietf, denied": (partial(app, "ietf", rate=1), 429),
    }
    found = {
        name: await counted(make(MemoryStore(clock=lambda: NOW_MS)), status) for name, (make, status) in memory.items()
    }
    if url:
        for style in ("ietf", "lendworks"):
            name = f"Redis, {style}, 2 limits, one of {TOGETHER} in a round trip"
            found[name] = await counted(app(style, url), 200, TOGETHER)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(paths(sys.argv[1] if len(sys.argv) > 1 else ""))))
