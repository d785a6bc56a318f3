"""What is explained is what the limiter does: over HTTP, on the examples, for calls of every shape."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import pytest

from ratelimit import MemoryStore, RateLimitMiddleware, load_policy
from ratelimit.explanation.caller import by_key, by_pairs
from ratelimit.explanation.whole import explain
from tests.acceptance import T, ask, scope_of
from tests.cli import THREE, policy

PATHS = (
    "/",
    "/health",
    "/docs/a",
    "/docs/../v2/invoices",
    "/v2/invoices",
    "/V2/Invoices",
    "/v2/invoices/7",
    "/v2/catalogs/x",
    "/loans/7/",
    "/loans//7",
    "/api/1.0/token",
    "/api/2.0/products/3",
    "/a;b/c",
    "/files/app.3f9c1.js",
    "/a/.",
    "/v2/invoices%2f7",
)
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PURGE")


@pytest.mark.parametrize("example", THREE)
def test_agrees(example: str) -> None:
    """Operation, limits, costs, maxes and counters, of known and unknown callers."""
    known = load_policy(policy(example))
    keys = [value for value in vars(import_module(f"examples.{example}.keys")).values() if isinstance(value, str)]
    key = next(key for key in keys if not by_key(known, key.encode()).why[0].startswith("the API key is none"))
    store = MemoryStore(clock=lambda: T)
    charged: list[Any] = []

    async def noted(charges: Any) -> Any:
        charged.append(charges)
        return await MemoryStore(clock=lambda: T).acquire(charges)

    store.acquire = noted  # type: ignore[method-assign]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limited = RateLimitMiddleware(app, known, store=store)
    callers = ((key, by_key(known, key.encode(), ["ip=192.0.2.7"])), (None, by_pairs(known, ["ip=192.0.2.7"])))
    compared = 0
    for method in METHODS:
        for path in PATHS:
            for api_key, caller in callers:
                charged.clear()
                scope = scope_of(path.replace("%2f", "/"), method, api_key)
                scope.update(client=("192.0.2.7", 1), raw_path=path.encode())
                asyncio.run(ask(limited, scope=scope))
                found = explain(known, caller, method, path, T)
                assert ((found.charges,) if found.call.operation is not None else ()) == tuple(charged), (method, path)
                compared += 1
    assert compared == len(METHODS) * len(PATHS) * 2
