"""A Decision that no limiter has made, for the unit tests of what reads one."""

from __future__ import annotations

from collections.abc import Mapping

from ratelimit.model import FOREVER, Charge, Concurrency, Decision, Limit, Quota, Rate, State
from ratelimit.testing.clock import Clock

Used = tuple[int, int] | tuple[int, int, Rate | Quota | Concurrency]


def decision(
    limits: Mapping[str, Used] | None = None,
    /,
    *,
    allowed: bool = True,
    retry_after: float | None = 30,
    now_ms: int | None = None,
    **more: Used,
) -> Decision:
    """`decision(requests=(7, 10), monthly=(1, 50_000, Quota("month")))`: of each limit what is used, its max, and its
    kind, which is a rate a minute unless it is given. Names that are no Python names go first, in a table.

    Where it is not `allowed`, the limits with all of their max used deny it, for `retry_after` seconds, or for ever if
    that is None; ValueError if there is none. As from a middleware: `scope["ratelimit"] = decision(requests=(7, 10))`.
    """
    given = {**(limits or {}), **more}
    if not allowed and not any(used >= maximum for used, maximum, *_ in given.values()):
        raise ValueError("no limit denies it: give one with all of its max used, as requests=(10, 10)")
    wait_ms = None if retry_after is None else round(retry_after * 1000)
    states = tuple(_state(name, used, wait_ms, allowed=allowed) for name, used in given.items())
    return Decision(allowed, Clock().now_ms if now_ms is None else now_ms, states)


def _state(name: str, given: Used, wait_ms: int | None, *, allowed: bool) -> State:
    used, maximum, *kinds = given
    kind = kinds[0] if kinds else Rate(60_000)
    charge = Charge(Limit(name, kind, lambda _: maximum), f"{{user=stub}}:{name}", 1, ((FOREVER, maximum),))
    exceeded = not allowed and used >= maximum
    length_ms = _length_ms(kind)
    return State(charge, maximum, used, length_ms if used else 0, length_ms, exceeded, wait_ms if exceeded else 0)


def _length_ms(kind: Rate | Quota | Concurrency) -> int:
    if isinstance(kind, Rate):
        return kind.window_ms
    if isinstance(kind, Concurrency):
        return kind.lease_ms
    return {"day": 1, "week": 7, "month": 31, "year": 365}[kind.period] * 86_400_000
