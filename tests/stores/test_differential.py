"""Memory and Redis agree, decision for decision and field by field, over whatever comes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit.model import Charge, Decision, Lease
from ratelimit.stores.lua.scripts import Script
from tests.stores import Subject, concurrency, quota, rate
from tests.stores.conftest import subject_of

T = 1_772_359_200_000  # 2026-03-01T10:00:00Z
MODES = st.sampled_from(["enforce", "enforce", "enforce", "shadow"])
COSTS = st.sampled_from([0, 1, 1, 1, 2, 5])
MAXES = st.integers(0, 12)
STAGES = [T + 1, T + 2_000, T + 9_000, T + 30_000, T + 50_000, T + 90_000, T + 86_400_000]
ENFORCE_FROM = st.sampled_from([0, 0, T + 5_000])


@st.composite
def limits(draw: st.DrawFn) -> list[Charge]:
    """One to four limits of the same few counters, so that one request finds what another has left."""
    rest = {"mode": MODES, "enforce_from_ms": ENFORCE_FROM}
    kinds = {
        "r1": lambda n: rate(n, 10_000, 7, cost=draw(COSTS), key="r1", **drawn),
        "r2": lambda n: rate(n, 60_000, 60, cost=draw(COSTS), key="r2", **drawn),
        "r3": lambda n: rate(n, 5, 5, cost=draw(COSTS), key="r3", **drawn),
        "q1": lambda n: quota(n, "day", cost=draw(COSTS), key="q1", **drawn),
        "q2": lambda n: quota(
            n, "month", draw(st.sampled_from(["UTC", "Asia/Tokyo"])), draw(st.integers(1, 31)), cost=draw(COSTS),
            key="q2", **drawn,
        ),
        "c1": lambda n: concurrency(n, draw(st.sampled_from([5_000, 20_000])), key="c1", **drawn),
    }  # fmt: skip
    charges = []
    for name in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=4, unique=True)):
        drawn = {field: draw(values) for field, values in rest.items()}
        charge = kinds[name](draw(MAXES))
        if draw(st.booleans()):
            steps = ((T + 9_000, draw(MAXES)), (T + 50_000, draw(MAXES)), *charge.maxes)[-draw(st.integers(1, 3)) :]
            charge = Charge(charge.limit, charge.key, charge.cost, steps)
        if draw(st.booleans()):
            instants = sorted(draw(st.lists(st.sampled_from(STAGES), max_size=4, unique=True)))
            enforced = draw(st.booleans())
            ends = enumerate((*instants, 2**53 - 1))
            stages = tuple((until, (number % 2 == 0) is enforced) for number, until in ends)
            charge = replace(charge, stages=stages)
        charges.append(charge)
    return charges


@dataclass(frozen=True)
class Step:
    advance_ms: int
    action: str
    charges: list[Charge]
    pick: int


# Within a sub-window, over its edge, over a window, to another day or month; and a clock that goes back.
ADVANCES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 2_000),
    st.integers(0, 70_000),
    st.sampled_from([86_400_000, 31 * 86_400_000]),
    st.integers(-3_000, 0),
    st.sampled_from([-200_000, -86_400_000, 400 * 86_400_000, -400 * 86_400_000]),
)
ACTIONS = st.sampled_from(["acquire"] * 6 + ["release", "renew"])
STEPS = st.lists(st.builds(Step, ADVANCES, ACTIONS, limits(), st.integers(0, 99)), min_size=1, max_size=25)


def comparable(decision: Decision) -> tuple[object, ...]:
    """Everything but the ids of leases, which are random."""
    leases = [(lease.key, lease.lease_ms) for lease in decision.leases]
    return decision.allowed, decision.now_ms, decision.states, decision.unavailable, leases


@pytest.mark.repeated
@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("fakeredis", 40),
        ("valkey", 100),
        ("redis", 60),
        *[pytest.param(name, 300, marks=pytest.mark.proof) for name in ("valkey", "redis")],
    ],
)
def test_agree(name: str, examples: int, request: pytest.FixtureRequest) -> None:
    """The same requests at the same instants get the same Decision from both, and leases end alike."""

    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(STEPS)
    def agree(steps: list[Step]) -> None:
        memory, redis = subject_of("memory", request), subject_of(name, request)

        async def test() -> None:
            now = T
            held: list[tuple[Lease, Lease]] = []
            for step in steps:
                now = max(now + step.advance_ms, T - 1_000 * 86_400_000)
                memory.at(now)
                redis.at(now)
                if step.action == "acquire":
                    one, other = await memory.acquire(*step.charges), await redis.acquire(*step.charges)
                    assert comparable(one) == comparable(other)
                    held += zip(one.leases, other.leases, strict=True)
                elif held:
                    one_lease, other_lease = held[step.pick % len(held)]
                    if step.action == "release":
                        await memory.release(one_lease)
                        await redis.release(other_lease)
                    else:
                        lost = await memory.store.renew([one_lease]), await redis.store.renew([other_lease])
                        assert lost in (([], []), ([one_lease], [other_lease]))

        redis.run(test())

    agree()


def test_the_differential_test_can_fail(request: pytest.FixtureRequest) -> None:
    """A script that counts one unit less is found: the test above does not pass by itself."""
    redis: Subject = subject_of("valkey", request)
    memory = subject_of("memory", request)

    async def test() -> None:
        memory.at(T)
        redis.at(T)
        scripts, text = redis.store.scripts, redis.store.scripts.acquire.text
        scripts.acquire = Script.of(text.replace("used, count = used - count, 0", "used, count = used - count - 1, 0"))
        assert scripts.acquire.text != text
        limit = rate(5, 60_000)
        await memory.acquire(limit)
        await redis.acquire(limit)
        memory.at(T + 1_000)
        wrong = scripts.acquire
        redis.at(T + 1_000)
        scripts.acquire = wrong
        assert comparable(await memory.acquire(limit)) != comparable(await redis.acquire(limit))

    redis.run(test())
