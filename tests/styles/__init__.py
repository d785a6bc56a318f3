"""Decisions from a table, and what a client reads of an answer.

    decide(rate(max=1000, used=1000, retry_ms=45_000), now="2025-01-15T10:29:15Z")

`retry_ms` above 0 or None means that the limit denies; None that the request can never pass.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ratelimit.model import FOREVER, Answer, Charge, Concurrency, Decision, Headers, Identity, Limit, Quota, Rate, State

CLOCK = [0]  # of this process, in milliseconds: conftest.py puts it in place of the real one
NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z
LOG_ID = "01JH2Z"
ANA = Identity(organization="acme", user="ana", api_key="5e88" * 16, ip="203.0.113.7", tier="basic")
NOBODY = Identity(ip="203.0.113.7", tier="anonymous")


def state(
    kind: Rate | Quota | Concurrency,
    name: str,
    *,
    max: int = 100,  # noqa: A002 - the model's own word
    used: int = 1,
    cost: int = 1,
    window_ms: int = 60_000,
    reset_ms: int = 30_000,
    retry_ms: int | None = 0,
    shadow: bool = False,
) -> State:
    limit = Limit(name=name, kind=kind, max=lambda _: max)
    charge = Charge(limit=limit, key=f"{{organization=acme}}:{name}", cost=cost, maxes=((FOREVER, max),))
    return State(charge, max, used, reset_ms, window_ms, retry_ms != 0, retry_ms, shadow)


def rate(name: str = "requests", *, window_ms: int = 60_000, **fields: Any) -> State:
    return state(Rate(window_ms, min(60, window_ms)), name, window_ms=window_ms, **fields)


def quota(name: str = "monthly", *, period: Any = "month", window_ms: int = 31 * 86_400_000, **fields: Any) -> State:
    return state(Quota(period), name, window_ms=window_ms, **fields)


def concurrency(name: str = "in flight", **fields: Any) -> State:
    return state(Concurrency(), name, **fields)


def millis(instant: str | int) -> int:
    """Milliseconds since 1970 of `2025-01-15T10:29:15Z`."""
    return instant if isinstance(instant, int) else int(datetime.fromisoformat(instant).timestamp() * 1000)


def decide(*states: State, now: str | int = NOON) -> Decision:
    """A decision of a store whose clock agrees with this process's."""
    CLOCK[0] = millis(now)
    return Decision(not any(s.exceeded and not s.shadow for s in states), millis(now), states)


def lines(text: str) -> Headers:
    """Header lines as a page shows them, as ASGI sends them: names in lower case."""
    pairs = (line.split(": ", 1) for line in text.strip().splitlines())
    return [(name.strip().lower().encode(), value.encode()) for name, value in pairs]


def value(headers: Headers, name: str) -> str | None:
    """The value of a header, None without it; a header that is sent twice fails here."""
    found = [v.decode() for n, v in headers if n == name.lower().encode()]
    assert len(found) < 2, f"{name} is there {len(found)} times"
    return found[0] if found else None


def body(answer: Answer) -> Any:
    return json.loads(answer.body)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
