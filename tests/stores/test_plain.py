"""Decisions whose states are made when they are asked for: what they say, and what they keep alive."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ratelimit.model import Charge, Decision, State
from ratelimit.stores.plain import Plain
from ratelimit.stores.redis import RedisStore
from ratelimit.stores.reserve import Block, Spent
from tests import servers
from tests.stores import Subject, quota, rate
from tests.stores.clock import caller_of
from tests.stores.wires import T, ask, connected, fake_store, run, turns

MINUTE = State(rate(9, 60_000), 9, 3, 61_000, 60_000)
ONE = Decision(True, T, (MINUTE,))


def charges_of(number: int) -> tuple[Charge, ...]:
    return rate(99, 60_000, key=f"r{number}"), quota(99, key=f"q{number}")


def test_equal_is_what_says_the_same() -> None:
    """Decisions are compared by all that they say, however they were made."""
    spent = Spent(Decision(True, T, (MINUTE._replace(used=5),)), 0, 2)
    assert spent == ONE
    for other in (
        Decision(False, T, (MINUTE,)),
        Decision(True, T + 1, (MINUTE,)),
        Decision(True, T),
        Decision(True, T, (MINUTE,), unavailable=True),
    ):
        assert other != ONE
    assert ONE != (True, T, (MINUTE,), (), False)


def test_a_decision_shows_all_that_it_says() -> None:
    said = f"(allowed=True, now_ms={T}, states=({MINUTE!r},), leases=(), unavailable=False)"
    assert (repr(ONE), repr(Spent(ONE, 0, 0))) == (f"Decision{said}", f"Spent{said}")


def test_exceeded_also_in_shadow() -> None:
    assert not ONE.exceeded
    assert Decision(True, T, (MINUTE, MINUTE._replace(exceeded=True, shadow=True))).exceeded


def test_states_are_of_the_instant_of_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same whenever they are asked for: after other decisions, in other sub-windows, on other callers."""
    store = fake_store(monkeypatch)

    async def test() -> None:
        wire = await connected(store)
        asked = [ask(store, rate(9, 60_000, key=key)) for key in "ab"]
        await turns(2)
        wire.reply([T, 1, 3, 1, 4])
        first, second = await asyncio.gather(*asked)
        assert isinstance(first, Plain)
        expected = [State(d.states[0].charge, 9, used, 61_000, 60_000) for d, used in ((first, 3), (second, 4))]
        again = ask(store, rate(9, 60_000, key="a"))
        await turns(2)
        wire.reply([T + 30_500, 1, 5])
        assert (await again).states[0].reset_after_ms == 60_500
        assert [first.states, second.states] == [(expected[0],), (expected[1],)]
        assert (first.exceeded, first.leases, first.unavailable) == (False, (), False)

    run(store, test())


def test_a_decision_is_one_object(server: servers.Server) -> None:
    """64 connections hold the decisions of their last requests: one object each for the garbage collector to look at,
    and the reply that they share. Python collects after 700; Starlette and uvicorn alone have some 500 of them."""
    subject = Subject(server.name, server.unix_url)
    everyone = [charges_of(number) for number in range(64)]

    async def decide() -> list[Decision]:
        return await asyncio.gather(*map(subject.store.acquire, everyone))

    async def test() -> None:
        await decide()
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            decisions = await decide()
            assert len(gc.get_objects()) - before <= 64 + 16  # a reply for 16, one for 48, and what the test makes
        finally:
            gc.enable()
        assert [[state.used for state in decision.states] for decision in decisions] == [[2, 2]] * 64

    subject.run(test())


def test_units_taken_ahead_share_their_decision() -> None:
    """Of a caller that is too hot for a trip a request, a decision is one object too."""
    block = Block(3, ONE, 800, sent=7.0, arrived=7.1)
    spent = block.spend(7.1)
    assert spent
    assert not [one for one in gc.get_referents(spent) if one is not ONE and isinstance(one, State | tuple) and one]
    assert spent.states == (MINUTE._replace(used=1),)


def test_what_is_kept_of_a_caller_is_not_the_reply(server: servers.Server) -> None:
    """Where this process may have to go on by itself, what it keeps of each of thousands of callers is its own."""
    subject = Subject(server.name, server.unix_url)
    store = subject.store
    assert isinstance(store, RedisStore)
    store.keep_account()
    charges = charges_of(0)

    async def test() -> None:
        decision = await store.acquire(charges)
        seen = caller_of(subject, charges).seen
        assert type(seen) is Decision
        assert seen == decision

    subject.run(test())
