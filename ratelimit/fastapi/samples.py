"""The answers that a policy may give in place of the app's, made by the style itself: what is told is what is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ratelimit.answers.telling import refusal
from ratelimit.model import (
    ANONYMOUS,
    FOREVER,
    Answer,
    Charge,
    Concurrency,
    Decision,
    Identity,
    Limit,
    Quota,
    Rate,
    Readings,
    Refused,
    State,
    Style,
)
from ratelimit.policy import Policy
from ratelimit.routes.routed import Routed
from ratelimit.routes.units import refused

LOG_ID = "7d9f3c2ab1e84f5066c1d2e3"
WAIT_MS = 30_000
DAY_MS = 86_400_000
NOW_MS = 1_893_456_000_000  # 2030-01-01T00:00:00Z
_TWO_CALLERS = Refused(400, "invalid_request", "The request has the API keys of two callers.")

Answers = Mapping[int, list[Answer]]  # by status


class _Attributes(dict[str, str | int]):
    """Of a caller who has any attribute, and whether one was looked at: then a max is a formula."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = False

    def get(self, name: str, default: object = None) -> int:
        self.looked_at = True
        return 10

    def __getitem__(self, name: str) -> int:
        return self.get(name)


def answers(policy: Policy, style: Style, operation: str | None, *, holds: bool = False) -> Answers:
    """By status, one or more for each that a request of an operation may get; None is one that nothing is known of. It
    may hold units of any limit where it `holds`, else of those that list its operation."""
    found: defaultdict[int, list[Answer]] = defaultdict(list)
    routed = operation if isinstance(operation, Routed) else None
    any_units = routed is not None and routed.endpoint.units_of is not None
    for tier, limits in policy.tiers.items():
        reached = (*limits, *(routed.limits if routed else ()))
        costs = [(limit, cost) for limit in reached if (cost := _cost(limit, operation))]
        held = [limit for limit in reached if _may_hold(limit, operation, holds)]
        denials = [
            (limit, state)
            for limit, cost in costs
            for state in _denials(policy, limit, cost, any_units=any_units and limit.counts == "units")
        ]
        denials += [(limit, state) for limit in held for state in _denials_of_a_hold(limit)]
        for denying, state in denials:
            others = [_state(other, its, _Attributes()) for other, its in costs if other is not denying]
            for states in [(state, *others)] if operation is not None else [(state, *others), (state,)]:
                for identity in _callers(tier):
                    answer = style.denied(Decision(allowed=False, now_ms=NOW_MS, states=states), identity, LOG_ID)
                    found[answer.status].append(answer)
    if policy.store.on_failure == "deny":
        answer = style.unavailable(LOG_ID)
        found[answer.status].append(answer)
    if len({identity.root for identity in getattr(policy.identify, "keys", {}).values()}) > 1:
        answer = refusal(style, _TWO_CALLERS, LOG_ID)
        found[answer.status].append(answer)
    if any_units:
        answer = refusal(style, refused(), LOG_ID)
        found[answer.status].append(answer)
    return found


def _cost(limit: Limit, operation: str | None) -> int:
    """What a request takes; 0 where this limit can't deny it."""
    names = operation.operations if isinstance(operation, Readings) else (operation,)
    only = limit.operations
    if limit.mode != "enforce" or (only is not None and operation is not None and only.isdisjoint(names)):
        return 0
    units = operation.units if isinstance(operation, Routed) and limit.counts == "units" else 1
    if isinstance(limit.cost, int):
        return limit.cost * (1 if isinstance(limit.kind, Concurrency) else units)
    costs = limit.cost
    return max([1, *costs.values()]) if operation is None else units * max([costs.get(name or "", 1) for name in names])


def _may_hold(limit: Limit, operation: str | None, holds: bool) -> bool:
    names = operation.operations if isinstance(operation, Readings) else (operation,)
    listed = operation is None or not (limit.operations or frozenset()).isdisjoint(names)
    return limit.hold and limit.mode == "enforce" and (holds or listed)


def _callers(tier: str) -> Iterator[Identity]:
    if tier == ANONYMOUS:
        yield Identity(ip="192.0.2.7", tier=tier)
        return
    yield Identity(organization="acme", tier=tier)
    yield Identity(organization="acme")  # a style may name the tier, or that there is none


def _denials(policy: Policy, limit: Limit, cost: int, *, any_units: bool) -> Iterator[State]:
    """Where it computes its units, a request may be more than any max."""
    attributes = _Attributes()
    state = _state(limit, cost, attributes)
    if state.max >= cost:
        yield state._replace(used=state.max, reset_after_ms=WAIT_MS, exceeded=True, retry_after_ms=WAIT_MS)
    instead = [own(attributes) for override in policy.overrides if (own := override.maxes.get(limit.name))]
    if any_units and not isinstance(limit.kind, Concurrency):
        cost = max([cost, *[own + 1 for own in (state.max, *instead)]])
        state = state._replace(charge=replace(state.charge, cost=cost))
    if attributes.looked_at or min([state.max, *instead]) < cost:  # a computed max may be below the cost
        yield state._replace(max=min([state.max, cost - 1, *instead]), exceeded=True, retry_after_ms=None)


def _denials_of_a_hold(limit: Limit) -> Iterator[State]:
    """Of as many units as the app likes."""
    state = _state(limit, 1, _Attributes())
    yield state._replace(used=state.max, reset_after_ms=WAIT_MS, exceeded=True, retry_after_ms=WAIT_MS)
    state = _state(limit, state.max + 1, _Attributes())
    yield state._replace(exceeded=True, retry_after_ms=None)


def _state(limit: Limit, cost: int, attributes: _Attributes) -> State:
    """Of which nothing is used."""
    maximum = limit.max(attributes)
    charge = Charge(limit, f"{{organization=acme}}:{limit.name}", cost, ((FOREVER, maximum),))
    return State(charge, maximum, 0, 0, _window_ms(limit.kind))


def _window_ms(kind: Rate | Quota | Concurrency) -> int:
    if isinstance(kind, Rate):
        return kind.window_ms
    return (
        kind.lease_ms
        if isinstance(kind, Concurrency)
        else {"day": 1, "week": 7, "month": 31, "year": 365}[kind.period] * DAY_MS
    )
