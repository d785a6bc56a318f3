"""Requests that are decided together get what they would get one after the other from the reference in plain Python."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratelimit.model import Charge, Lease
from ratelimit.stores.batching import queue as queue_module
from ratelimit.stores.batching.callers import Caller
from ratelimit.stores.lua.scripts import Script
from ratelimit.stores.routing import router as router_module
from tests.stores import Subject, concurrency, rate
from tests.stores.conftest import subject_of
from tests.stores.test_differential import ADVANCES, comparable, limits
from tests.stores.wires import T

FREE_SLOT = st.builds(lambda maximum: [concurrency(maximum, 5_000, cost=0, key="c1"), rate(9, 60_000, key="r4")],
                      st.integers(0, 3))  # fmt: skip


@dataclass(frozen=True)
class Burst:
    """Requests that come in one turn of the loop, each one of `kinds`; then some of the slots are given back."""

    advance_ms: int
    kinds: list[list[Charge]]
    picks: list[int]
    given_back: int
    most: int


BURSTS = st.lists(
    st.builds(
        Burst,
        ADVANCES,
        st.lists(st.one_of(limits(), limits(), FREE_SLOT), min_size=1, max_size=6),
        st.lists(st.integers(0, 5), min_size=1, max_size=30),
        st.integers(0, 5),
        st.sampled_from([2, 7, 128]),
    ),
    min_size=1,
    max_size=5,
)


@pytest.mark.repeated
@pytest.mark.parametrize(
    ("name", "examples"), [("valkey", 40), ("redis", 20), pytest.param("redis", 150, marks=pytest.mark.proof)]
)
def test_agree(name: str, examples: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst has the decisions that the same requests have from the memory store in the order in which they came."""

    # The memory store remembers no denials: what else a denial says may be a second old.
    monkeypatch.setattr(Caller, "refused", lambda *_: None)

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )
    @given(BURSTS)
    def agree(bursts: list[Burst]) -> None:
        memory, redis = subject_of("memory", request), subject_of(name, request)
        # The process knows what the store's clock says: who has to ask twice is decided behind the others.
        time = SimpleNamespace(monotonic=lambda: 0.0, time_ns=lambda: memory.now_ms * 1_000_000)
        monkeypatch.setattr(queue_module, "time", time)
        monkeypatch.setattr(router_module, "time", time)

        async def test() -> None:
            now = T
            held: list[tuple[Lease, Lease]] = []
            for burst in bursts:
                now = max(now + burst.advance_ms, T - 1_000 * 86_400_000)
                monkeypatch.setattr(queue_module, "MOST", burst.most)
                memory.at(now)
                redis.at(now)
                kinds = [tuple(kind) for kind in burst.kinds]  # the same object is the same caller
                asked = [kinds[pick % len(kinds)] for pick in burst.picks]
                together = await asyncio.gather(*map(redis.store.acquire, asked))
                for charges, decision in zip(asked, together, strict=True):
                    alone = await memory.acquire(*charges)
                    assert comparable(decision) == comparable(alone)
                    held += zip(alone.leases, decision.leases, strict=True)
                back, held = held[: burst.given_back], held[burst.given_back :]
                await memory.release(*(one for one, _ in back))
                await redis.release(*(other for _, other in back))

        redis.run(test())

    agree()


def test_the_differential_test_can_fail(request: pytest.FixtureRequest) -> None:
    """A script that takes one caller's counter for the next one's is found: the test above does not pass by itself."""
    redis: Subject = subject_of("valkey", request)

    async def test() -> None:
        redis.at(T)
        scripts, text = redis.store.scripts, redis.store.scripts.acquire.text
        scripts.acquire = Script.of(text.replace("key_at + tariff.keys", "key_at"))
        assert scripts.acquire.text != text
        callers = [(rate(9, 60_000, key=key),) for key in "ab"]
        together = await asyncio.gather(*map(redis.store.acquire, callers))
        memory = subject_of("memory", request).at(T)
        assert comparable(together[0]) == comparable(await memory.acquire(*callers[0]))
        assert comparable(together[1]) != comparable(await memory.acquire(*callers[1]))

    redis.run(test())
