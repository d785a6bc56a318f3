"""A worker process that keeps a log of every request it admits, written before the answer is given.

Its orders are JSON in RATELIMIT_TEST_ORDERS. It asks its own app, without a server in between: what is counted here is
requests, and an answer that a killed server had half sent would be neither admitted nor not.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import Message, Receive, Scope, Send


@dataclass(frozen=True)
class Orders:
    """`requests` in all, by so many `lanes` at a time, each of which asks again `every` seconds."""

    policy: str
    log: str
    api_key: str
    requests: int
    lanes: int
    every: float


@dataclass(frozen=True)
class Line:
    """An admitted request: when, by the machine's monotonic clock, and whether the store had decided."""

    at: float
    by_store: bool

    def __str__(self) -> str:
        return f"{self.at:.6f} {'store' if self.by_store else 'here'}\n"

    @classmethod
    def read(cls, text: str) -> Line:
        at, by = text.split()
        return cls(float(at), by == "store")


class Log:
    """Lines that are with the kernel when `write` returns: a process that is killed then has written them."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, line: Line) -> None:
        os.write(self._file, str(line).encode())


async def work(orders: Orders) -> None:
    log = Log(orders.log)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        log.write(Line(time.monotonic(), not scope["ratelimit"].unavailable))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = RateLimitMiddleware(app, parse_policy(orders.policy, "accounting"))
    left = orders.requests

    async def lane() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            pause = asyncio.create_task(asyncio.sleep(orders.every))
            await limited(_scope(orders.api_key), _receive, _send)
            await pause

    await asyncio.gather(*[lane() for _ in range(orders.lanes)])
    await limited({"type": "lifespan"}, _receive, _send)  # as a server shuts down


def _scope(api_key: str) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/a",
        "raw_path": b"/a",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"x-api-key", api_key.encode())],
        "client": ("192.0.2.7", 50_000),
    }


async def _receive() -> Message:
    return {"type": "lifespan.shutdown"}


async def _send(_: Message) -> None: ...


def environment(orders: Orders) -> dict[str, str]:
    return {"RATELIMIT_TEST_ORDERS": json.dumps(asdict(orders))}


if __name__ == "__main__":
    asyncio.run(work(Orders(**json.loads(os.environ["RATELIMIT_TEST_ORDERS"]))))
