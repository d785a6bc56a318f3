"""Processes of one app with a launch, whose store goes by a clock that the test moves: `python -m tests.launches.crew`
is one of them, which reads what it is asked for from standard input."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from ratelimit import RateLimitMiddleware, parse_policy
from ratelimit.model import ASGIApp, Identity, Scope
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.routing import router as router_module
from tests.stores import SCRIPTS, by_key

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
MINUTE = 60_000


def iso(minutes: float) -> str:
    return f"{datetime.fromtimestamp(T / 1000 + minutes * 60, UTC):%Y-%m-%dT%H:%M:%SZ}"


POLICY = f"""
style = "facturapi"

[tiers.anonymous]
limits = []

[tiers.basic]
limits = [ {{ name = "requests", rate = "5/minute", launch = {{ warn = 0.8, shadow_until = {iso(60)}, brownouts = [
    "{iso(10)}/10m",
], cohorts = [
    {{ share = "25%", from = {iso(30)} }},
    {{ organization = "acme", from = {iso(40)} }},
] }} }} ]
"""


NOW_MS = [T]  # by the clock of the store; time passes for the process as it does there


def with_its_clock(patch: pytest.MonkeyPatch) -> None:
    time = SimpleNamespace(monotonic=lambda: NOW_MS[0] / 1_000, time_ns=lambda: NOW_MS[0] * 1_000_000)
    patch.setattr(queue_module, "time", time)
    patch.setattr(router_module, "time", time)


def identify(scope: Scope) -> Identity:
    (organization,) = [value.decode() for name, value in scope["headers"] if name == b"x-organization"]
    return Identity(organization, tier="basic")


async def answering(scope: Any, _: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def limited(url: str, prefix: str) -> tuple[ASGIApp, RedisStore]:
    """By the clock in the key `PREFIX:clock`."""
    store = RedisStore(url, prefix=prefix, timeout=5)
    for name, script in SCRIPTS.items():
        setattr(store.scripts, name, by_key(script, f"{prefix}:clock"))
    return RateLimitMiddleware(answering, parse_policy(POLICY, "crew"), store=store, identify=identify), store


async def asked(app: ASGIApp, organization: str) -> tuple[int, str | None]:
    """What a request came to: its status, and the header of what is to come."""
    transport = httpx2.ASGITransport(app)  # type: ignore[arg-type]
    headers = {"x-organization": organization}
    async with httpx2.AsyncClient(transport=transport, base_url="http://a", headers=headers) as client:
        reply = await client.get("/")
    return reply.status_code, reply.headers.get("upcoming-ratelimit")


async def main(url: str, prefix: str) -> None:
    with_its_clock(pytest.MonkeyPatch())
    app, store = limited(url, prefix)
    print("ready", flush=True)  # noqa: T201 - to the test
    while line := await asyncio.to_thread(sys.stdin.readline):
        organization, NOW_MS[0] = json.loads(line)
        print(json.dumps(await asked(app, organization)), flush=True)  # noqa: T201
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
