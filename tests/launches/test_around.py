"""A launch as other rooms see it: in explanations, comparisons, reviews, and where a caller reads its own usage."""

from __future__ import annotations

import asyncio

import pytest

from ratelimit.comparison.whole import compare
from ratelimit.config import parse_policy
from ratelimit.control.account import Account
from ratelimit.explanation.limits import explained
from ratelimit.explanation.verdict import usage_of, verdict_of
from ratelimit.explanation.words import mode, mode_of
from ratelimit.launches.stages.launch import Brownout, Cohort, Launch
from ratelimit.model import Identity, Limit, Rate
from ratelimit.nesting import Level
from ratelimit.stores.memory import MemoryStore
from ratelimit.usage.reading import Reader
from tests.launches.test_stages import T, charge_of

ACME = Identity("acme", tier="basic")
LAUNCH = Launch(T + 9_000, 0.8, (Brownout(T + 2_000, T + 4_000),), (Cohort(T + 7_000, {"organization": "acme"}),))


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (0, "in shadow until 2024-10-04T00:00:02Z"),
        (2_000, "enforced until 2024-10-04T00:00:04Z"),
        (4_000, "in shadow until 2024-10-04T00:00:07Z"),
        (7_000, "enforced"),
        (10**16, "enforced"),
    ],
)
def test_what_it_is_in(at: int, said: str) -> None:
    """Who asks about a caller is told the stage of this caller, and when it ends."""
    assert mode_of(charge_of(ACME, launch=LAUNCH), T + at) == said


def test_an_override_to_come() -> None:
    """What begins later is not why a max is as it is now."""
    text = """
    tiers = { anonymous.limits = [], basic.limits = [{ name = "requests", rate = "9/minute" }] }
    overrides = [{ organization = "acme", limits = { requests = "5/minute" }, from = 2024-10-04T00:00:00Z }]
    """
    policy = parse_policy(text)
    charges = policy.charges(ACME, "search")
    (before,) = explained(policy, ACME, "basic", charges, T - 1)
    (after,) = explained(policy, ACME, "basic", charges, T)
    assert (before.max, before.why, before.later) == (9, "as its tier has it", ((T, 5),))
    assert after.max == 5
    assert after.why == "by overrides[0], for organization = acme, instead of 9/minute"


def test_what_changes() -> None:
    """A launch that is written or edited is told in words, and its limit in launch is none that surely denies."""
    text = 'tiers.anonymous.limits = [{ name = "a", rate = "9/minute"%s }]'
    launches = ("", ", launch = { warn = 0.8 }", ", launch = { warn = 0.5, shadow_until = 2127-01-01T00:00:00Z }")
    plain, one, other = [parse_policy(text % launch, f"p{launch}") for launch in launches]
    sentences = [change.sentence for change in compare(plain, one, T).changes]
    assert any(
        said.endswith("launch is in shadow for good, warns from 80 % on, which was nothing") for said in sentences
    )
    sentences = [change.sentence for change in compare(one, other, T).changes]
    assert any(
        "launch is in shadow until 2127-01-01T00:00:00Z, warns from 50 % on, which" in said for said in sentences
    )
    (limit,) = one.tiers["anonymous"]
    assert mode(limit, T) == "in launch"
    assert mode(Limit("a", Rate(60_000), lambda _: 9, mode="shadow"), T) == "in shadow"


def test_a_policy_within_another() -> None:
    """The counters of an inner policy that has a name of its own for them are in the same stages."""
    text = (
        'tiers.anonymous.limits = [{ name = "a", rate = "9/minute", launch = { shadow_until = 2127-01-01T00:00:00Z } }]'
    )
    outer, inner, store = parse_policy(text, "outer"), parse_policy(text, "inner"), MemoryStore()
    charges = inner.charges(Identity(ip="192.0.2.7", tier="anonymous"), "search")
    (own,) = Level(inner, store).own(charges, (Level(outer, store),))
    assert own.key == f"{charges[0].key}@2"
    assert own.stages == charges[0].stages != ()


def test_a_shadow_stays_one() -> None:
    """What is read for a caller, or by an operator, knows the stage: nothing in shadow is told as a denial."""
    store = MemoryStore(lambda: T)
    charges = (charge_of(ACME, launch=LAUNCH),)

    async def test() -> None:
        for _ in range(101):
            decision = await store.acquire(charges)
        assert decision.exceeded
        assert decision.allowed
        assert [one.shadow for one in (await usage_of(store, charges)).usage] == [True]
        assert (await verdict_of(store, charges)).allowed

        class Asked(Account):
            def __init__(self) -> None:
                self._store = store

        read = await Reader().read(Asked(), charges)
        assert [state.shadow for state in read.states] == [True]

    asyncio.run(test())
