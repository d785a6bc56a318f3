"""A caller's own usage: apps asked as a server would ask them."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ratelimit import RateLimitMiddleware
from ratelimit.model import Charge, Decision
from ratelimit.policy import Policy
from ratelimit.routes.marks import own_usage
from ratelimit.stores.memory import MemoryStore
from ratelimit.styles import wire
from ratelimit.usage.endpoint import Usage
from tests.acceptance import ANA, BEN, policy

LIMITS = """{ name = "requests", rate = "5/minute" }, { name = "monthly", quota = "100/month" },
  { name = "writes", rate = "9/hour", operations = ["create"] }, { name = "in flight", concurrency = 4 },
  { name = "tried", rate = "1/minute", mode = "shadow" }, { name = "gone", rate = "1/minute", mode = "off" }"""


class Read(MemoryStore):
    """Counts what it is asked."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(clock)
        self.peeks: list[tuple[str, ...]] = []
        self.charged: list[tuple[str, ...]] = []
        self.fails: Exception | None = None

    async def peek(self, charges: Any, units: int = 1) -> Decision:
        self.peeks.append(tuple(charge.limit.name for charge in charges))
        if self.fails:
            raise self.fails
        return await super().peek(charges, units)

    async def acquire(self, charges: Any) -> Decision:
        self.charged.append(names(charges))
        return await super().acquire(charges)


def names(charges: tuple[Charge, ...]) -> tuple[str, ...]:
    return tuple(charge.limit.name for charge in charges)


async def well(request: Any) -> PlainTextResponse:
    return PlainTextResponse("ok")


def app_of(*routes: Any) -> Starlette:
    return Starlette(routes=[Route("/rate_limit", own_usage(Usage())), Route("/items", well), *routes])


class Asked:
    """An app behind a policy, on a clock that the test moves: that of the store, and this process's for headers."""

    def __init__(self, monkeypatch: Any, limited_by: Policy | None = None, app: Any = None, **middleware: Any) -> None:
        self.now = 1_772_445_600_000  # 2026-03-02T10:00:00Z
        self.store = Read(lambda: self.now)
        monkeypatch.setattr(wire, "now_ms", lambda: self.now)
        given = {"store": self.store, **middleware}
        self.limited = RateLimitMiddleware(app or app_of(), limited_by or policy(LIMITS), **given)
        self.client = TestClient(self.limited)

    def get(self, path: str = "/rate_limit", key: str | None = ANA, method: str = "GET", **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["authorization"] = f"Bearer {key}"
        return self.client.request(method, path, headers=sent)

    def used(self, **rest: Any) -> dict[str, int]:
        return {name: one["used"] for name, one in self.get(**rest).json()["resources"].items()}


__all__ = ["ANA", "BEN", "LIMITS", "Asked", "Read", "app_of", "names", "policy", "well"]
