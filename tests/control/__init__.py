"""Apps that learn late what their requests cost, asked as a server would ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ratelimit import Charge, Identity, MemoryStore, RateLimitMiddleware, StoreUnavailable, parse_policy
from ratelimit.control.control import Control
from ratelimit.model import ASGIApp, Decision, Message, Scope
from tests.acceptance import T

TEXT = """
style = "lendworks"

[operations]
exempt = ["GET /health"]
completion = ["POST /completions"]
export = ["GET /export"]
login = ["POST /login"]

[tiers.anonymous]
limits = [
  { name = "requests", rate = "60/minute" },
  { name = "tokens", rate = "1000/minute", operations = ["completion"], cost = { completion = 0 }, hold = true },
  { name = "daily tokens", quota = "5000/day", operations = ["completion"], cost = { completion = 0 }, hold = true },
  { name = "rows", quota = "100/day", operations = ["export"] },
]
"""
POLICY = parse_policy(TEXT, "control")
ADDRESS = Identity(ip="192.0.2.7", tier="anonymous")
COMPLETION: dict[str, Any] = {"path": "/completions", "method": "POST", "api_key": None}

App = Callable[[Control, Any], Awaitable[None]]


class Away(MemoryStore):
    """A store that can be put out of reach: of some verbs, or of all of them."""

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        super().__init__(clock)
        self.away: set[str] = set()
        self.asked: list[str] = []

    def _reach(self, verb: str) -> None:
        self.asked.append(verb)
        if verb in self.away:
            raise StoreUnavailable("gone")

    async def acquire(self, charges: Sequence[Charge]) -> Decision:
        self._reach("acquire")
        return await super().acquire(charges)

    async def charge(self, charges: Sequence[Charge], units: int = 1) -> Decision:
        self._reach("charge")
        return await super().charge(charges, units)

    async def refund(self, spent: Decision, units: int | None = None) -> None:
        self._reach("refund")
        await super().refund(spent, units)

    async def hold(self, charges: Sequence[Charge], units: int, lease_ms: int) -> Decision:
        self._reach("hold")
        return await super().hold(charges, units, lease_ms)

    async def settle(self, hold: Any, used: int) -> None:
        self._reach("settle")
        await super().settle(hold, used)


def app(of: App, status: int = 200) -> ASGIApp:
    """Calls it with the control of the request and `send`, and answers."""

    async def called(scope: Scope, receive: Any, send: Any) -> None:
        await of(scope["ratelimit.control"], send)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    return called


def limiter(of: ASGIApp, text: str = TEXT, store: Any = None, **rest: Any) -> RateLimitMiddleware:
    store = store if store is not None else MemoryStore(clock=lambda: T)
    return RateLimitMiddleware(of, parse_policy(text, "control"), store=store, **rest)


async def used(limited: RateLimitMiddleware, *names: str, identity: Identity = ADDRESS) -> dict[str, int]:
    """Of limits, as the store has it."""
    store: Any = limited.store
    charges = limited.policy.named(identity, names or limited.policy.limits_of(identity))
    return {state.limit.name: state.used for state in (await store.peek(charges, 0)).states}


def status(messages: list[Message]) -> int:
    code: int = messages[0]["status"]
    return code


def run(test: Awaitable[None]) -> None:
    asyncio.run(test)  # type: ignore[arg-type]
