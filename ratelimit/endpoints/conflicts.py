"""Limits that endpoints declare and that contradict each other: one name is one counter."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from ratelimit.ground.words import shown
from ratelimit.model import Limit
from ratelimit.policy import Policy
from ratelimit.routes.app import Checked
from ratelimit.routes.marks import Declares

_declared: WeakKeyDictionary[Policy, dict[str, Declares]] = WeakKeyDictionary()  # of its middlewares, by name


def declared(policy: Policy) -> tuple[Limit, ...]:
    """The limits that endpoints declare, as far as they were looked at, under a policy."""
    return tuple([one.limit for one in _declared.get(policy, {}).values()])


def _unseen(limit: Limit) -> None:
    pass


def checked(policy: Policy, seen: Callable[[Limit], None] = _unseen) -> Checked:
    """What finds the limits that an endpoint may not declare under a policy: one name is one counter."""
    taken = {limit.name: tier for tier, limits in policy.tiers.items() for limit in limits}
    known = _declared.setdefault(policy, {})

    def check(name: str, limits: tuple[Declares, ...]) -> str | None:
        for one in limits:
            called = f"limit {shown(one.limit.name)}"
            if one.limit.name in taken:
                tier = shown(taken[one.limit.name])
                return f"{called} of {name}, declared at {one.where}, is a limit of the tier {tier} too; rename one"
            seen(one.limit)
            first = known.setdefault(one.limit.name, one)
            if first.limit != one.limit:
                where = f"declared at {one.where}, is another one than at {first.where}"
                return f"{called} of {name}, {where}: one name is one counter; give both the same numbers, or two names"
        return None

    return check
