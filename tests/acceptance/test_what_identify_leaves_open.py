"""What the user's own `identify` leaves open, the policy fills in: the address, the tier, or both; never more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from ratelimit import Identity
from ratelimit.model import Scope
from tests.acceptance import ask, limited, plain, run, scope_of

SAID = [
    (Identity(tier="gold"), "{ip=192.0.2.7}", "gold"),
    (Identity(ip="192.0.2.9"), "{ip=192.0.2.9}", "basic"),
    (Identity(ip="192.0.2.9", tier="gold"), "{ip=192.0.2.9}", "gold"),
    (Identity(user="zoe"), "{user=zoe}", "basic"),
    (Identity(user="zoe", tier="gold"), "{user=zoe}", "gold"),
    (Identity(attributes={"seats": 3}), "{ip=192.0.2.7}", "basic"),
]


def said_by(identity: Identity, *, asynchronous: bool) -> Callable[[Scope], Identity | Awaitable[Identity]]:
    async def settled(_: Scope) -> Identity:
        return identity

    return settled if asynchronous else lambda _: identity


@pytest.mark.parametrize(("identity", "root", "tier"), SAID, ids=lambda value: repr(value)[:60])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_left_open(identity: Identity, root: str, tier: str, *, asynchronous: bool) -> None:
    """Who gives a tier alone is counted by address under it, who gives an address alone in the default tier; and the
    address of who is known otherwise is that of the request."""
    more = '[identity]\ndefault_tier = "basic"\n[tiers.gold]\nlimits = [ { name = "gold", rate = "9/minute" } ]'

    async def test() -> None:
        identify = said_by(identity, asynchronous=asynchronous)
        limiter = limited(plain, '{ name = "basic", rate = "9/minute" }', more=more, identify=identify)
        scope = scope_of(api_key=None)
        assert (await ask(limiter, scope=scope))[0]["status"] == 200
        assert [state.charge.key for state in scope["ratelimit"].states] == [f"{root}:{tier}:60000/60"]
        counted = scope["ratelimit.identity"]
        assert counted == identity._replace(ip=identity.ip or "192.0.2.7", tier=tier)

    run(test())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_tier_without_an_address(*, asynchronous: bool) -> None:
    """Two addresses of one tier are two callers."""

    async def test() -> None:
        identify = said_by(Identity(tier="basic"), asynchronous=asynchronous)
        limiter = limited(plain, '{ name = "requests", rate = "1/minute" }', identify=identify)
        statuses = []
        for address in ("192.0.2.7", "192.0.2.8", "192.0.2.7"):
            scope = scope_of(api_key=None) | {"client": (address, 50_000)}
            statuses.append((await ask(limiter, scope=scope))[0]["status"])
        assert statuses == [200, 200, 429]

    run(test())
